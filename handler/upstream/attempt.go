package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"spillway/handler/health"
	"spillway/handler/proxy"
)

// Why an attempt was ended by us.
var (
	errResponseTimeout   = errors.New("upstream: no answer within the response limit")
	errFirstTokenTimeout = errors.New("upstream: no answer within the first token limit")
	errEnded             = errors.New("upstream: the attempt is over")
)

// attempt is one request on the wire. It ends when its answer's body is
// closed, or when there is no answer.
type attempt struct {
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	trace  httptrace.ClientTrace
	before func() error
	lost   atomic.Bool // before said no
	http2  bool

	asIs       bool        // a refusal for its rate is for the caller to see
	tail       *proxy.Tail // of a body that is not held whole; nil mostly
	repeatable bool        // what it asks for may be asked for twice
	reused     bool        // the connection had been idle
	sent       time.Time   // when the connection was had

	// The request's bytes are held by whoever may still read them: the round
	// trip, which may send them again on another connection, and a write that
	// an early answer has overtaken. The last one lets go of them.
	held    *proxy.Request // whose own bytes are sent, or
	edited  func()         // gives an edited copy of them back
	holds   atomic.Int32
	writing atomic.Bool
}

func newAttempt(parent context.Context, before func() error) *attempt {
	a := &attempt{parent: parent, before: before}
	a.ctx, a.cancel = context.WithCancelCause(parent)
	a.trace.GotConn, a.trace.WroteRequest = a.gotConn, a.wroteRequest
	a.ctx = httptrace.WithClientTrace(a.ctx, &a.trace)
	a.holds.Store(1)
	return a
}

// within ends the attempt for this reason unless it is put at ease in time. A
// limit of zero is none.
func (a *attempt) within(limit time.Duration, reason error) {
	a.atEase()
	if limit > 0 {
		a.timer = time.AfterFunc(limit, func() { a.cancel(reason) })
	}
}

// atEase takes the time limit away.
func (a *attempt) atEase() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// gotConn makes the connection's next write ask before. On HTTP/2, where
// streams share their writes, it asks at once; a cancelled stream sends
// nothing.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.reused, a.sent = info.Reused, time.Now()
	if !a.writing.Swap(true) {
		a.holds.Add(1)
	}
	if a.before == nil {
		return
	}
	switch conn := info.Conn.(type) {
	case *guarded:
		conn.asks.Store(a)
	case *tls.Conn:
		under, ok := conn.NetConn().(*guarded)
		if ok && (!a.http2 || conn.ConnectionState().NegotiatedProtocol != "h2") {
			under.asks.Store(a)
		} else if err := a.ask(); err != nil {
			a.cancel(err)
		}
	}
}

func (a *attempt) ask() error {
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
	if !a.repeatable || !a.reused || a.http2 || a.ctx.Err() != nil || a.lost.Load() || time.Since(a.sent) >= raceLimit {
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

// end ends the attempt. It may be called more than once.
func (a *attempt) end() {
	a.atEase()
	a.cancel(errEnded)
}

// verdict is what the attempt's failure tells about the backend: nothing, when
// it was not the backend that ended it.
func (a *attempt) verdict(err error) health.Outcome {
	o := health.Outcome{Verdict: health.Failed, Signals: health.NoSignals()}
	cause := context.Cause(a.ctx)
	switch {
	case a.lost.Load():
		o.Verdict, o.Why = health.Abandoned, "probe lost"
	case a.tail.Err() != nil:
		o.Verdict, o.Why = health.Abandoned, "caller's body broke"
	case errors.Is(err, proxy.ErrTailSpent):
		o.Verdict, o.Why = health.Abandoned, "body sent already"
	case errors.Is(cause, errResponseTimeout):
		o.Why = "response timeout"
	case errors.Is(cause, errFirstTokenTimeout):
		o.Why = "first token timeout"
	case a.parent.Err() != nil:
		o.Verdict, o.Why = health.Abandoned, given(context.Cause(a.parent))
	default:
		o.Why = fault(err)
	}
	return o
}

// given says why an attempt was given up by those above us.
func given(cause error) string {
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		return "caller's deadline"
	case errors.Is(cause, context.Canceled):
		return "caller left"
	}
	return "given up"
}

// answerBody ends the attempt when the answer has been read or given up.
type answerBody struct {
	io.Reader
	closer  io.Closer
	attempt *attempt
}

func (b *answerBody) Close() error {
	err := b.closer.Close()
	b.attempt.end()
	return err
}
