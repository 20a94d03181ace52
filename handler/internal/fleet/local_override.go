package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// localOverride is a circuit that binds this instance alone: at once when it has
// seen enough failures itself, and while the table is unreachable. A transition of
// the shared circuit ends it. The zero localOverride overrides nothing.
type localOverride struct {
	state           health.CircuitState
	until           time.Duration // Open: earliest local probe; HalfOpen: when that probe is given up
	trips           int
	disregardShared bool // a local probe was served while the table was unreachable: the shared trip does not bind
	reason          string
}

// probeDue reports whether a request may go as a probe of this instance alone.
func (o *localOverride) probeDue(now time.Duration) bool {
	return o.state != health.Closed && now >= o.until
}

func (o *localOverride) open(now time.Duration, p health.BreakerPolicy, reason string) {
	*o = localOverride{state: health.Open, trips: o.trips + 1, reason: reason}
	o.until = now + p.OpenDuration(o.trips)
}

func (o *localOverride) startProbe(now time.Duration, p health.BreakerPolicy) {
	o.state, o.until = health.HalfOpen, now+p.ProbeLease
}

// finishLocalProbe applies the outcome of that probe.
func (r *Replica) finishLocalProbe(s *slot, o health.Outcome, now time.Duration) {
	if s.local.state != health.HalfOpen {
		return
	}
	switch o.Class {
	case health.Served, health.Throttled:
		s.local = localOverride{disregardShared: s.record.Circuit.State != health.Closed}
		s.outcomes.clear()
		s.failures.clear()
		s.unreportedFailures = 0
	case health.Failed, health.Misconfigured:
		s.local.open(now, r.cfg.Breaker, o.Reason)
		s.local.until += time.Duration(r.cfg.Environment.Rand(int64(r.cfg.Breaker.TripDuration) + 1))
	case health.Abandoned:
		s.local.state, s.local.until = health.Open, now
	}
}

// startLocalProbing begins this instance's own half-open cycles when the table has
// been unreachable for StaleAfter, at random moments, so that the instances do not
// probe together.
func (r *Replica) startLocalProbing(now clockReading) bool {
	if now.local-r.lastContact < r.cfg.StaleAfter {
		return false
	}
	changed := !r.disconnected
	r.disconnected = true
	for _, s := range r.slots {
		c := s.record.Circuit
		if c.State == health.Closed || s.local.disregardShared || s.local.state != health.Closed || now.local < r.clock.toLocal(c.Until) {
			continue
		}
		if s.probe.stage == probeInFlight {
			continue // it may still be the fleet's one probe
		}
		s.local = localOverride{state: health.Open, trips: c.Trips, reason: s.record.LastChange.Reason}
		s.local.until = now.local + time.Duration(r.cfg.Environment.Rand(int64(r.cfg.Breaker.TripDuration)+1))
		changed = true
	}
	return changed
}

// stopLocalProbing drops the overrides that were made only because the table was
// unreachable: the shared record wins at the first response.
func (r *Replica) stopLocalProbing() bool {
	if !r.disconnected {
		return false
	}
	r.disconnected = false
	for _, s := range r.slots {
		if s.record.Circuit.State != health.Closed {
			s.local = localOverride{}
		}
	}
	return true
}
