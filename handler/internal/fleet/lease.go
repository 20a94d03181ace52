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
	result      health.ProbeResult
}

// probeStage is how far the probe is.
type probeStage uint8

const (
	probeNone     probeStage = iota
	probeUnused              // a request may take it
	probeInFlight            // a request has
	probeEnded               // its news is on its way to the table
)

// unusedProbeTimeout is how long a probe waits for a request. Whoever has requests gets
// the next chance.
const unusedProbeTimeout = 800 * time.Millisecond

// demandWindow is how long a request that would have used a circuit counts as
// demand for it.
const demandWindow = 1500 * time.Millisecond

// leaseMargin is how long before a lease's end its holder gives it up, so that an
// instant that both clocks call the deadline belongs to nobody
// (facts/table-state.md §5: the first draft of the model failed on equality).
const leaseMargin = 20 // ms

// end notes what became of the probe.
func (p *probe) end(news health.ProbeResult) { p.stage, p.result = probeEnded, news }

// renewed: the lease goes on; what is in flight, or ended meanwhile, stays so.
func (p *probe) renewed() {
	if p.stage == probeInFlight {
		p.result = health.NoProbeResult
	}
}

// advanceProbe moves the probe on as time passes: it is given back when no request
// came, and its lease renewed when the request takes long.
func (r *Replica) advanceProbe(s *slot, now clockReading) (changed bool) {
	switch s.probe.stage {
	case probeUnused:
		if now.local >= s.probe.taken+unusedProbeTimeout {
			s.probe.end(health.ProbeReturned)
			s.demandedAt.Store(0) // who gave it back does not take it again without a new request
			r.counters.ProbesReturned++
			return true
		}
	case probeInFlight:
		if now.local >= r.renewAt(s) {
			s.probe.result = health.ProbeRunning
		}
	case probeNone, probeEnded:
	}
	return false
}

// renewAt is when a third of the lease has passed.
func (r *Replica) renewAt(s *slot) time.Duration {
	return r.clock.toLocal(s.record.Circuit.Until) - r.cfg.Breaker.ProbeLease*2/3
}

// inDemand reports whether a request would lately have used the slot.
func (s *slot) inDemand(now time.Duration) bool {
	wanted := s.demandedAt.Load()
	return wanted != 0 && now-time.Duration(wanted) < demandWindow
}

// shouldClaimProbe reports whether this instance should try for the probe: the circuit
// has cooled, a request wants it and may have it, and this instance's turn has
// come.
func (r *Replica) shouldClaimProbe(s *slot, now clockReading, span health.TimeBounds) bool {
	return s.record.Circuit.ProbeDue(span) && s.inDemand(now.local) && !s.record.Override.Drained &&
		now.local >= s.claimAfter && s.probe.stage == probeNone
}

// leaseRemaining is how long the lease that the ticket was given under still holds for
// sure.
func (r *Replica) leaseRemaining(s *slot, t health.Permit, now clockReading) (time.Duration, bool) {
	c := s.record.Circuit
	span, ok := r.clock.bounds(now)
	if !ok || c.State != health.HalfOpen || c.Incarnation != t.Incarnation || c.Lease != t.Epoch || !r.holdsLease(s, c) {
		return 0, false
	}
	if s.probe.stage == probeUnused || span.Latest+leaseMargin >= c.Until {
		return 0, false
	}
	return time.Duration(c.Until-leaseMargin-span.Latest) * time.Millisecond, true
}
