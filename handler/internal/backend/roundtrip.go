package backend

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"

	"spillway/handler/internal/backend/http1"
)

// gotConn makes the connection's next write ask before. On HTTP/2, where
// streams share their writes, it asks at once; a cancelled stream sends
// nothing.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.reused, a.gotConnAt = info.Reused, time.Now()
	if !a.writing.Swap(true) {
		a.bodyRefs.Add(1)
	}
	conn := a.exclusiveConn(info)
	if conn == nil {
		if err := a.runBeforeSend(); err != nil {
			a.abort(err)
		}
		return
	}
	conn.assign(a)
	a.conn.Store(conn)
	if a.reason.Load() != nil {
		conn.closeFor(a)
	}
}

// exclusiveConn is the connection when it is the attempt's alone; nil on HTTP/2.
func (a *attempt) exclusiveConn(info httptrace.GotConnInfo) *trackedConn {
	switch conn := info.Conn.(type) {
	case *trackedConn:
		return conn
	case *tls.Conn:
		under, ok := conn.NetConn().(*trackedConn)
		if ok && (!a.http2 || conn.ConnectionState().NegotiatedProtocol != "h2") {
			return under
		}
	}
	return nil
}

func (a *attempt) runBeforeSend() error {
	if a.beforeSend == nil {
		return nil
	}
	err := a.beforeSend()
	if err != nil {
		a.probeLost.Store(true)
	}
	return err
}

// wroteRequest is called when the transport has read all it wants of the body,
// sent or not.
func (a *attempt) wroteRequest(httptrace.WroteRequestInfo) {
	if a.writing.Swap(false) {
		a.release()
	}
}

// staleConnWindow is how soon a kept connection that the backend had already closed
// shows itself: one round trip after the write.
const staleConnWindow = time.Second

// send sends the request. A kept connection that the backend closed just as it
// was taken is no failure of the backend: the request goes out once more.
// http.Transport itself does so only when no byte was written, or for methods
// without side effects, and then as often as it has idle connections.
func (a *attempt) send(t *Target, m *message) (*http.Response, error) {
	trip := a.directly
	if t.Direct == nil {
		trip = a.byTransport
	}
	res, err := trip(t, m, false)
	if err == nil || !a.isStaleConn(err) || m.body.tail.Started() {
		return res, err
	}
	return trip(t, m, true)
}

// directly sends the request on a connection of the target's own, HTTP/1.1.
func (a *attempt) directly(t *Target, m *message, again bool) (*http.Response, error) {
	a.direct.Ask, a.direct.Written = a.runBeforeSend, a.release
	a.bodyRefs.Add(1)
	body, rest := m.body.parts()
	res, err := a.direct.Do(a.ctx, t.Direct, &http1.Message{
		Method: m.method, URI: m.url.RequestURI(), Host: m.host, Header: m.caller, Passes: m.forwards, Over: m.own,
		Body: body, Rest: rest, Length: m.body.length(),
	}, again)
	a.reused, a.gotConnAt = a.direct.Reused, a.direct.Sent
	return res, err //nolint:wrapcheck // fault names it
}

// byTransport sends the request by the transport.
func (a *attempt) byTransport(t *Target, m *message, _ bool) (*http.Response, error) {
	req := (&http.Request{
		Method: m.method, URL: m.url, Header: m.merged(), Host: m.host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(a.ctx)
	m.body.attach(req)
	res, err := t.Transport.RoundTrip(req)
	a.roundTripDone(err != nil)
	return res, err //nolint:wrapcheck // fault names it
}

// isStaleConn reports whether the error looks like a kept connection found closed.
func (a *attempt) isStaleConn(err error) bool {
	if !a.repeatable || !a.reused || a.http2 || a.aborted() || a.probeLost.Load() || time.Since(a.gotConnAt) >= staleConnWindow {
		return false
	}
	why := transportErrorKind(err)
	return why == "reset" || why == "eof" && !errors.Is(err, io.ErrUnexpectedEOF) // that one comes behind a first byte
}

// roundTripDone is called when a round trip is over. After a failed one on HTTP/1.1
// the transport has stopped writing, even when it never began. A write of
// which we never hear again keeps its hold for good: then the bytes are left
// to the collector.
func (a *attempt) roundTripDone(failed bool) {
	if failed && !a.http2 && a.writing.Swap(false) {
		a.release()
	}
}

func (a *attempt) release() {
	if a.bodyRefs.Add(-1) > 0 {
		return
	}
	if a.request != nil {
		a.request.ActiveWrites.Add(-1)
	}
	if a.freeBuffer != nil {
		a.freeBuffer()
	}
}
