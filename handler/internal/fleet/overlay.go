package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// overlay is the circuit as this instance alone holds to it: at once when it
// has itself seen enough failures, and while the table is out of reach. It is
// dropped when the shared circuit makes a transition. The zero overlay says
// nothing.
type overlay struct {
	phase  health.Phase
	until  time.Duration // Open: earliest probe of its own; HalfOpen: when that probe is given up
	trips  int
	healed bool // its own probe was served while the table was out of reach: the shared trip is disregarded
	why    string
}

// offers reports whether a request may go as a probe of this instance's own.
func (o *overlay) offers(now time.Duration) bool {
	return o.phase != health.Closed && now >= o.until
}

// trip opens the overlay.
func (o *overlay) trip(now time.Duration, p health.BreakerPolicy, why string) {
	*o = overlay{phase: health.Open, trips: o.trips + 1, why: why}
	o.until = now + p.Lasts(o.trips)
}

// take hands out the probe.
func (o *overlay) take(now time.Duration, p health.BreakerPolicy) {
	o.phase, o.until = health.HalfOpen, now+p.Lease
}

// finish folds in how that probe ended.
func (k *Keeper) finishAlone(s *slot, o health.Outcome, now time.Duration) {
	if s.own.phase != health.HalfOpen {
		return
	}
	switch o.Verdict {
	case health.Served, health.Throttled:
		s.own = overlay{healed: s.record.Circuit.Phase != health.Closed}
		s.asked.clear()
		s.failed.clear()
		s.fresh = 0
	case health.Failed, health.Misconfigured:
		s.own.trip(now, k.cfg.Breaker, o.Why)
		s.own.until += time.Duration(k.cfg.World.Rand(int64(k.cfg.Breaker.TripDuration) + 1))
	case health.Abandoned:
		s.own.phase, s.own.until = health.Open, now
	}
}

// goAlone begins this instance's own half-open cycles when the table has been
// out of reach for too long, spread so that the fleet does not probe at once.
func (k *Keeper) goAlone(now reading) bool {
	if now.local-k.contact < k.cfg.StaleAfter {
		return false
	}
	changed := !k.alone
	k.alone = true
	for _, s := range k.slots {
		c := s.record.Circuit
		if c.Phase == health.Closed || s.own.healed || s.own.phase != health.Closed || now.local < k.clock.local(c.Until) {
			continue
		}
		if s.probe.stage == probeInFlight {
			continue // it may still be the fleet's one
		}
		s.own = overlay{phase: health.Open, trips: c.Trips, why: s.record.Stamp.Why}
		s.own.until = now.local + time.Duration(k.cfg.World.Rand(int64(k.cfg.Breaker.TripDuration)+1))
		changed = true
	}
	return changed
}

// rejoin drops what was held to only because the table was out of reach: the
// shared record wins at the first read.
func (k *Keeper) rejoin() bool {
	if !k.alone {
		return false
	}
	k.alone = false
	for _, s := range k.slots {
		if s.record.Circuit.Phase != health.Closed {
			s.own = overlay{}
		}
	}
	return true
}
