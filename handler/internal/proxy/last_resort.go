package proxy

import (
	"cmp"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// lastResort is what is done when the candidates of all pools are used up: one
// repetition at a backend that failed this request and whose circuit is closed; the
// backends that lately refused the operation; then a trial of one that its circuit
// alone refuses. A circuit must not be why a request is refused that somebody would
// have served.
func (p *Plan) lastResort(now time.Time) Action {
	if a, ok := p.repeat(now); ok {
		return a
	}
	if a, ok := p.tryUnfit(now); ok {
		return a
	}
	return p.trial(now)
}

// repeat tries a backend again that failed this request, once.
func (p *Plan) repeat(now time.Time) (Action, bool) {
	if p.repeats > 0 || p.request.readsStored() {
		return Action{}, false
	}
	return p.sendToAny(now, AsRepeat, func(c *balancer.Candidate) bool {
		return c.Eligible() && p.failedAt(c.Backend.Slot)
	})
}

func (p *Plan) failedAt(slot health.Slot) bool {
	failed := false
	for i := range p.tries {
		if t := &p.tries[i]; t.backend.Slot == slot && !t.notSent {
			failed = t.outcome.Class == health.Failed
		}
	}
	return failed
}

// tryUnfit tries a backend that is skipped because it lately refused the operation.
func (p *Plan) tryUnfit(now time.Time) (Action, bool) {
	return p.sendToAny(now, InOrder, func(c *balancer.Candidate) bool {
		return c.Reason == balancer.UnfitForOperation && p.mayTry(c.Backend)
	})
}

// sendToAny sends the request to the first candidate of any pool that qualifies.
func (p *Plan) sendToAny(now time.Time, as SendKind, qualifies func(*balancer.Candidate) bool) (Action, bool) {
	last := p.at
	for i := range p.pools {
		p.enter(now, i)
		for k := range p.decision.Candidates {
			c := &p.decision.Candidates[k]
			if !qualifies(c) {
				continue
			}
			if permit, ok := p.acquire(c.Backend); ok {
				if as == AsRepeat {
					p.repeats++
				}
				p.next = p.decision.Eligible
				return p.send(now, c.Backend, permit, as), true
			}
		}
	}
	p.enter(now, last)
	return Action{}, false
}

// place is a backend and the index of a pool that it is in.
type place struct {
	backend *balancer.Backend
	pool    int
}

// trialPlaces returns the backends that their circuits alone refuse and that this
// request has not tried, or that it was given up at, the one that served most recently first. One that is
// eligible and not tried has a probe that was not given to this request.
func (p *Plan) trialPlaces(now time.Time) []place {
	var all []place
	last := p.at
	for i := range p.pools {
		p.enter(now, i)
		for k := range p.decision.Candidates {
			c := &p.decision.Candidates[k]
			untried := (c.CircuitOnly || c.Eligible()) && !p.triedAt(c.Backend.Slot) && p.mayTry(c.Backend)
			if untried || c.CircuitOnly && p.underWay() == 0 && p.hungAt(c.Backend.Slot) {
				all = append(all, place{c.Backend, i})
			}
		}
	}
	p.enter(now, last)
	slices.SortStableFunc(all, func(a, b place) int {
		return cmp.Compare(p.env.Load.servedAt(b.backend.Slot), p.env.Load.servedAt(a.backend.Slot))
	})
	return all
}

func slotsOf(places []place) []health.Slot {
	slots := make([]health.Slot, len(places))
	for i := range places {
		slots[i] = places[i].backend.Slot
	}
	return slots
}

// trial tries a backend whose circuit is open. One request at a time does so at
// each; the others wait for its outcome, at most MaxWait.
func (p *Plan) trial(now time.Time) Action {
	places := p.trialPlaces(now)
	if len(places) == 0 {
		return p.giveUp(now)
	}
	slot, wait := p.env.Trials.begin(slotsOf(places), p.request.consumerName())
	if wait == nil {
		return p.sendTrial(now, places, slot, true)
	}
	left := p.env.MaxWait - p.waited
	seat := (*Seat)(nil)
	if left > 0 && p.waits < maxWaits {
		seat = p.env.Queue.join(nil, p.request.consumerName(), p.request.priorityClass())
	}
	w := pendingWait{kind: waitTrial, seat: seat, trial: wait, began: now, deadline: now.Add(left)}
	if seat == nil {
		return p.endOfTrialWait(now, &w)
	}
	p.waits++
	p.wait = w
	return Action{Kind: Wait, Until: w.deadline, Ticket: wait}
}

// sendTrial tries the backend of this slot.
func (p *Plan) sendTrial(now time.Time, places []place, slot health.Slot, exclusive bool) Action {
	if a, ok := p.acquireTrial(now, places, slot, exclusive); ok {
		return a
	}
	if exclusive {
		p.env.Trials.passOn(slot, p.request.consumerName())
	}
	return p.giveUp(now)
}

func (p *Plan) acquireTrial(now time.Time, places []place, slot health.Slot, exclusive bool) (Action, bool) {
	i := slices.IndexFunc(places, func(c place) bool { return c.backend.Slot == slot })
	if i < 0 {
		return Action{}, false
	}
	permit, ok := p.env.Health.AcquireTrial(slot)
	if !ok {
		return Action{}, false
	}
	p.at = places[i].pool
	p.next = p.decision.Eligible
	if p.triedAt(slot) {
		p.repeats++
	}
	a := p.send(now, places[i].backend, permit, AsTrial)
	p.tries[a.Try].exclusive = exclusive
	return a, true
}

// hedgeByTrial makes a trial while an attempt is silent: nobody is left who would be
// asked otherwise. While another request makes it, this one looks again later.
func (p *Plan) hedgeByTrial(now time.Time) (Action, bool) {
	places := slices.DeleteFunc(p.trialPlaces(now), func(c place) bool {
		return p.view.Of(c.backend.Slot).State == health.Closed || !p.mayServe(c.pool)
	})
	if len(places) == 0 || !p.beginAnother() {
		return Action{}, false
	}
	slot, wait := p.env.Trials.begin(slotsOf(places), p.request.consumerName())
	if wait == nil {
		if a, ok := p.acquireTrial(now, places, slot, true); ok {
			p.hedged = true
			return a, true
		}
		p.env.Trials.passOn(slot, p.request.consumerName())
	} else if turn, _ := wait.leave(); turn {
		p.env.Trials.passOn(wait.at, p.request.consumerName())
	}
	p.endAnother()
	return Action{}, false
}

// giveUp refuses the request, unless a backend has become available while it waited.
func (p *Plan) giveUp(now time.Time) Action {
	a, ok := p.sendToAny(now, InOrder, func(c *balancer.Candidate) bool {
		return c.Eligible() && p.mayTry(c.Backend) && (p.env.MaxWait > 0 || !p.triedAt(c.Backend.Slot))
	})
	if ok {
		return a
	}
	return p.finish(now)
}

// wokenByTrial handles the end of a wait for the trial of another request.
func (p *Plan) wokenByTrial(now time.Time, w *pendingWait) Action {
	w.seat.leave()
	turn, served := w.trial.leave()
	p.trialFailed = p.trialFailed || w.trial.failed
	switch {
	case p.over:
		if turn {
			p.env.Trials.passOn(w.trial.at, p.request.consumerName())
		}
		return p.finish(now)
	case turn:
		return p.takeTurn(now, w.trial.at)
	case served:
		p.enter(now, 0)
		return p.advance(now)
	}
	return p.endOfTrialWait(now, w)
}

// takeTurn makes the trial that this request was given, if it still needs one.
func (p *Plan) takeTurn(now time.Time, slot health.Slot) Action {
	places := p.trialPlaces(now)
	if !p.anyTriable() && slices.Contains(slotsOf(places), slot) {
		return p.sendTrial(now, places, slot, true)
	}
	p.env.Trials.passOn(slot, p.request.consumerName())
	p.enter(now, 0)
	return p.advance(now)
}

// endOfTrialWait is for a request that may wait no longer: it is refused only if a
// trial failed meanwhile; else it tries for itself.
func (p *Plan) endOfTrialWait(now time.Time, w *pendingWait) Action {
	if turn, _ := w.trial.leave(); turn {
		return p.takeTurn(now, w.trial.at)
	}
	p.trialFailed = p.trialFailed || w.trial.failed
	if p.trialFailed && w.seat != nil {
		return p.giveUp(now)
	}
	places := p.trialPlaces(now)
	if len(places) == 0 {
		p.enter(now, 0)
		return p.advance(now)
	}
	return p.sendTrial(now, places, places[0].backend.Slot, false)
}
