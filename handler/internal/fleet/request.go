package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// trafficTick is how exactly the last request's instant is kept, so that
// requests do not fight for one cache line.
const trafficTick = 100 * time.Millisecond

// Snapshot is the latest snapshot; it also notes that there is traffic. It never
// waits.
func (k *Keeper) Snapshot() *health.Snapshot {
	now := k.cfg.World.Now().Sub(k.base)
	if last := time.Duration(k.traffic.Load()); now-last > trafficTick || last == 0 {
		k.traffic.Store(int64(max(now, 1)))
		if last == 0 || now-last > k.cfg.IdleAfter {
			k.cfg.World.Pacer.Kick() // what is shown now is old; the next look is not
		}
	}
	return &k.view.Load().snapshot
}

// PeekSnapshot is Look without noting traffic: for pages and probes that only want
// to know, and must not keep a fleet awake.
func (k *Keeper) PeekSnapshot() *health.Snapshot { return &k.view.Load().snapshot }

// RequestProbe notes that a request would have used the slot, were it open. Only
// wanted circuits are probed.
func (k *Keeper) RequestProbe(n health.Slot) {
	s := k.slot(n)
	if s == nil {
		return
	}
	now := k.cfg.World.Now().Sub(k.base)
	last := time.Duration(s.wanted.Load())
	if last != 0 && now-last <= trafficTick {
		return
	}
	s.wanted.Store(int64(max(now, 1)))
	h := k.view.Load().snapshot.Of(n)
	if now-last >= wantedFor && h.Phase != health.Closed && !h.Probe && !k.instant(now).Before(h.Until) {
		k.cfg.World.Pacer.Kick() // it has cooled already: have the probe ready for the next request
	}
}

// Acquire asks leave for one attempt. A half-open circuit's probe is given once.
func (k *Keeper) Acquire(n health.Slot) (health.Ticket, bool) {
	s := k.slot(n)
	if s == nil {
		return health.Ticket{Slot: n}, true // never heard of: healthy
	}
	v := k.view.Load()
	h := &v.snapshot.By[n]
	now := k.cfg.World.Now()
	switch {
	case h.Drained || h.Throttle.Shut(now, 0):
		return health.Ticket{}, false
	case h.Phase == health.Closed:
		s.sent.add(now.Sub(k.base))
		return health.Ticket{Slot: n, Incarnation: v.epochs[n].incarnation, Epoch: v.epochs[n].epoch, Version: v.snapshot.Version}, true
	case h.Probe:
		return k.enterProbe(n, s)
	}
	return health.Ticket{}, false
}

func (k *Keeper) enterProbe(n health.Slot, s *slot) (health.Ticket, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.look()
	c := s.record.Circuit
	t := health.Ticket{Slot: n, Incarnation: c.Incarnation, Epoch: c.Epoch, Version: k.version}
	switch {
	case s.own.phase != health.Closed:
		if !s.own.offers(now.local) {
			return health.Ticket{}, false
		}
		s.own.take(now.local, k.cfg.Breaker)
		t.Alone = true
		k.count.ProbesAlone++
	case s.probe.stage == probeUnused:
		s.probe.stage = probeInFlight
		t.Epoch, t.Probe = s.probe.lease, true
		if _, ok := k.left(s, t, now); !ok {
			s.probe.stage = probeUnused
			return health.Ticket{}, false
		}
		k.count.Probes++
	default:
		return health.Ticket{}, false
	}
	k.publishView(now)
	return t, true
}

// RenewProbe asks, just before a probe's bytes leave, whether it is still this
// instance's, and for how long it surely is. When that time has passed the
// attempt must be broken off, unless asking again, which is as cheap, grants
// more: the lease of a probe in flight is renewed at a third of it. Any other
// ticket has all the time there is.
func (k *Keeper) RenewProbe(t health.Ticket) (time.Duration, bool) {
	if !t.Probe {
		return time.Duration(1<<63 - 1), true
	}
	s := k.slot(t.Slot)
	if s == nil {
		return 0, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.left(s, t, k.look())
}

// Release gives back a ticket whose attempt was never sent.
func (k *Keeper) Release(t health.Ticket) {
	s := k.slot(t.Slot)
	if s == nil || !t.Probe && !t.Alone {
		return
	}
	k.mu.Lock()
	now := k.look()
	if t.Alone {
		k.finishAlone(s, health.Outcome{Verdict: health.Abandoned}, now.local)
	} else if s.probe.stage == probeInFlight && k.ticketed(s, t) {
		s.probe.stage, s.probe.news = probeUnused, health.NoProbe
	}
	k.publishView(now)
	k.mu.Unlock()
	k.cfg.World.Pacer.Kick()
}

// ticketed reports whether the ticket is of the probe at hand.
func (k *Keeper) ticketed(s *slot, t health.Ticket) bool {
	return t.Probe && s.probe.incarnation == t.Incarnation && s.probe.lease == t.Epoch
}
