package proxy

import (
	"context"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
)

// exhaustion is why no backend of the pools served.
type exhaustion struct {
	seen           bool
	constrainedOut bool // only the consumer's own bounds leave none
	throttled      bool // at least one backend is throttled
	timedOut       bool // an attempt ended by its first token timeout
	reopensAt      time.Time
	waits          int
}

// maxWaits bounds how often one request tries a pool again: a backend that answers
// 429 without a wait must not be asked in a loop.
const maxWaits = 32

// waitForReopening waits until the soonest throttled backend reopens, and reports
// whether the pool is to be tried again: not when that is later than MaxWait.
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
	return r.Queue.Wait(ctx, r.priorityClass(), delay)
}

func (r *run) priorityClass() consumer.Class {
	if r.request.Consumer == nil {
		return consumer.Interactive
	}
	return r.request.Consumer.Class
}

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

func (r *run) setError(ctx context.Context) {
	for i := range r.result.Attempts {
		o := &r.result.Attempts[i].Outcome
		r.exhaustion.throttled = r.exhaustion.throttled || o.Class == health.Throttled
		r.exhaustion.timedOut = r.exhaustion.timedOut || o.Class == health.Failed && o.Reason == "first token timeout"
	}
	r.result.RetryAt = r.exhaustion.reopensAt
	switch {
	case timedOut(ctx):
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

// NotDeployed is the Reason of an attempt at a backend without a deployment of the
// model.
const NotDeployed = "deployment not found"

// reclassifyMissingDeployment is the outcome of an attempt at a backend to which any
// model name is passed on: a model that it lacks is no fault of its configuration,
// and does not affect its other models.
func reclassifyMissingDeployment(b *balancer.Backend, o health.Outcome) health.Outcome {
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
