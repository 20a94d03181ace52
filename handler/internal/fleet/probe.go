package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// probe is the fleet's one probe of a slot while this instance holds its lease.
type probe struct {
	stage       probeStage
	incarnation uint64
	lease       uint64
	taken       time.Duration // when this instance saw that it has the lease
	result      health.ProbeResult
}

// probeStage is the progress of the probe.
type probeStage uint8

const (
	probeNone     probeStage = iota
	probeUnused              // a request may use it
	probeInFlight            // a request does
	probeEnded               // its result is not in the table yet
)

// unusedProbeTimeout is how long a probe waits for a request before another
// instance may have it.
const unusedProbeTimeout = 800 * time.Millisecond

// demandWindow is how long a request that would have used a circuit counts as
// demand for its probe.
const demandWindow = 1500 * time.Millisecond

// leaseMargin is how long before its end a lease is given up, so that an instant
// that two clocks call the deadline belongs to neither of two holders.
const leaseMargin = 20 // ms

func (p *probe) end(result health.ProbeResult) { p.stage, p.result = probeEnded, result }

// renewed follows a renewal of the lease: a probe in flight needs none for now, a
// probe that ended keeps its result.
func (p *probe) renewed() {
	if p.stage == probeInFlight {
		p.result = health.NoProbeResult
	}
}

// advanceProbe makes the changes that are due by time: a probe without a request
// is returned, and the lease of a long one renewed.
func (r *Replica) advanceProbe(s *slot, now clockReading) (changed bool) {
	switch s.probe.stage {
	case probeUnused:
		if now.local >= s.probe.taken+unusedProbeTimeout {
			s.probe.end(health.ProbeReturned)
			s.demandedAt.Store(0) // do not claim it again without a new request
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

// shouldClaimProbe reports whether this instance should try for the probe: it is
// due, a request would use it and may, and the instance's random delay is over.
func (r *Replica) shouldClaimProbe(s *slot, now clockReading, bounds health.TimeBounds) bool {
	return s.record.Circuit.ProbeDue(bounds) && s.inDemand(now.local) && !s.record.Override.Drained &&
		now.local >= s.claimAfter && s.probe.stage == probeNone
}

// leaseRemaining is for how long the permit's lease certainly holds.
func (r *Replica) leaseRemaining(s *slot, t health.Permit, now clockReading) (time.Duration, bool) {
	c := s.record.Circuit
	bounds, ok := r.clock.bounds(now)
	if !ok || c.State != health.HalfOpen || c.Incarnation != t.Incarnation || c.Lease != t.Epoch || !r.holdsLease(s, c) {
		return 0, false
	}
	if s.probe.stage == probeUnused || bounds.Latest+leaseMargin >= c.Until {
		return 0, false
	}
	return time.Duration(c.Until-leaseMargin-bounds.Latest) * time.Millisecond, true
}

// ownsLease reports whether this very process took the lease, perhaps by a write
// whose response was lost or that was applied late: the nonce identifies it.
func (r *Replica) ownsLease(c health.Circuit) bool {
	return c.Owner == r.leaseOwner && r.nonces.has(c.Nonce)
}

// holdsLease reports whether the present probe is of that lease.
func (r *Replica) holdsLease(s *slot, c health.Circuit) bool {
	return s.probe.stage != probeNone && s.probe.incarnation == c.Incarnation && s.probe.lease == c.Lease
}

// isPermitForProbe reports whether the permit is for the present probe.
func (r *Replica) isPermitForProbe(s *slot, t health.Permit) bool {
	return t.Probe && s.probe.incarnation == t.Incarnation && s.probe.lease == t.Epoch
}

func (r *Replica) acquireProbe(n health.Slot, s *slot) (health.Permit, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	c := s.record.Circuit
	t := health.Permit{Slot: n, Incarnation: c.Incarnation, Epoch: c.Epoch, SnapshotVersion: r.version}
	switch {
	case s.local.state != health.Closed:
		if !s.local.probeDue(now.local) {
			return health.Permit{}, false
		}
		s.local.startProbe(now.local, r.cfg.Breaker)
		t.LocalProbe = true
		r.counters.LocalProbes++
	case s.probe.stage == probeUnused:
		s.probe.stage = probeInFlight
		t.Epoch, t.Probe = s.probe.lease, true
		if _, ok := r.leaseRemaining(s, t, now); !ok {
			s.probe.stage = probeUnused
			return health.Permit{}, false
		}
		r.counters.Probes++
	default:
		return health.Permit{}, false
	}
	r.publishView(now)
	return t, true
}

// finishProbe records how the fleet's probe ended. A 429 is an answer: the circuit
// closes, and the throttle window keeps requests away.
func (r *Replica) finishProbe(s *slot, t health.Permit, o health.Outcome) {
	if s.probe.stage != probeInFlight || !r.isPermitForProbe(s, t) {
		return
	}
	s.reason = o.Reason
	switch o.Class {
	case health.Served, health.Throttled:
		s.probe.end(health.ProbeServed)
	case health.Failed:
		s.probe.end(health.ProbeFailed)
	case health.Misconfigured:
		s.probe.end(health.ProbeMisconfigured)
	case health.Abandoned:
		s.probe.end(health.ProbeReturned)
	}
}
