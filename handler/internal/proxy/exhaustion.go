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

// exhaustion is what the pools looked like when the request had been everywhere.
type exhaustion struct {
	seen           bool
	constrainedOut bool // so far, nothing but the consumer's own bounds
	throttled      bool // at least one backend is only throttled
	timedOut       bool // an attempt ended for want of an answer
	reopensAt      time.Time
	waits          int
}

// maxWaits bounds how often one request looks at a pool again: a backend that
// answers 429 with no wait must not keep it spinning.
const maxWaits = 32

// waitForReopening looks at the pool once more: it returns true at the instant when a
// throttled backend reopens, if that is within the time a request may waitForReopening.
func (r *run) waitForReopening(ctx context.Context, from *balancer.Pool) bool {
	now := r.Now()
	d := from.Decide(r.query(from), r.Health.Snapshot(), nil)
	r.exhaustion.add(&d)
	if r.exhaustion.waits++; r.exhaustion.waits > maxWaits {
		return false
	}
	if slices.ContainsFunc(d.Candidates[:d.Eligible], func(c balancer.Candidate) bool { return r.lastThrottled(c.Backend) }) {
		return r.MaxWait > 0 // it reopened while others were tried
	}
	at := d.ReopensAt(true)
	if at.IsZero() {
		return false
	}
	delay := max(at.Sub(now), 0) + time.Duration(r.Rand()*float64(5*time.Millisecond))
	if r.result.Waited+delay > r.MaxWait {
		return false
	}
	r.result.Waited += delay
	return r.Queue.Wait(ctx, r.class(), delay)
}

// class is who goes first in the waiting room.
func (r *run) class() consumer.Class {
	if r.request.Consumer == nil {
		return consumer.Interactive
	}
	return r.request.Consumer.Class
}

// lastThrottled reports whether the last attempt at the backend was throttled.
func (r *run) lastThrottled(b *balancer.Backend) bool {
	for i := len(r.result.Attempts) - 1; i >= 0; i-- {
		if a := &r.result.Attempts[i]; a.Backend == b {
			return a.Outcome.Class == health.Throttled
		}
	}
	return false
}

func (o *exhaustion) add(d *balancer.Decision) {
	o.constrainedOut = d.ConstrainedOut() && (o.constrainedOut || !o.seen)
	o.seen = true
	for i := range d.Candidates {
		o.throttled = o.throttled || d.Candidates[i].Reason == health.SkipThrottled
	}
	at := d.ReopensAt(o.throttled)
	if !at.IsZero() && (o.reopensAt.IsZero() || at.Before(o.reopensAt)) {
		o.reopensAt = at
	}
}

// setError says why nobody served.
func (r *run) setError(ctx context.Context) {
	for i := range r.result.Attempts {
		o := &r.result.Attempts[i].Outcome
		r.exhaustion.throttled = r.exhaustion.throttled || o.Class == health.Throttled
		r.exhaustion.timedOut = r.exhaustion.timedOut || o.Class == health.Failed && o.Reason == "first token timeout"
	}
	r.result.RetryAt = r.exhaustion.reopensAt
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		r.result.Err = ErrTimeout
	case ctx.Err() != nil:
		r.result.Err = ErrCallerLeft
	case r.request.StreamedBody.Err() != nil:
		r.result.Err = ErrBody
	case r.notDeployed():
		r.result.Err = ErrNotDeployed
	case r.exhaustion.constrainedOut:
		r.result.Err = ErrConstrainedOut
	case r.exhaustion.throttled:
		r.result.Err = ErrThrottled
	case r.exhaustion.timedOut:
		r.result.Err = ErrTimeout
	default:
		r.result.Err = ErrUnavailable
	}
}

// NotDeployed is the Why of an attempt at a backend that has no deployment of
// the model.
const NotDeployed = "deployment not found"

// excuseMissingDeployment is the outcome of an attempt at a backend to which any name is
// passed on: that it does not have every model is nothing wrong with it, and
// says nothing of the models that it has.
func excuseMissingDeployment(b *balancer.Backend, o health.Outcome) health.Outcome {
	if b.Deployment == "" && o.Class == health.Misconfigured {
		switch o.Reason {
		case NotDeployed, "in-stream misconfigured", "in-body misconfigured":
			o.Class, o.Reason = health.Abandoned, NotDeployed
		}
	}
	return o
}

// notDeployed reports whether every backend that was asked lacks the model.
func (r *run) notDeployed() bool {
	for i := range r.result.Attempts {
		if o := &r.result.Attempts[i].Outcome; o.Class != health.Abandoned || o.Reason != NotDeployed {
			return false
		}
	}
	return len(r.result.Attempts) > 0 && !r.exhaustion.throttled
}
