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
	errAttemptOver       = errors.New("upstream: the attempt is over")
)

// attempt is one request on the wire. It ends when its answer's body is
// closed, or when there is no answer.
type attempt struct {
	parent     context.Context
	ctx        context.Context         // of the request; parent with the trace
	cancel     context.CancelCauseFunc // of ctx, on HTTP/2; nil on HTTP/1.1
	direct     http1.Exchange          // on a target's own connections; or
	timer      *time.Timer
	reason     atomic.Pointer[error] // why it was ended by us; nil = it was not
	beforeSend func() error
	probeLost  atomic.Bool // before said no
	http2      bool

	passThrottled bool                        // a refusal for its rate is for the caller to see
	tail          *proxy.StreamedBody         // of a body that is not held whole; nil mostly
	repeatable    bool                        // what it asks for may be asked for twice
	conn          atomic.Pointer[trackedConn] // on HTTP/1.1 by the transport: where it is sent
	reused        bool                        // the connection had been idle
	gotConnAt     time.Time                   // when the connection was had

	// The request's bytes are held by whoever may still read them: the round
	// trip, which may send them again on another connection, and a write that
	// an early answer has overtaken. The last one lets go of them.
	request    *proxy.Request // whose own bytes are sent, or
	freeBuffer func()         // gives an edited copy of them back
	bodyRefs   atomic.Int32
	writing    atomic.Bool
}

// newAttempt begins an attempt below parent. On HTTP/1.1 it is ended by
// closing its connection, which spares every request a context of its own; on
// HTTP/2, where connections are shared, by its context.
func newAttempt(parent context.Context, t *Target, before func() error) *attempt {
	a := &attempt{parent: parent, ctx: parent, beforeSend: before}
	a.bodyRefs.Store(1)
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

// startTimeout ends the attempt for this reason unless it is put at ease in time. A
// limit of zero is none.
func (a *attempt) startTimeout(limit time.Duration, reason error) {
	a.stopTimeout()
	if limit > 0 {
		a.timer = time.AfterFunc(limit, func() { a.abort(reason) })
	}
}

// stopTimeout takes the time limit away.
func (a *attempt) stopTimeout() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// abort ends the attempt for a reason of ours. While there is no connection yet
// it takes effect when there is one, which the limits of dialing bound.
func (a *attempt) abort(reason error) {
	a.reason.CompareAndSwap(nil, &reason)
	if a.cancel != nil {
		a.cancel(reason)
	}
	a.direct.HangUp()
	if conn := a.conn.Load(); conn != nil {
		conn.closeFor(a)
	}
}

// aborted reports whether the attempt was ended, by us or by those above.
func (a *attempt) aborted() bool { return a.reason.Load() != nil || a.parent.Err() != nil }

// finish releases what the attempt holds. It may be called more than once.
func (a *attempt) finish() {
	a.stopTimeout()
	if a.cancel != nil {
		a.cancel(errAttemptOver)
	}
	if conn := a.conn.Load(); conn != nil {
		conn.unassign(a)
	}
}

// failure is what the attempt's failure tells about the backend: nothing, when
// it was not the backend that ended it.
func (a *attempt) failure(err error) health.Outcome {
	o := health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()}
	reason := a.reason.Load()
	switch {
	case a.probeLost.Load():
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
		o.Reason = abandonReason(context.Cause(a.parent))
	default:
		o.Class, o.Reason = health.Failed, transportErrorKind(err)
	}
	return o
}

// abandonReason says why an attempt was given up by those above us.
func abandonReason(cause error) string {
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		return "caller's deadline"
	case errors.Is(cause, context.Canceled):
		return "caller left"
	}
	return "given up"
}

// responseBody ends the attempt when the answer has been read or given up.
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
