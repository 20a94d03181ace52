package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/health"
)

// errResponseTimeout ends a request whose ResponseTimeout is spent. To a Sender
// it is a deadline like the caller's.
var errResponseTimeout = fmt.Errorf("proxy: no first byte within the response timeout: %w", context.DeadlineExceeded)

// reasonTimedOut is the Reason of an attempt that the response timeout ended.
const reasonTimedOut = "response timeout"

// startDeadline bounds the request until its response is committed: by the
// caller's deadline or by the response timeout, whichever is sooner. The timeout
// spans all attempts and waits, since every proxy in front has one limit for the
// whole request (docs/functions-host.md#body-and-time-limits).
func (r *run) startDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	now := r.Now()
	if r.request.Received.IsZero() {
		r.request.Received = now
	}
	at := r.plan.firstByteBy()
	if at.IsZero() {
		return ctx, func() {}
	}
	reason := errResponseTimeout
	if at.Equal(r.request.Deadline) {
		reason = context.DeadlineExceeded
	}
	cancel := r.request.Cancel
	if cancel == nil {
		ctx, cancel = context.WithCancelCause(ctx)
	}
	r.deadline = time.AfterFunc(at.Sub(now), func() { cancel(reason) })
	return ctx, func() {
		r.deadline.Stop()
		if r.request.Cancel == nil {
			cancel(nil)
		}
	}
}

// meetsDeadline ends the deadline, as a response is about to be committed, or a
// status line about to be sent ahead of one. It is false when the deadline has
// passed.
func (r *run) meetsDeadline() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deadline == nil || r.met || r.deadline.Stop() {
		r.met = true
		return true
	}
	r.late.Store(true)
	return false
}

// mayStart reports whether the status line of a stream may be sent ahead of its
// content.
func (t *attempt) mayStart() bool {
	t.run.mu.Lock()
	won := t.winner != nil
	t.run.mu.Unlock()
	return !won && t.meetsDeadline()
}

// timedOut reports whether ctx ended by a deadline.
func timedOut(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// attributeTimeout is the outcome of an attempt that may have been ended by the
// response timeout. It is a failure of the backend if the attempt had at least
// half of the timeout: an attempt that began late shows nothing.
func (t *attempt) attributeTimeout(ctx context.Context, o health.Outcome) health.Outcome {
	if o.Class != health.Abandoned || !errors.Is(context.Cause(ctx), errResponseTimeout) {
		return o
	}
	o.Reason = reasonTimedOut
	if t.Now().Sub(t.start) >= t.ResponseTimeout/2 {
		o.Class = health.Failed
	}
	return o
}
