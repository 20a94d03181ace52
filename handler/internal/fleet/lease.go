package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// probe is the fleet's one probe of a slot while this instance holds the lease.
type probe struct {
	stage       probeStage
	incarnation uint64
	lease       uint64
	taken       time.Duration // when this instance learnt that it has it
	news        health.ProbeNews
}

// probeStage is how far the probe is.
type probeStage uint8

const (
	probeNone     probeStage = iota
	probeUnused              // a request may take it
	probeInFlight            // a request has
	probeEnded               // its news is on its way to the table
)

// unusedFor is how long a probe waits for a request. Whoever has requests gets
// the next chance.
const unusedFor = 800 * time.Millisecond

// wantedFor is how long a request that would have used a circuit counts as
// demand for it.
const wantedFor = 1500 * time.Millisecond

// margin is how long before a lease's end its holder gives it up, so that an
// instant that both clocks call the deadline belongs to nobody
// (facts/table-state.md §5: the first draft of the model failed on equality).
const margin = 20 // ms

// end notes what became of the probe.
func (p *probe) end(news health.ProbeNews) { p.stage, p.news = probeEnded, news }

// renewed: the lease goes on; what is in flight, or ended meanwhile, stays so.
func (p *probe) renewed() {
	if p.stage == probeInFlight {
		p.news = health.NoProbe
	}
}

// tend moves the probe on as time passes: it is given back when no request
// came, and its lease renewed when the request takes long.
func (k *Keeper) tend(s *slot, now reading) (changed bool) {
	switch s.probe.stage {
	case probeUnused:
		if now.local >= s.probe.taken+unusedFor {
			s.probe.end(health.ProbeReturned)
			s.wanted.Store(0) // who gave it back does not take it again without a new request
			k.count.Returned++
			return true
		}
	case probeInFlight:
		if now.local >= k.renewAt(s) {
			s.probe.news = health.ProbeLasting
		}
	case probeNone, probeEnded:
	}
	return false
}

// renewAt is when a third of the lease has passed.
func (k *Keeper) renewAt(s *slot) time.Duration {
	return k.clock.local(s.record.Circuit.Until) - k.cfg.Breaker.Lease*2/3
}

// demanded reports whether a request would lately have used the slot.
func (s *slot) demanded(now time.Duration) bool {
	wanted := s.wanted.Load()
	return wanted != 0 && now-time.Duration(wanted) < wantedFor
}

// claims reports whether this instance should try for the probe: the circuit
// has cooled, a request wants it and may have it, and this instance's turn has
// come.
func (k *Keeper) claims(s *slot, now reading, span health.Span) bool {
	return s.record.Circuit.Cooled(span) && s.demanded(now.local) && !s.record.Word.Drained &&
		now.local >= s.tryAt && s.probe.stage == probeNone
}

// left is how long the lease that the ticket was given under still holds for
// sure.
func (k *Keeper) left(s *slot, t health.Ticket, now reading) (time.Duration, bool) {
	c := s.record.Circuit
	span, ok := k.clock.span(now)
	if !ok || c.Phase != health.HalfOpen || c.Incarnation != t.Incarnation || c.Lease != t.Epoch || !k.holds(s, c) {
		return 0, false
	}
	if s.probe.stage == probeUnused || span.Hi+margin >= c.Until {
		return 0, false
	}
	return time.Duration(c.Until-margin-span.Hi) * time.Millisecond, true
}
