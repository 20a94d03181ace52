package proxy

import (
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// silence handles an attempt that is past its threshold: it counts as a failure
// until it is answered, and is hedged.
func (p *Plan) silence(now time.Time, i int) Action {
	t := &p.tries[i]
	if t.ended || p.answered || p.over {
		return Action{}
	}
	if !t.silent {
		if now.Sub(t.silentAt) > stalled { // this process stood still, not the backend
			t.silentAt = now.Add(stalled)
			return Action{Kind: Watch, Try: i, Silence: stalled}
		}
		t.silent, t.overdue = true, true
		t.since = p.env.Latency.BeginOverdue(t.backend.Slot)
		p.env.Health.ReportSilent(t.permit)
		p.passOnTrial(t)
	}
	if !p.mayHedge() {
		return Action{}
	}
	if p.underWay() < 2 {
		if a, ok := p.hedgeSilence(now); ok {
			return a
		}
	}
	if p.underWay() > 1 || p.alone {
		if a, ok := p.giveUpSilent(now); ok {
			return a
		}
	}
	if p.fallbackEligible(now) && p.circuitOpen(now, t.backend.Slot) {
		return Action{Kind: GiveUp, Try: i} // new requests go to the fallback now
	}
	return Action{Kind: Watch, Try: i, Silence: stalled}
}

// hedgeSilence sends the request to a second backend because the first is silent: to
// one whose own answers are on time, else as a trial to one that its circuit alone
// refuses.
func (p *Plan) hedgeSilence(now time.Time) (Action, bool) {
	if a, ok := p.sendHedge(now, true); ok {
		return a, true
	}
	return p.hedgeByTrial(now)
}

// onTime reports whether a backend is expected to answer in time: its last answer was
// in time, or it has nothing to do, and one request is to find out.
func (p *Plan) onTime(slot health.Slot) bool {
	return p.env.Latency.OnTime(slot) || p.env.Load.InFlight(slot) == 0
}

// giveUpSilent gives up the older of two silent attempts, or the only one where the
// consumer may have no second, for another backend: when they are at backends that
// have answered nobody since, it is not the request that takes long.
func (p *Plan) giveUpSilent(now time.Time) (Action, bool) {
	oldest := -1
	for i := range p.tries {
		t := &p.tries[i]
		if t.ended {
			continue
		}
		if !t.silent || p.env.Latency.OnTime(t.backend.Slot) {
			return Action{}, false
		}
		if oldest < 0 {
			oldest = i
		}
	}
	p.decide(now)
	for i := range p.decision.Eligible {
		if p.mayHedgeTo(p.decision.Candidates[i].Backend, true) {
			return Action{Kind: GiveUp, Try: oldest}, true
		}
	}
	return Action{}, false
}

// stalled is how late a timer must be for the process itself to have stood still,
// and how long it waits before it looks again.
const stalled = time.Second

// mayHedge reports whether the request may be at two backends at once.
func (p *Plan) mayHedge() bool {
	return !p.stopped() && p.request.PinnedTo == nil && p.request.StreamedBody == nil && !p.request.Acts()
}

// sendHedge sends the request to the next eligible candidate. onTime excludes those
// that are slow themselves.
func (p *Plan) sendHedge(now time.Time, onTime bool) (Action, bool) {
	if onTime {
		p.decide(now)
	}
	if !p.beginAnother() {
		return Action{}, false
	}
	for i := range p.decision.Eligible {
		b := p.decision.Candidates[i].Backend
		if !p.mayHedgeTo(b, onTime) {
			continue
		}
		if permit, ok := p.acquire(b); ok {
			p.hedged = true
			return p.send(now, b, permit, AsHedge), true
		}
	}
	p.endAnother()
	return Action{}, false
}

// mayHedgeTo reports whether a hedge may go to the backend; onTime excludes one that is
// slow itself.
func (p *Plan) mayHedgeTo(b *balancer.Backend, onTime bool) bool {
	return p.mayTry(b) && (!onTime || p.onTime(b.Slot))
}

// beginAnother reports whether the request may have two attempts under way.
func (p *Plan) beginAnother() bool {
	if p.request.Another == nil || p.another != nil {
		return true
	}
	release, ok := p.request.Another()
	p.another, p.alone = release, !ok
	return ok
}

// endAnother is called when no more than one attempt is under way.
func (p *Plan) endAnother() {
	if p.another != nil {
		p.another()
		p.another = nil
	}
}

// hedging is the state of the pool's hedging by latency when this request may be
// hedged: a stream that any backend can serve. Else it is nil.
func (p *Plan) hedging() *hedgeStats {
	from := p.pools[p.at]
	if p.env.Hedges == nil || from.Hedge.After == 0 && from.Hedge.Percentile == 0 {
		return nil
	}
	if !p.request.Parsed.Stream || p.request.PinnedTo != nil || p.request.StreamedBody != nil {
		return nil
	}
	return p.env.Hedges.pool(from)
}

// hedgeByLatency handles an attempt that is slower than the pool's configuration
// wants.
func (p *Plan) hedgeByLatency(now time.Time, i int) Action {
	h := p.hedging()
	if p.tries[i].ended || p.hedged || h == nil || !p.mayHedge() || !h.withdraw() {
		return Action{}
	}
	if a, ok := p.sendHedge(now, false); ok {
		return a
	}
	h.refund()
	return Action{}
}

// replace continues after one of two attempts ended without an answer: when the
// other is silent, the next candidate takes the place of the one that ended.
func (p *Plan) replace(now time.Time) Action {
	for i := range p.tries {
		if t := &p.tries[i]; !t.ended && t.silent && p.mayHedge() {
			a, _ := p.hedgeSilence(now)
			return a
		}
	}
	return Action{}
}
