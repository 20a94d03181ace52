package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// ownCircuit is a circuit that binds this instance alone: it opens by this
// instance's own evidence. While the fleet's circuit is not closed, that one
// governs. The zero ownCircuit is closed.
type ownCircuit struct {
	open     bool
	openedAt time.Duration
	until    time.Duration // earliest probe of this instance alone
	trips    int
	reason   string
	evidence string
	probe    uint64        // the attempt that is such a probe; 0 = none is under way
	probeEnd time.Duration // when that probe is given up
	evident  bool          // opened by evidence, and no probe has failed since
	assumed  bool          // copied from the fleet's circuit while the table is unreachable
}

func (o *ownCircuit) trip(now time.Duration, p health.BreakerPolicy, trips int, reason string) {
	*o = ownCircuit{open: true, openedAt: now, until: now + p.OpenDuration(trips), trips: trips, reason: reason}
}

// state is what requests see: half-open once a probe is due.
func (o *ownCircuit) state(now time.Duration) health.CircuitState {
	switch {
	case !o.open:
		return health.Closed
	case now < o.until:
		return health.Open
	}
	return health.HalfOpen
}

// probeFree reports whether a request may go as a probe of this instance alone.
func (o *ownCircuit) probeFree(now time.Duration) bool {
	return o.state(now) == health.HalfOpen && (o.probe == 0 || now >= o.probeEnd)
}

func (o *ownCircuit) startProbe(attempt uint64, now time.Duration, p health.BreakerPolicy) {
	o.probe, o.probeEnd = attempt, now+p.ProbeLease
}

// probeFailed opens the circuit again, for longer. The random part keeps
// instances from probing together.
func (o *ownCircuit) probeFailed(now time.Duration, p health.BreakerPolicy, random time.Duration, reason string) {
	evidence := health.ProbeEvidence(o.evidence)
	o.trip(now, p, o.trips+1, reason)
	o.until += random
	o.evidence = evidence
}

// openOwn opens the slot's own circuit by this instance's evidence. The fleet
// hears of it, unless the instance itself was not in order.
func (r *Replica) openOwn(s *slot, now time.Duration, reason string) {
	trip := s.nextTrip(now)
	if trip == 1 && !s.breaking() && !s.evidence.Suspects(now, s.servedLately(now), s.breaker) {
		trip = 0 // doubtful: most were served lately
	}
	s.own.trip(now, s.breaker, trip, reason)
	s.own.evident, s.own.evidence = true, s.evidence.Summary(now, s.successes(now), s.breaker)
	s.noteBreaks()
	s.publishOpen = s.record.Circuit.State == health.Closed
	r.counters.OwnTrips++
}

// closeOwn closes the slot's own circuit: what opened it does not count again.
func (s *slot) closeOwn(now time.Duration) {
	if s.own.open {
		s.lastTrips, s.recoveredAt = s.own.trips, now
	}
	s.own, s.publishOpen = ownCircuit{}, false
	s.clearEvidence()
}

// nextTrip is the number in a row of a trip now: one that follows a recovery soon
// counts on.
func (s *slot) nextTrip(now time.Duration) int {
	if s.lastTrips > 0 && now < s.recoveredAt+s.breaker.ConsecutiveFor() {
		return s.lastTrips + 1
	}
	return 1
}

// startLocalProbing lets this instance judge alone when the table has been
// unreachable for StaleAfter: open circuits of the fleet become its own, and their
// probes begin at random moments, so that the instances do not probe together.
func (r *Replica) startLocalProbing(now clockReading) bool {
	if r.disconnected || r.failingSince == 0 || now.local-r.lastContact < r.cfg.StaleAfter {
		return false
	}
	r.disconnected = true
	for _, s := range r.slots {
		c := s.record.Circuit
		if c.State == health.Closed || s.own.open || s.probe.stage == probeInFlight {
			continue // a probe in flight may still be the fleet's one
		}
		s.own.trip(now.local, s.breaker, max(c.Trips, 1), s.record.LastChange.Reason)
		s.own.until = max(r.clock.toLocal(c.Until), now.local) + r.jitter(s.breaker.TripDuration)
		s.own.assumed, s.own.evidence = true, s.record.LastChange.Evidence
	}
	return true
}

// stopLocalProbing ends what was assumed without the table: the shared record wins
// at the first response.
func (r *Replica) stopLocalProbing() bool {
	if !r.disconnected {
		return false
	}
	r.disconnected = false
	for _, s := range r.slots {
		if s.own.assumed {
			s.own = ownCircuit{}
		}
	}
	return true
}
