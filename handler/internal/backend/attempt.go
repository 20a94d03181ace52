package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// Reasons for which the client itself ends an attempt.
var (
	errErrorBodyTimeout = errors.New("backend: the body of an error did not arrive in time")
	errAttemptOver      = errors.New("backend: the attempt is over")
)

// attempt is one request to one backend. It ends when the body of its response
// is closed, or without a response.
type attempt struct {
	parent     context.Context
	ctx        context.Context         // of the request: parent with the trace
	cancel     context.CancelCauseFunc // of ctx; nil on HTTP/1.1
	reason     atomic.Pointer[error]   // why the client ended it; nil = it did not
	beforeSend func() error            // nil unless the attempt is a probe
	probeLost  atomic.Bool             // beforeSend returned an error
	http2      bool

	passThrottled bool                // a 429 is passed to the caller
	namesObject   bool                // its path names a stored object
	streamed      *proxy.StreamedBody // the part of the body that can be sent once; nil mostly
	repeatable    bool                // the operation has no effect that must not happen twice

	pool      *connPool                   // where the connection is from
	conn      atomic.Pointer[trackedConn] // on HTTP/1.1
	reused    bool                        // the connection had served another request
	gotConnAt time.Time
	sends     atomic.Int32 // how often a first byte may have left, on HTTP/1.1

	// The bytes of the body are in use by the round trip, which may send them
	// again on another connection, and by a write that an early response has
	// overtaken. The last of the two returns them.
	request    *proxy.Request // whose own bytes are sent, or
	freeBuffer func()         // returns the rewritten copy
	bodyRefs   atomic.Int32
	writing    atomic.Bool
}

// newAttempt begins an attempt below parent. On HTTP/1.1 it is ended by closing
// its connection, which costs no context of its own; on HTTP/2, where requests
// share connections, by its context.
func newAttempt(parent context.Context, t *Target, beforeSend func() error) *attempt {
	a := &attempt{parent: parent, ctx: parent, beforeSend: beforeSend, http2: t.Transport.options.HTTP2}
	a.bodyRefs.Store(1)
	if a.http2 {
		a.ctx, a.cancel = context.WithCancelCause(parent)
	}
	a.ctx = httptrace.WithClientTrace(a.ctx, &httptrace.ClientTrace{GotConn: a.gotConn, WroteRequest: a.wroteRequest})
	return a
}

// abort ends the attempt. Without a connection it takes effect when there is
// one; the dial timeout bounds that.
func (a *attempt) abort(reason error) {
	a.reason.CompareAndSwap(nil, &reason)
	if a.cancel != nil {
		a.cancel(reason)
	}
	if conn := a.conn.Load(); conn != nil {
		conn.closeFor(a)
	}
}

// aborted reports whether the attempt was ended by the client or by its parent.
func (a *attempt) aborted() bool { return a.reason.Load() != nil || a.parent.Err() != nil }

// timedOut reports whether the request was ended because its time was spent.
func (a *attempt) timedOut() bool {
	return errors.Is(context.Cause(a.parent), context.DeadlineExceeded)
}

// finish releases the timer, the context and the connection. It may be called
// more than once.
func (a *attempt) finish() {
	if a.cancel != nil {
		a.cancel(errAttemptOver)
	}
	if conn := a.conn.Load(); conn != nil {
		conn.unassign(a)
	}
}

// send sends the request. A reused connection that the backend closed at that
// moment is no failure of the backend: the request is sent once more, on a new
// connection. http.Transport does so only when no byte was written or the
// method has no side effects.
func (a *attempt) send(t *Target, req *http.Request, body *requestBody) (*http.Response, error) {
	if a.beforeSend != nil {
		t.Transport.replace(t.Transport.pool()) // a probe must not fail for an old connection
	}
	res, err := a.roundTrip(t, req, body)
	if err == nil || !a.isStaleConn(err) {
		return res, err
	}
	t.Transport.replace(a.pool)
	return a.roundTrip(t, req, body)
}

func (a *attempt) roundTrip(t *Target, req *http.Request, body *requestBody) (*http.Response, error) {
	a.pool = t.Transport.pool()
	req = req.WithContext(a.ctx)
	body.attach(req)
	res, err := a.pool.RoundTrip(req)
	// After a failure on HTTP/1.1 the transport has stopped writing, even if it
	// never called wroteRequest. On HTTP/2 such bytes are not used again.
	if err != nil && !a.http2 {
		a.wroteRequest(httptrace.WroteRequestInfo{})
	}
	return res, err
}

// staleConnWindow is how soon after the write a connection that the backend had
// already closed returns an error: one round trip.
const staleConnWindow = time.Second

// isStaleConn reports whether err looks like a reused connection that the
// backend had already closed, and the request can be sent again.
func (a *attempt) isStaleConn(err error) bool {
	if a.http2 || !a.reused || a.aborted() || a.probeLost.Load() || time.Since(a.gotConnAt) >= staleConnWindow {
		return false
	}
	if a.sends.Load() > 0 && !a.repeatable || a.streamed.Started() {
		return false
	}
	kind := transportErrorKind(err)
	return kind == reasonReset || kind == "eof" && !errors.Is(err, io.ErrUnexpectedEOF) // which follows a first byte
}

// gotConn is called when there is a connection, and again for each other one
// that the transport takes after it. On HTTP/2, where requests share writes,
// beforeSend is called here; a cancelled request sends nothing.
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
	if info.Reused && !conn.socket.quiet() {
		_ = conn.Close() // nothing is written, so the transport takes another one
		return
	}
	conn.assign(a)
	a.conn.Store(conn)
	if a.reason.Load() != nil {
		conn.closeFor(a)
	}
}

// exclusiveConn is the connection if no other request uses it; nil on HTTP/2.
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

// wroteRequest is called when the transport reads no more of the body.
func (a *attempt) wroteRequest(httptrace.WroteRequestInfo) {
	if a.writing.Swap(false) {
		a.release()
	}
}

// release returns the bytes of the body when nothing reads them any more.
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

// failure is the outcome of an attempt without a response: Abandoned when the
// backend did not cause it.
func (a *attempt) failure(err error) health.Outcome {
	o := health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()}
	switch {
	case a.probeLost.Load():
		o.Reason = "probe lost"
	case a.streamed.Err() != nil:
		o.Reason = "caller's body broke"
	case errors.Is(err, proxy.ErrBodySent):
		o.Reason = "body sent already"
	case a.parent.Err() != nil:
		o.Reason = abandonReason(context.Cause(a.parent))
	default:
		o.Class, o.Reason = health.Failed, transportErrorKind(err)
	}
	return o
}

// abandonReason is why the parent ended an attempt.
func abandonReason(cause error) string {
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		return "caller's deadline"
	case errors.Is(cause, context.Canceled):
		return "caller left"
	}
	return "given up"
}

// responseBody ends the attempt when it is closed.
type responseBody struct {
	io.Reader
	closer  io.Closer
	attempt *attempt
}

func (b *responseBody) Close() error {
	err := b.closer.Close()
	b.attempt.finish()
	return err
}
