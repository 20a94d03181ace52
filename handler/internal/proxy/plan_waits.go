package proxy

import (
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
)

// pendingWait is what a plan waits for.
type pendingWait struct {
	kind     waitKind
	seat     *Seat
	trial    *TrialWait
	began    time.Time
	deadline time.Time
}

type waitKind uint8

const (
	waitPool    waitKind = iota + 1 // for a throttled pool
	waitTrial                       // for the trial of another request
	waitVisible                     // for a stored object to become visible
)

// maxWaits bounds how often one request waits.
const maxWaits = 32

// interactiveLead is how much earlier an interactive request resumes than a
// batch request that waited for the same reopening.
const interactiveLead = 25 * time.Millisecond

// anotherRound decides anew after attempts were made, and reports whether there is a
// candidate: one that has become available meanwhile, or that was throttled and has
// reopened.
func (p *Plan) anotherRound(now time.Time) bool {
	if !p.sent {
		return false
	}
	p.decide(now)
	return p.anyTriable()
}

func (p *Plan) anyTriable() bool {
	for i := range p.decision.Eligible {
		b := p.decision.Candidates[i].Backend
		if p.mayTry(b) && (p.env.MaxWait > 0 || !p.triedAt(b.Slot)) {
			return true
		}
	}
	return false
}

func (p *Plan) triedAt(slot health.Slot) bool {
	for i := range p.tries {
		if t := &p.tries[i]; t.backend.Slot == slot && !t.notSent {
			return true
		}
	}
	return false
}

// waitForPool waits until the soonest throttled candidate reopens: not when that is
// later than MaxWait.
func (p *Plan) waitForPool(now time.Time) (Action, bool) {
	at := p.reopensAt()
	if at.IsZero() || p.noSeat || p.waits >= maxWaits {
		return Action{}, false
	}
	delay := max(at.Sub(now), 0) + time.Duration(p.env.Rand()*float64(5*time.Millisecond))
	left := p.env.MaxWait - p.waited
	if delay > left {
		return Action{}, false
	}
	seat := p.env.Queue.join(p.pools[p.at], p.request.consumerName(), p.request.priorityClass())
	if seat == nil {
		return Action{}, false
	}
	if seat.class == consumer.Batch {
		delay += interactiveLead
	}
	p.waits++
	p.wait = pendingWait{kind: waitPool, seat: seat, began: now, deadline: now.Add(left)}
	return Action{Kind: Wait, Until: now.Add(delay), Ticket: seat}, true
}

// reopensAt is when the first throttled candidate that may be tried reopens.
func (p *Plan) reopensAt() time.Time {
	var soonest time.Time
	for i := range p.decision.Candidates {
		c := &p.decision.Candidates[i]
		if c.Reason != health.SkipThrottled || c.Until.IsZero() || !p.mayTry(c.Backend) {
			continue
		}
		if soonest.IsZero() || c.Until.Before(soonest) {
			soonest = c.Until
		}
	}
	return soonest
}

// woken handles the end of a wait.
func (p *Plan) woken(now time.Time) Action {
	w := p.wait
	p.wait = pendingWait{}
	p.waited += now.Sub(w.began)
	switch w.kind {
	case waitTrial:
		return p.wokenByTrial(now, &w)
	case waitVisible:
		if w.seat != nil {
			w.seat.leave()
		}
		return p.askAgain(now)
	case waitPool:
	}
	p.decide(now)
	switch {
	case p.over:
		w.seat.leave()
		return p.finish(now)
	case w.seat.isRevoked():
		p.noSeat = true
	case !p.anyTriable():
		w.seat.leave()
		return p.exhausted(now)
	case w.seat.admit():
		p.admitted = w.seat
	case now.Before(w.deadline): // others try it first
		w.began = now
		p.wait = w
		return Action{Kind: Wait, Until: w.deadline, Ticket: w.seat}
	default:
		w.seat.leave()
	}
	return p.advance(now)
}

// settleSeat tells those who wait for the same pool how the attempt ended.
func (p *Plan) settleSeat(success bool) {
	if p.admitted != nil {
		p.admitted.settle(success)
		p.admitted = nil
	}
}

// pause waits before the same backend is asked again. Without a seat it is asked at
// once.
func (p *Plan) pause(now time.Time) Action {
	seat := p.env.Queue.join(nil, p.request.consumerName(), p.request.priorityClass())
	if seat == nil {
		return p.askAgain(now)
	}
	p.wait.seat = seat
	return Action{Kind: Wait, Until: now.Add(visibilityDelay), Ticket: seat}
}

// askAgain sends the request to the backend that did not find what it refers to.
func (p *Plan) askAgain(now time.Time) Action {
	b := p.tries[p.again].backend
	p.again = -1
	if p.stopped() {
		return p.finish(now)
	}
	if permit, ok := p.acquire(b); ok {
		return p.send(now, b, permit, InOrder)
	}
	return p.advance(now)
}

// maxThrottled is how often one request tries a throttled backend.
const maxThrottled = 3

// mayTry reports whether the request may try the backend: it has not yet, or was
// throttled there.
func (p *Plan) mayTry(b *balancer.Backend) bool {
	if slices.Contains(p.spared, b.Slot) || p.deferred >= 0 && p.wholeGroup && p.tries[p.deferred].backend.Priority == b.Priority {
		return false
	}
	throttled, others := p.throttledAt(b.Slot), 0
	for i := range p.tries {
		t := &p.tries[i]
		switch {
		case t.notSent, t.backend.Slot == b.Slot && t.wasThrottled():
		case t.backend.Slot == b.Slot:
			return false
		case t.pool == p.pools[p.at] && p.firstAt(i):
			others++
		}
	}
	if throttled > 0 {
		return throttled < maxThrottled
	}
	most := p.pools[p.at].Attempts
	return most <= 0 || others < most
}

func (t *try) wasThrottled() bool {
	return t.ended && !t.notSent && t.outcome.Class == health.Throttled
}

// throttledAt is how often the request was throttled there.
func (p *Plan) throttledAt(slot health.Slot) (n int) {
	for i := range p.tries {
		if t := &p.tries[i]; t.backend.Slot == slot && t.wasThrottled() {
			n++
		}
	}
	return n
}

// firstAt reports whether the attempt was the first at its backend.
func (p *Plan) firstAt(i int) bool {
	for j := range i {
		if p.tries[j].backend.Slot == p.tries[i].backend.Slot && !p.tries[j].notSent {
			return false
		}
	}
	return true
}
