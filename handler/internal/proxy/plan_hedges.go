package proxy

import (
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
)

// look handles an attempt that may be late: past its threshold it counts as a failure
// until it is answered, and its request goes to another backend.
func (p *Plan) look(now time.Time, i int) Action {
	t := &p.tries[i]
	if t.ended || p.answered || p.over {
		return Action{}
	}
	stalled := now.Sub(t.lookAt) > LookAgain // this process stood still, not the backend
	t.lookAt = now.Add(LookAgain)
	if stalled {
		return Action{}
	}
	if t.late {
		t.hung = t.hung || !p.env.Latency.OnTime(t.backend.Slot)
	}
	p.count(now, t)
	if !t.late || !p.mayHedge() {
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
	if t.pool == p.pools[p.at] && p.circuitOpen(now, t.backend.Slot) && p.fallbackEligible(now) {
		return p.giveUpTry(i) // new requests go to the fallback now
	}
	return Action{}
}

// count counts an attempt that is silent. Of the second attempt of a request that is late
// already less is waited for: what is usual, not three times that.
func (p *Plan) count(now time.Time, t *try) {
	age, silence := now.Sub(t.start), p.silenceAfter(t.start, t.backend.Slot)
	lateAfter := silence
	if t.second {
		lateAfter = max(silence/3, min(silence, latency.LeastSilence))
	}
	if !t.late && age >= lateAfter {
		t.late, t.overdue = true, true
		t.since = p.env.Latency.BeginOverdue(t.backend.Slot)
	}
	if !t.silent && age >= silence {
		t.silent = true
		p.env.Health.ReportSilent(t.permit)
		p.passOnTrial(t)
	}
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
		if !t.late || !t.hung && p.env.Latency.OnTime(t.backend.Slot) {
			return Action{}, false
		}
		if oldest < 0 {
			oldest = i
		}
	}
	p.decide(now)
	for i := range p.decision.Eligible {
		if b := p.decision.Candidates[i].Backend; p.mayHedgeTo(b, AsHedge, true) || p.mayRepeatAt(b) && p.view.Of(b.Slot).State == health.Closed {
			return p.giveUpTry(oldest), true
		}
	}
	return Action{}, false
}

func (p *Plan) giveUpTry(i int) Action {
	p.tries[i].hung = true
	p.passOnTrial(&p.tries[i])
	return Action{Kind: GiveUp, Try: i}
}

// LookAgain is how long a plan waits before it looks again at an attempt, and how late
// a timer must be for the process itself to have stood still.
const LookAgain = time.Second

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
	for _, as := range [...]SendKind{AsHedge, AsRepeat} {
		for i := range p.decision.Eligible {
			b := p.decision.Candidates[i].Backend
			if !p.mayHedgeTo(b, as, onTime) {
				continue
			}
			if permit, ok := p.acquire(b); ok {
				p.hedged = true
				if as == AsRepeat {
					p.repeats++
				}
				return p.send(now, b, permit, as), true
			}
		}
	}
	p.endAnother()
	return Action{}, false
}

// mayHedgeTo reports whether a hedge may go to the backend, or the request again; onTime
// excludes one that is slow itself.
func (p *Plan) mayHedgeTo(b *balancer.Backend, as SendKind, onTime bool) bool {
	if as == AsHedge {
		return p.mayTry(b) && (!onTime || p.onTime(b.Slot))
	}
	return onTime && p.mayRepeatAt(b)
}

// maxRepeats is how often a request may be sent once more: as a probe that may hang as
// well, and when a backend is well again.
const maxRepeats = 2

// mayRepeatAt reports whether the request may be sent once more to a backend that it was
// sent to.
func (p *Plan) mayRepeatAt(b *balancer.Backend) bool {
	return p.throttledAt(b.Slot) < maxThrottled && p.repeatable(b.Slot, p.isWellSince)
}

// isWellSince reports whether the backend of an attempt answers others since: of one that
// hung with all others, or that failed. What hung may also be its probe.
func (p *Plan) isWellSince(t *try) bool {
	if t.hung {
		return p.env.Latency.OnTime(t.backend.Slot) || p.view.Of(t.backend.Slot).State != health.Closed
	}
	return t.ended && t.outcome.Class == health.Failed && p.env.Load.servedAt(t.backend.Slot) > t.endedAt.UnixMilli()
}

// hungAt reports whether the request may be repeated where it was given up.
func (p *Plan) hungAt(slot health.Slot) bool {
	return p.repeatable(slot, func(t *try) bool { return t.hung })
}

// repeatable reports whether the request may be repeated at all, and was such an attempt
// made there.
func (p *Plan) repeatable(slot health.Slot, was func(*try) bool) bool {
	return p.repeats < maxRepeats && slices.ContainsFunc(p.tries, func(t try) bool { return t.backend.Slot == slot && was(&t) })
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
		if t := &p.tries[i]; !t.ended && t.late && p.mayHedge() {
			a, _ := p.hedgeSilence(now)
			return a
		}
	}
	return Action{}
}
