package proxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/overload"
)

// finish ends the plan.
func (p *Plan) finish(now time.Time) Action {
	p.settleSeat(false)
	if p.committed {
		return Action{Kind: Finish}
	}
	p.takeBack()
	if p.over {
		return Action{Kind: Finish, Err: ErrTimeout}
	}
	if p.allRefused() {
		if len(p.spared) == 0 { // it asked them all
			p.env.Operations.allRefused(p.request, p.pools[0].Model, p.commonFault(), p.refusals(), now)
		}
		return Action{Kind: Finish, Err: ErrRefused, Try: p.refused}
	}
	p.convictOfOperation(now)
	a := Action{Kind: Finish}
	x := p.exhaustion(now)
	a.RetryAt = x.reopensAt
	a.TooLarge, a.Fence = p.tooLarge(), x.fence()
	switch {
	case p.notDeployed() && !x.anyThrottled:
		a.Err = ErrNotDeployed
	case x.constrainedOut:
		a.Err = ErrConstrainedOut
	case x.throttled > x.failing:
		a.Err = ErrThrottled
	case p.timedOut():
		a.Err = ErrTimeout
	default:
		a.Err = ErrUnavailable
	}
	return a
}

// takeBack takes the failures back that say more about the request than about the
// backends: it failed everywhere. One that ended before all were tried did not.
func (p *Plan) takeBack() {
	if p.over && p.anyTriable() {
		return
	}
	var failed []health.Permit
	for i := range p.tries {
		t := &p.tries[i]
		switch {
		case t.notSent, t.outcome.Class == health.Misconfigured && !t.silent:
		case t.outcome.Class == health.Failed, t.silent && !t.answered:
			failed = append(failed, t.permit)
		default:
			return
		}
	}
	if len(failed) > 0 && !p.request.readsStored() {
		p.env.Health.TakeBack(failed)
	}
}

// allRefused reports whether every backend that the request may use says that the
// operation is not there.
func (p *Plan) allRefused() bool {
	if p.refused < 0 {
		return false
	}
	for i := range p.tries {
		if t := &p.tries[i]; !t.notSent && t.outcome.Class != health.Misconfigured {
			return false
		}
	}
	return !p.skippedByHealth()
}

// refusals is what the backends said.
func (p *Plan) refusals() []refusal {
	all := make([]refusal, 0, len(p.tries))
	for i := range p.tries {
		if t := &p.tries[i]; !t.notSent {
			all = append(all, t.refusal())
		}
	}
	return all
}

// commonFault is why every backend refused the request, where that is our credential
// or the deployment; "" = the request may be the reason.
func (p *Plan) commonFault() (reason string) {
	for i := range p.tries {
		t := &p.tries[i]
		switch {
		case t.notSent:
		case !p.refusedOperation(t) || !atFault(t.status, t.outcome.Reason):
			return ""
		case reason == "":
			reason = t.outcome.Reason
		}
	}
	return reason
}

// convictOfOperation counts refusals of backends that lately served the operation.
func (p *Plan) convictOfOperation(now time.Time) {
	key := operationOf(p.request)
	for i := range p.tries {
		if t := &p.tries[i]; p.refusedOperation(t) && p.env.Operations.servedWithin(lately, t.backend.Slot, key, now) {
			p.env.Operations.refuse(t.backend.Slot, key, p.boundBy(t), t.outcome.Reason, now)
		}
	}
}

// exhaustion is why no backend of the pools served, as it is now: not as it was
// before the request waited.
type exhaustion struct {
	throttled      int // backends
	failing        int
	anyThrottled   bool
	constrainedOut bool // only the consumer's own bounds leave none
	outside        bool // a backend is outside the consumer's geographies
	reserved       bool // a backend within them is in a priority group for others
	reopensAt      time.Time
}

// fence is the consumer's bound that leaves no backend or, where some are left,
// keeps others from it.
func (x *exhaustion) fence() Fence {
	switch {
	case x.reserved && (x.constrainedOut || !x.outside):
		return FenceMinPriority
	case x.outside:
		return FenceGeographies
	}
	return NoFence
}

