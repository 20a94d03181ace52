package backend

import (
	"context"
	"errors"
	"io"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"spillway/handler/internal/backend/http1"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
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
	ctx    context.Context         // of the request; parent with the trace
	cancel context.CancelCauseFunc // of ctx, on HTTP/2; nil on HTTP/1.1
	direct http1.Exchange          // on a target's own connections; or
	timer  *time.Timer
	reason atomic.Pointer[error] // why it was ended by us; nil = it was not
	before func() error
	lost   atomic.Bool // before said no
	http2  bool

	asIs       bool                    // a refusal for its rate is for the caller to see
	tail       *proxy.StreamedBody     // of a body that is not held whole; nil mostly
	repeatable bool                    // what it asks for may be asked for twice
	conn       atomic.Pointer[guarded] // on HTTP/1.1 by the transport: where it is sent
	reused     bool                    // the connection had been idle
	sent       time.Time               // when the connection was had

	// The request's bytes are held by whoever may still read them: the round
	// trip, which may send them again on another connection, and a write that
	// an early answer has overtaken. The last one lets go of them.
	held    *proxy.Request // whose own bytes are sent, or
	edited  func()         // gives an edited copy of them back
	holds   atomic.Int32
	writing atomic.Bool
}

// newAttempt begins an attempt below parent. On HTTP/1.1 it is ended by
// closing its connection, which spares every request a context of its own; on
// HTTP/2, where connections are shared, by its context.
func newAttempt(parent context.Context, t *Target, before func() error) *attempt {
	a := &attempt{parent: parent, ctx: parent, before: before}
	a.holds.Store(1)
	if t.Direct != nil {
		return a
	}
	a.http2 = t.Transport.Protocols != nil && t.Transport.Protocols.HTTP2()
	if a.http2 {
		a.ctx, a.cancel = context.WithCancelCause(parent)
	}
	a.ctx = httptrace.WithClientTrace(a.ctx, &httptrace.ClientTrace{GotConn: a.gotConn, WroteRequest: a.wroteRequest})
	return a
}

// within ends the attempt for this reason unless it is put at ease in time. A
// limit of zero is none.
func (a *attempt) within(limit time.Duration, reason error) {
	a.atEase()
	if limit > 0 {
		a.timer = time.AfterFunc(limit, func() { a.stop(reason) })
	}
}

// atEase takes the time limit away.
func (a *attempt) atEase() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// stop ends the attempt for a reason of ours. While there is no connection yet
// it takes effect when there is one, which the limits of dialing bound.
func (a *attempt) stop(reason error) {
	a.reason.CompareAndSwap(nil, &reason)
	if a.cancel != nil {
		a.cancel(reason)
	}
	a.direct.HangUp()
	if conn := a.conn.Load(); conn != nil {
		conn.hangUp(a)
	}
}

// over reports whether the attempt was ended, by us or by those above.
func (a *attempt) over() bool { return a.reason.Load() != nil || a.parent.Err() != nil }

// end releases what the attempt holds. It may be called more than once.
func (a *attempt) end() {
	a.atEase()
	if a.cancel != nil {
		a.cancel(errEnded)
	}
	if conn := a.conn.Load(); conn != nil {
		conn.leave(a)
	}
}

// verdict is what the attempt's failure tells about the backend: nothing, when
// it was not the backend that ended it.
func (a *attempt) verdict(err error) health.Outcome {
	o := health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()}
	reason := a.reason.Load()
	switch {
	case a.lost.Load():
		o.Reason = "probe lost"
	case a.tail.Err() != nil:
		o.Reason = "caller's body broke"
	case errors.Is(err, proxy.ErrBodySent):
		o.Reason = "body sent already"
	case reason != nil && errors.Is(*reason, errFirstTokenTimeout):
		o.Class, o.Reason = health.Failed, "first token timeout"
	case reason != nil:
		o.Class, o.Reason = health.Failed, "response timeout"
	case a.parent.Err() != nil:
		o.Reason = given(context.Cause(a.parent))
	default:
		o.Class, o.Reason = health.Failed, fault(err)
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
