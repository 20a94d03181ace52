package upstream

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"
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

// roundTrip sends the request. A kept connection that the backend closed just
// as it was taken is no failure of the backend: the request goes out once
// more. http.Transport itself does so only when no byte was written, or for
// methods without side effects, and then as often as it has idle connections.
func (a *attempt) roundTrip(t *http.Transport, req *http.Request) (*http.Response, error) {
	res, err := t.RoundTrip(req)
	if err == nil || !a.stale(err) {
		a.quiet(err != nil)
		return res, err
	}
	a.quiet(true)
	if req.GetBody != nil {
		body, spent := req.GetBody()
		if spent != nil {
			return nil, err
		}
		req.Body = body
	}
	res, err = t.RoundTrip(req)
	a.quiet(err != nil)
	return res, err
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
		a.held.Writing.Add(-1)
	}
	if a.edited != nil {
		a.edited()
	}
}
