package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// view is the snapshot with what Enter needs beside it. It is immutable.
type view struct {
	snapshot health.Snapshot
	epochs   []epoch
}

// epoch is which circuit a slot's health was taken from.
type epoch struct{ incarnation, epoch uint64 }

// publishView makes the keeper's knowledge visible to requests. Called with
// the lock held, or before anybody else knows the keeper.
func (r *Replica) publishView(now clockReading) {
	r.version++
	v := &view{
		snapshot: health.Snapshot{Version: r.version, Taken: r.toTime(now.local), Slots: make([]health.Health, len(r.slots))},
		epochs:   make([]epoch, len(r.slots)),
	}
	for i, s := range r.slots {
		v.snapshot.Slots[i] = r.slotHealth(s, now)
		v.epochs[i] = epoch{s.record.Circuit.Incarnation, s.record.Circuit.Epoch}
	}
	r.view.Store(v)
}

// toTime is a local toTime as the rest of the process reads clocks.
func (r *Replica) toTime(local time.Duration) time.Time { return r.base.Add(local) }

// slotHealth is what a request should believe of the slot.
func (r *Replica) slotHealth(s *slot, now clockReading) health.Health {
	h := health.Health{Drained: s.record.Override.Drained, Reason: s.record.LastChange.Reason, Throttle: r.throttleOf(s, now.local)}
	if t := s.localWindows[h.Throttle.Kind]; t.until > now.local && r.toTime(t.until).Equal(h.Throttle.Until) {
		h.Reason = t.reason
	}
	c := s.record.Circuit
	switch {
	case s.override.ignoresShared:
	case s.override.state != health.Closed:
		h.State, h.Until, h.Probe, h.Reason = s.override.state, r.toTime(s.override.until), s.override.probeDue(now.local), s.override.reason
		if h.Probe {
			h.State = health.HalfOpen
		}
	case c.State == health.Closed:
		at := r.clock.toService(now.local)
		h.Share = lowerShare(c.Share(at, r.cfg.Breaker), s.record.Saturation.Merge(s.saturation).Share(at))
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

// throttleOf folds what the fleet and what this instance was told. What it was
// told itself is exact to the clock's tick; what the others say is as good as
// the service's clock is known.
func (r *Replica) throttleOf(s *slot, now time.Duration) health.Throttle {
	var local health.RetryWindows // instants in milliseconds of the local clock, for the sum's sake in microseconds
	for kind, shared := range s.record.Windows.ByKind {
		until := r.clock.toLocal(shared.Until)
		t, room := s.localWindows[kind], shared.MaxTokens
		switch {
		case t.until > now && t.serviceUntil == shared.Until:
			until = t.until
		case t.until > until || shared.Until == 0:
			until, room = t.until, t.maxTokens
		}
		if t.until > now && t.maxTokens < room {
			room = t.maxTokens
		}
		local.ByKind[kind] = health.RetryWindow{Until: max(until, 0).Microseconds(), MaxTokens: room}
	}
	until, kind, room := local.Combined(now.Microseconds())
	if until == 0 {
		return health.Throttle{}
	}
	return health.Throttle{Until: r.toTime(time.Duration(until) * time.Microsecond), Kind: kind, MaxTokens: room}
}
