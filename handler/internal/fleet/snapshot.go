package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// requestView is the snapshot and what Acquire needs besides. It is immutable.
type requestView struct {
	snapshot health.Snapshot
	epochs   []circuitEpoch
}

// circuitEpoch identifies the circuit that a slot's health was taken from.
type circuitEpoch struct{ incarnation, epoch uint64 }

// publishView makes what the replica knows visible to requests. The caller holds the
// lock, or no other goroutine has the replica yet.
func (r *Replica) publishView(now clockReading) {
	r.version++
	view := &requestView{
		snapshot: health.Snapshot{Version: r.version, Taken: r.toTime(now.local), Slots: make([]health.Health, len(r.slots))},
		epochs:   make([]circuitEpoch, len(r.slots)),
	}
	for i, s := range r.slots {
		view.snapshot.Slots[i] = r.slotHealth(s, now)
		view.epochs[i] = circuitEpoch{s.record.Circuit.Incarnation, s.record.Circuit.Epoch}
	}
	r.current.Store(view)
}

// toTime is a local instant in the process's clock.
func (r *Replica) toTime(local time.Duration) time.Time { return r.base.Add(local) }

// slotHealth is the slot's health for requests.
func (r *Replica) slotHealth(s *slot, now clockReading) health.Health {
	h := health.Health{Drained: s.record.Override.Drained, Reason: s.record.LastChange.Reason, Throttle: r.throttleOf(s, now.local)}
	if t := s.localWindows[h.Throttle.Kind]; t.until > now.local && r.toTime(t.until).Equal(h.Throttle.Until) {
		h.Reason = t.reason
	}
	c := s.record.Circuit
	switch {
	case s.local.disregardShared:
	case s.local.state != health.Closed:
		h.State, h.Until, h.Probe, h.Reason = s.local.state, r.toTime(s.local.until), s.local.probeDue(now.local), s.local.reason
		if h.Probe {
			h.State = health.HalfOpen
		}
	case c.State == health.Closed:
		at := r.clock.toService(now.local)
		h.TrafficPercent = lowerShare(c.Share(at, r.cfg.Breaker), s.record.Saturation.Merge(s.saturation).Share(at))
	default:
		h.State, h.Until = c.State, r.toTime(r.clock.toLocal(c.Until))
		h.Probe = c.State == health.HalfOpen && s.probe.stage == probeUnused
	}
	return h
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
		case own.until > now && own.serviceUntil == shared.Until:
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
