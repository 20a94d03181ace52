package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// requestView is the snapshot and is immutable.
type requestView struct {
	snapshot health.Snapshot
}

// publishView makes what the replica knows visible to requests. The caller holds the
// lock, or no other goroutine has the replica yet.
func (r *Replica) publishView(now clockReading) {
	r.version++
	view := &requestView{
		snapshot: health.Snapshot{Version: r.version, Taken: r.toTime(now.local), Slots: make([]health.Health, len(r.slots))},
	}
	for i, s := range r.slots {
		view.snapshot.Slots[i] = r.slotHealth(health.Slot(i), s, now)
		s.attention.Store(s.needsAttention())
	}
	r.current.Store(view)
}

// toTime is a local instant in the process's clock.
func (r *Replica) toTime(local time.Duration) time.Time { return r.base.Add(local) }

// slotHealth is the slot's health for requests.
func (r *Replica) slotHealth(n health.Slot, s *slot, now clockReading) health.Health {
	h := health.Health{Drained: s.record.Override.Drained, Reason: s.record.LastChange.Reason, Throttle: r.throttleOf(s, now.local)}
	if t := s.localWindows[h.Throttle.Kind]; t.until > now.local && r.toTime(t.until).Equal(h.Throttle.Until) {
		h.Reason = t.reason
	}
	h.FailedAt, h.Models = r.failedAt(s), s.models.view
	c := s.record.Circuit
	switch {
	case r.bindsFleet(n, s, now.local):
		h.State, h.Until, h.Evidence = c.State, r.toTime(r.clock.toLocal(c.Until)), s.record.LastChange.Evidence
		h.Probe = c.State == health.HalfOpen && s.probe.stage == probeUnused
	case s.own.open:
		h.Own, h.State, h.Until, h.Reason = true, s.own.state(now.local), r.toTime(s.own.until), s.own.reason
		h.Evidence = s.own.evidence
		h.Probe = s.own.probeFree(now.local)
	default:
		if c.State != health.Closed && !r.disconnected {
			h.Until = r.toTime(s.lastServed() + r.freshness(n, s))
		}
		at := r.clock.toService(now.local)
		h.TrafficPercent = lowerShare(s.rampShare(now.local), s.record.Saturation.Merge(s.saturation).Share(at))
	}
	return h
}

// bindsFleet reports whether the fleet's circuit keeps this instance from the
// slot: it is not closed, the table answers, and this instance is not being served
// there itself.
func (r *Replica) bindsFleet(n health.Slot, s *slot, now time.Duration) bool {
	return s.record.Circuit.State != health.Closed && !r.disconnected && !r.fresh(n, s, now)
}

// fresh reports whether this instance's own experience with the slot is recent and
// good enough to outweigh that of others.
func (r *Replica) fresh(n health.Slot, s *slot, now time.Duration) bool {
	return !s.own.open && s.lastServed() >= s.changedAt && s.evidence.Fresh(now, s.servedLately(now), s.lastServed(), r.freshness(n, s), s.breaker)
}

// freshness is for how long a success outweighs what others say.
func (r *Replica) freshness(n health.Slot, s *slot) time.Duration {
	return max(s.breaker.Interval, 2*r.cfg.Usual(n))
}

// rampShare is how much of its normal traffic a recovering slot gets here.
func (s *slot) rampShare(now time.Duration) uint8 {
	if !s.ramp {
		return 0
	}
	return s.breaker.RampShare(now - s.recoveredAt)
}

// failedAt is when the slot last failed, here or for whoever opened the fleet's
// circuit; zero if it has served here since.
func (r *Replica) failedAt(s *slot) time.Time {
	at := s.evidence.LastFailed()
	if s.record.Circuit.State == health.Open {
		at = max(at, r.clock.toLocal(s.record.Circuit.Since))
	}
	if at <= s.lastServed() {
		return time.Time{}
	}
	return r.toTime(at)
}

// needsAttention reports whether a success changes more than the slot's counters.
func (s *slot) needsAttention() bool {
	c := &s.record.Circuit
	return s.own.open || c.State != health.Closed || len(c.Suspicions) > 0 || len(s.silent) > 0 ||
		s.evidence.Awaits() || s.evidence.LastFailed() > s.lastServed()
}

// lowerShare is the smaller of two shares, of which 0 is all.
func lowerShare(a, b uint8) uint8 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// throttleOf combines the waits of the fleet and of this instance. Its own are exact
// to the clock's tick; the others' are as exact as the service's clock is known.
func (r *Replica) throttleOf(s *slot, now time.Duration) health.Throttle {
	var local health.ThrottleWindows // instants in microseconds of the local clock
	for kind, shared := range s.record.Windows.ByKind {
		until := r.clock.toLocal(shared.Until)
		own, maxTokens := s.localWindows[kind], shared.MaxTokens
		switch {
		case own.until > now && shared.Until > 0 && own.serviceUntil == shared.Until: // published
			until = own.until
		case own.until > until || shared.Until == 0:
			until, maxTokens = own.until, own.maxTokens
		}
		if own.until > now && own.maxTokens < maxTokens {
			maxTokens = own.maxTokens
		}
		local.ByKind[kind] = health.ThrottleWindow{Until: max(until, 0).Microseconds(), MaxTokens: maxTokens}
	}
	until, kind, maxTokens := local.Combined(now.Microseconds())
	if until == 0 {
		return health.Throttle{}
	}
	return health.Throttle{Until: r.toTime(time.Duration(until) * time.Microsecond), Kind: kind, MaxTokens: maxTokens}
}
