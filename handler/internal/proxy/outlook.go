package proxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
)

// outlook is what the pools looked like when the request had been everywhere.
type outlook struct {
	seen      bool
	fenced    bool // so far, nothing but the consumer's own bounds
	throttled bool // at least one backend is only throttled
	timedOut  bool // an attempt ended for want of an answer
	reopens   time.Time
	rounds    int
}

// maxRounds bounds how often one request looks at a pool again: a backend that
// answers 429 with no wait must not keep it spinning.
const maxRounds = 32

// wait looks at the pool once more: it returns true at the instant when a
// throttled backend reopens, if that is within the time a request may wait.
func (r *run) wait(ctx context.Context, from *balancer.Pool) bool {
	now := r.Now()
	d := from.Decide(r.query(from), r.Keeper.Look(), nil)
	r.last.fold(&d)
	if r.last.rounds++; r.last.rounds > maxRounds {
		return false
	}
	if slices.ContainsFunc(d.Candidates[:d.Line], func(c balancer.Candidate) bool { return r.throttledBefore(c.Backend) }) {
		return r.MaxWait > 0 // it reopened while others were tried
	}
	at := d.Reopens(true)
	if at.IsZero() {
		return false
	}
	delay := max(at.Sub(now), 0) + time.Duration(r.Chance()*float64(5*time.Millisecond))
	if r.result.Waited+delay > r.MaxWait {
		return false
	}
	r.result.Waited += delay
	return r.Wait(ctx, r.class(), delay)
}

// class is who goes first in the waiting room.
func (r *run) class() consumer.Class {
	if r.request.Consumer == nil {
		return consumer.Interactive
	}
	return r.request.Consumer.Class
}

// throttledBefore reports whether the last attempt at the backend was throttled.
func (r *run) throttledBefore(b *balancer.Backend) bool {
	for i := len(r.result.Attempts) - 1; i >= 0; i-- {
		if a := &r.result.Attempts[i]; a.Backend == b {
			return a.Outcome.Verdict == health.Throttled
		}
	}
	return false
}

func (o *outlook) fold(d *balancer.Decision) {
	o.fenced = d.Fenced() && (o.fenced || !o.seen)
	o.seen = true
	for i := range d.Candidates {
		o.throttled = o.throttled || d.Candidates[i].Reason == health.RefusedThrottled
	}
	at := d.Reopens(o.throttled)
	if !at.IsZero() && (o.reopens.IsZero() || at.Before(o.reopens)) {
		o.reopens = at
	}
}

// giveUp says why nobody served.
func (r *run) giveUp(ctx context.Context) {
	for i := range r.result.Attempts {
		o := &r.result.Attempts[i].Outcome
		r.last.throttled = r.last.throttled || o.Verdict == health.Throttled
		r.last.timedOut = r.last.timedOut || o.Verdict == health.Failed && o.Why == "first token timeout"
	}
	r.result.RetryAt = r.last.reopens
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		r.result.Err = ErrTimeout
	case ctx.Err() != nil:
		r.result.Err = ErrCallerLeft
	case r.request.Tail.Err() != nil:
		r.result.Err = ErrBody
	case r.notOffered():
		r.result.Err = ErrNotOffered
	case r.last.fenced:
		r.result.Err = ErrFenced
	case r.last.throttled:
		r.result.Err = ErrThrottled
	case r.last.timedOut:
		r.result.Err = ErrTimeout
	default:
		r.result.Err = ErrUnavailable
	}
}
