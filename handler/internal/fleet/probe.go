package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// probe is the fleet's one probe of a slot while this instance holds its lease.
type probe struct {
	stage  probeStage
	lease  uint64
	taken  time.Duration // when this instance saw that it has the lease
	result health.ProbeResult
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
// instance may have it; for half of that it waits for another consumer than the one
// whose request failed the last.
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

// holds reports whether the probe is of that circuit's lease.
func (p *probe) holds(c health.Circuit) bool { return p.stage != probeNone && p.lease == c.Lease }

// isOf reports whether the permit is for this probe.
func (p *probe) isOf(t health.Permit) bool { return t.Probe && p.lease == t.Lease }

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
	return r.clock.toLocal(s.record.Circuit.Until) - s.breaker.ProbeLease*2/3
}

// shouldClaimProbe reports whether this instance should try for the probe: it is
// due, a request would use it and may, and the instance's random delay is over.
func (r *Replica) shouldClaimProbe(s *slot, now clockReading, bounds health.TimeBounds) bool {
	return s.record.Circuit.ProbeDue(bounds) && s.inDemand(now.local) && !s.record.Override.Drained &&
		now.local >= s.claimAfter && s.probe.stage == probeNone
}

// claimDelay spreads the instances' attempts to claim the probe over one refresh.
// The one that failed the last probe leaves this one to another that asks.
func (r *Replica) claimDelay(c health.Circuit) time.Duration {
	refresh := r.refreshBound()
	delay := r.jitter(refresh)
	if c.FailedBy == r.leaseOwner && r.members() > 1 {
		delay += refresh + r.cfg.Timeout/2
	}
	return delay
}

// leaseRemaining is for how long the permit's lease certainly holds.
func (r *Replica) leaseRemaining(s *slot, t health.Permit, now clockReading) (time.Duration, bool) {
	c := s.record.Circuit
	bounds, ok := r.clock.bounds(now)
	if !ok || c.State != health.HalfOpen || c.Lease != t.Lease || !s.probe.holds(c) {
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

func (r *Replica) acquireProbe(n health.Slot, s *slot, consumer string) (health.Permit, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	t := r.permit(n)
	t.Consumer = consumer
	switch {
	case r.bindsFleet(n, s, now.local):
		if s.probe.stage != probeUnused || s.failedLast(consumer) && now.local < s.probe.taken+unusedProbeTimeout/2 {
			return health.Permit{}, false
		}
		s.probe.stage = probeInFlight
		t.Lease, t.Probe = s.probe.lease, true
		if _, ok := r.leaseRemaining(s, t, now); !ok {
			s.probe.stage = probeUnused
			return health.Permit{}, false
		}
		r.counters.Probes++
	case s.own.probeFree(now.local) && (!s.failedLast(consumer) || now.local >= s.own.until+unusedProbeTimeout/2):
		s.own.startProbe(t.ID, now.local, s.breaker)
		t.LocalProbe = true
		r.counters.LocalProbes++
	default:
		return health.Permit{}, false
	}
	t.Order = s.begun.Add(1)
	r.publishView(now)
	return t, true
}

// failedLast reports whether it was this consumer's request that failed the last
// probe: another one's goes first.
func (s *slot) failedLast(consumer string) bool { return consumer != "" && s.lastFailer == consumer }

// finishProbe records how the fleet's probe ended. Any answer closes the circuit: a
// throttle window keeps requests away by itself.
func (r *Replica) finishProbe(s *slot, t health.Permit, o health.Outcome) {
	if s.probe.stage != probeInFlight || !s.probe.isOf(t) {
		return
	}
	s.reason = o.Reason
	switch o.Class {
	case health.Served, health.Throttled, health.Misconfigured:
		s.probe.end(health.ProbeServed)
	case health.Failed:
		result := health.ProbeFailed
		if o.Reason == reasonSilent {
			result = health.ProbeSilent
		}
		s.probe.end(result)
		s.lastFailer = t.Consumer
	case health.Abandoned:
		s.probe.end(health.ProbeReturned)
	}
}

// finishLocalProbe records how a probe of this instance alone ended.
func (r *Replica) finishLocalProbe(s *slot, t health.Permit, o health.Outcome, now time.Duration) {
	if !s.own.open || s.own.probe != t.ID {
		return
	}
	switch o.Class {
	case health.Served, health.Throttled, health.Misconfigured:
		s.closeOwn(now)
	case health.Failed:
		s.own.probeFailed(now, s.breaker, r.jitter(s.breaker.TripDuration/4), shorten(o.Reason))
		s.lastFailer = t.Consumer
	case health.Abandoned:
		s.own.probe = 0
	}
}