func (p *Plan) exhaustion(now time.Time) exhaustion {
	x := exhaustion{constrainedOut: true}
	var throttled, failing time.Time
	for i := range p.pools {
		p.enter(now, i)
		x.constrainedOut = x.constrainedOut && p.decision.ConstrainedOut()
		for k := range p.decision.Candidates {
			c := &p.decision.Candidates[k]
			x.outside = x.outside || c.Reason == balancer.OutsideGeographies
			x.reserved = x.reserved || c.Reason == balancer.ReservedPriority
			switch p.conditionOf(c) {
			case throttledNow:
				x.throttled++
				throttled = soonest(throttled, c.Until)
			case failingNow:
				x.failing++
				if c.Eligible() {
					failing = soonest(failing, now)
				}
				failing = soonest(failing, c.Until)
			case otherwise:
			}
		}
	}
	x.anyThrottled = x.throttled > 0
	x.reopensAt = soonest(throttled, failing)
	if x.throttled > x.failing {
		x.reopensAt = throttled
	}
	return x
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// condition is why a candidate did not serve the request.
type condition uint8

const (
	otherwise condition = iota // it was not permitted, or answered something else
	throttledNow
	failingNow
)

func (p *Plan) conditionOf(c *balancer.Candidate) condition {
	last := p.lastAt(c.Backend.Slot)
	switch c.Reason {
	case balancer.OutsideGeographies, balancer.ReservedPriority, balancer.ZeroWeight, balancer.NotPinned, balancer.UnsupportedOperation:
		return otherwise
	case health.SkipThrottled:
		if last != nil && last.outcome.Class == health.Failed {
			return failingNow // it named a wait
		}
		return throttledNow
	case health.NotSkipped, health.SkipDrained, health.SkipOpen, health.SkipProbing, balancer.UnfitForOperation, balancer.Recovering:
	}
	if last != nil {
		return conditionAfter(last.outcome.Class)
	}
	return failingNow
}

// lastAt is the last attempt at a backend; nil = there was none.
func (p *Plan) lastAt(slot health.Slot) *try {
	for i := len(p.tries) - 1; i >= 0; i-- {
		if t := &p.tries[i]; t.backend.Slot == slot && !t.notSent {
			return t
		}
	}
	return nil
}

func conditionAfter(class health.OutcomeClass) condition {
	switch class {
	case health.Throttled:
		return throttledNow
	case health.Failed, health.Misconfigured:
		return failingNow
	case health.Served, health.Abandoned:
	}
	return otherwise
}

// tooLarge reports whether at least two backends refused the request for its tokens
// and said that their limit is less: a repetition would be refused, too. Without that,
// a later one may be served.
func (p *Plan) tooLarge() bool {
	n := 0
	for i := range p.tries {
		t := &p.tries[i]
		if t.outcome.Class != health.Throttled || t.outcome.Limit != health.LimitTokens || p.counted(i) {
			continue
		}
		if limit := t.outcome.Signals.LimitTokens; limit > 0 && p.request.Tokens > limit {
			n++
		}
	}
	return n >= 2
}

// counted reports whether a later attempt is at the same backend.
func (p *Plan) counted(i int) bool {
	return slices.ContainsFunc(p.tries[i+1:], func(t try) bool { return t.backend.Slot == p.tries[i].backend.Slot })
}

// timedOut reports whether an attempt ended because it had no content in time.
func (p *Plan) timedOut() bool {
	return slices.ContainsFunc(p.tries, func(t try) bool {
		return t.outcome.Class == health.Failed && (t.outcome.Reason == reasonFirstToken || t.outcome.Reason == reasonGivenUp)
	})
}

// notDeployed reports whether every backend that was asked lacks the model.
func (p *Plan) notDeployed() bool {
	for i := range p.tries {
		if o := &p.tries[i].outcome; o.Class != health.Abandoned || o.Reason != NotDeployed {
			return false
		}
	}
	return len(p.tries) > 0
}

// deliverable reports whether the kept response is delivered now. It is not when a
// backend that was not asked may hold what the request refers to.
func (p *Plan) deliverable() bool {
	if p.deferred < 0 || p.over {
		return false
	}
	return p.wholeGroup || p.tries[p.deferred].outcome.Reason == ContentFilter || !p.someHolderUnasked()
}

// someHolderUnasked reports whether a backend that may hold what the request refers to
// was throttled or failed, and so could not answer.
func (p *Plan) someHolderUnasked() bool {
	for i := range p.pools[p.at].Backends {
		b := &p.pools[p.at].Backends[i]
		if b.Weight > 0 && b.Permits(p.request.Consumer.Bounds()) && !p.answeredAt(b.Slot) {
			return true
		}
	}
	return false
}

// answeredAt reports whether the backend answered that it does not hold what the
// request refers to, or nothing of the kind.
func (p *Plan) answeredAt(slot health.Slot) bool {
	return slices.ContainsFunc(p.tries, func(t try) bool {
		return t.backend.Slot == slot && (t.outcome.Reason == NotHeld || t.outcome.Class == health.Misconfigured && t.status != 0 && !unauthorized(t.status))
	})
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

func (r *Request) priorityClass() consumer.Class {
	if r.Consumer == nil {
		return consumer.Interactive
	}
	return r.Consumer.Class
}

// setError is why the request was not served. What ended it from outside comes
// first.
func (r *run) setError(a *Action) {
	r.result.RetryAt, r.result.TooLarge, r.result.Fence = a.RetryAt, a.TooLarge, a.Fence
	switch {
	case timedOut(r.ctx), r.late.Load():
		r.result.Err = ErrTimeout
	case errors.Is(context.Cause(r.ctx), overload.ErrOverloaded):
		r.result.Err = overload.ErrOverloaded
	case r.ctx.Err() != nil:
		r.result.Err = ErrCallerLeft
	case r.request.StreamedBody.Err() != nil:
		r.result.Err = ErrBody
	case errors.Is(a.Err, ErrRefused):
		r.refuse(a.Try)
	default:
		r.result.Err = a.Err
	}
}
