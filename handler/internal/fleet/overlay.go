package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// localOverride is the circuit as this instance alone holds to it: at once when it
// has itself seen enough failures, and while the table is out of reach. It is
// dropped when the shared circuit makes a transition. The zero localOverride says
// nothing.
type localOverride struct {
	state         health.CircuitState
	until         time.Duration // Open: earliest probe of its own; HalfOpen: when that probe is given up
	trips         int
	ignoresShared bool // its own probe was served while the table was out of reach: the shared trip is disregarded
	reason        string
}

// probeDue reports whether a request may go as a probe of this instance's own.
func (o *localOverride) probeDue(now time.Duration) bool {
	return o.state != health.Closed && now >= o.until
}

// open opens the overlay.
func (o *localOverride) open(now time.Duration, p health.BreakerPolicy, why string) {
	*o = localOverride{state: health.Open, trips: o.trips + 1, reason: why}
	o.until = now + p.OpenDuration(o.trips)
}

// startProbe hands out the probe.
func (o *localOverride) startProbe(now time.Duration, p health.BreakerPolicy) {
	o.state, o.until = health.HalfOpen, now+p.ProbeLease
}

// finish folds in how that probe ended.
func (r *Replica) finishLocalProbe(s *slot, o health.Outcome, now time.Duration) {
	if s.override.state != health.HalfOpen {
		return
	}
	switch o.Class {
	case health.Served, health.Throttled:
		s.override = localOverride{ignoresShared: s.record.Circuit.State != health.Closed}
		s.outcomes.clear()
		s.failures.clear()
		s.unreportedFailures = 0
	case health.Failed, health.Misconfigured:
		s.override.open(now, r.cfg.Breaker, o.Reason)
		s.override.until += time.Duration(r.cfg.Environment.Rand(int64(r.cfg.Breaker.TripDuration) + 1))
	case health.Abandoned:
		s.override.state, s.override.until = health.Open, now
	}
}

// startLocalProbing begins this instance's own half-open cycles when the table has been
// out of reach for too long, spread so that the fleet does not probe at once.
func (r *Replica) startLocalProbing(now clockReading) bool {
	if now.local-r.lastContact < r.cfg.StaleAfter {
		return false
	}
	changed := !r.disconnected
	r.disconnected = true
	for _, s := range r.slots {
		c := s.record.Circuit
		if c.State == health.Closed || s.override.ignoresShared || s.override.state != health.Closed || now.local < r.clock.toLocal(c.Until) {
			continue
		}
		if s.probe.stage == probeInFlight {
			continue // it may still be the fleet's one
		}
		s.override = localOverride{state: health.Open, trips: c.Trips, reason: s.record.LastChange.Reason}
		s.override.until = now.local + time.Duration(r.cfg.Environment.Rand(int64(r.cfg.Breaker.TripDuration)+1))
		changed = true
	}
	return changed
}

// stopLocalProbing drops what was held to only because the table was out of reach: the
// shared record wins at the first read.
func (r *Replica) stopLocalProbing() bool {
	if !r.disconnected {
		return false
	}
	r.disconnected = false
	for _, s := range r.slots {
		if s.record.Circuit.State != health.Closed {
			s.override = localOverride{}
		}
	}
	return true
}
