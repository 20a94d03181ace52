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
	a.reused, a.sent = info.Reused, time.Now()
	if !a.writing.Swap(true) {
		a.holds.Add(1)
	}
	conn := a.own(info)
	if conn == nil {
		if err := a.ask(); err != nil {
			a.stop(err)
		}
		return
	}
	conn.take(a)
	a.conn.Store(conn)
	if a.reason.Load() != nil {
		conn.hangUp(a)
	}
}

// own is the connection when it is the attempt's alone; nil on HTTP/2.
func (a *attempt) own(info httptrace.GotConnInfo) *guarded {
	switch conn := info.Conn.(type) {
	case *guarded:
		return conn
	case *tls.Conn:
		under, ok := conn.NetConn().(*guarded)
		if ok && (!a.http2 || conn.ConnectionState().NegotiatedProtocol != "h2") {
			return under
		}
	}
	return nil
}

func (a *attempt) ask() error {
	if a.before == nil {
		return nil
	}
	err := a.before()
	if err != nil {
		a.lost.Store(true)
	}
	return err
}

// wroteRequest is called when the transport has read all it wants of the body,
// sent or not.
func (a *attempt) wroteRequest(httptrace.WroteRequestInfo) {
	if a.writing.Swap(false) {
		a.letGo()
	}
}

// raceLimit is how soon a kept connection that the backend had already closed
// shows itself: one round trip after the write.
const raceLimit = time.Second

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
	if err == nil || !a.stale(err) || m.content.tail.Started() {
		return res, err
	}
	return trip(t, m, true)
}

// directly sends the request on a connection of the target's own, HTTP/1.1.
func (a *attempt) directly(t *Target, m *message, again bool) (*http.Response, error) {
	a.direct.Ask, a.direct.Written = a.ask, a.letGo
	a.holds.Add(1)
	body, rest := m.content.parts()
	res, err := a.direct.Do(a.ctx, t.Direct, &http1.Message{
		Method: m.method, URI: m.url.RequestURI(), Host: m.host, Header: m.caller, Passes: m.passes, Over: m.over,
		Body: body, Rest: rest, Length: m.content.length(),
	}, again)
	a.reused, a.sent = a.direct.Reused, a.direct.Sent
	return res, err //nolint:wrapcheck // fault names it
}

// byTransport sends the request by the transport.
func (a *attempt) byTransport(t *Target, m *message, _ bool) (*http.Response, error) {
	req := (&http.Request{
		Method: m.method, URL: m.url, Header: m.merged(), Host: m.host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(a.ctx)
	m.content.attach(req)
	res, err := t.Transport.RoundTrip(req)
	a.quiet(err != nil)
	return res, err //nolint:wrapcheck // fault names it
}

// stale reports whether the error looks like a kept connection found closed.
func (a *attempt) stale(err error) bool {
	if !a.repeatable || !a.reused || a.http2 || a.over() || a.lost.Load() || time.Since(a.sent) >= raceLimit {
		return false
	}
	why := fault(err)
	return why == "reset" || why == "eof" && !errors.Is(err, io.ErrUnexpectedEOF) // that one comes behind a first byte
}

// quiet is called when a round trip is over. After a failed one on HTTP/1.1
// the transport has stopped writing, even when it never began. A write of
// which we never hear again keeps its hold for good: then the bytes are left
// to the collector.
func (a *attempt) quiet(failed bool) {
	if failed && !a.http2 && a.writing.Swap(false) {
		a.letGo()
	}
}

func (a *attempt) letGo() {
	if a.holds.Add(-1) > 0 {
		return
	}
	if a.held != nil {
		a.held.ActiveWrites.Add(-1)
	}
	if a.edited != nil {
		a.edited()
	}
}
