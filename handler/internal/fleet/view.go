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
func (k *Keeper) publishView(now reading) {
	k.version++
	v := &view{
		snapshot: health.Snapshot{Version: k.version, Taken: k.instant(now.local), By: make([]health.Health, len(k.slots))},
		epochs:   make([]epoch, len(k.slots)),
	}
	for i, s := range k.slots {
		v.snapshot.By[i] = k.healthOf(s, now)
		v.epochs[i] = epoch{s.record.Circuit.Incarnation, s.record.Circuit.Epoch}
	}
	k.view.Store(v)
}

// instant is a local instant as the rest of the process reads clocks.
func (k *Keeper) instant(local time.Duration) time.Time { return k.base.Add(local) }

// healthOf is what a request should believe of the slot.
func (k *Keeper) healthOf(s *slot, now reading) health.Health {
	h := health.Health{Drained: s.record.Word.Drained, Why: s.record.Stamp.Why, Throttle: k.windowOf(s, now.local)}
	if t := s.told[h.Throttle.Kind]; t.until > now.local && k.instant(t.until).Equal(h.Throttle.Until) {
		h.Why = t.why
	}
	c := s.record.Circuit
	switch {
	case s.own.healed:
	case s.own.phase != health.Closed:
		h.Phase, h.Until, h.Probe, h.Why = s.own.phase, k.instant(s.own.until), s.own.offers(now.local), s.own.why
		if h.Probe {
			h.Phase = health.HalfOpen
		}
	case c.Phase == health.Closed:
		at := k.clock.service(now.local)
		h.Share = lower(c.Share(at, k.cfg.Breaker), s.record.Mark.Join(s.mark).Share(at))
	default:
		h.Phase, h.Until = c.Phase, k.instant(k.clock.local(c.Until))
		h.Probe = c.Phase == health.HalfOpen && s.probe.stage == probeUnused
	}
	return h
}

// lower is the smaller of two shares, of which 0 is all.
func lower(a, b uint8) uint8 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// windowOf folds what the fleet and what this instance was told. What it was
// told itself is exact to the clock's tick; what the others say is as good as
// the service's clock is known.
func (k *Keeper) windowOf(s *slot, now time.Duration) health.Window {
	var local health.Windows // instants in milliseconds of the local clock, for the sum's sake in microseconds
	for kind, shared := range s.record.Windows.By {
		until := k.clock.local(shared.Until)
		t, room := s.told[kind], shared.Room
		switch {
		case t.until > now && t.service == shared.Until:
			until = t.until
		case t.until > until || shared.Until == 0:
			until, room = t.until, t.room
		}
		if t.until > now && t.room < room {
			room = t.room
		}
		local.By[kind] = health.Term{Until: max(until, 0).Microseconds(), Room: room}
	}
	until, kind, room := local.Sum(now.Microseconds())
	if until == 0 {
		return health.Window{}
	}
	return health.Window{Until: k.instant(time.Duration(until) * time.Microsecond), Kind: kind, Room: room}
}
