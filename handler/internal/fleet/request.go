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
func (k *Replica) Snapshot() *health.Snapshot {
	now := k.cfg.Environment.Now().Sub(k.base)
	if last := time.Duration(k.traffic.Load()); now-last > trafficTick || last == 0 {
		k.traffic.Store(int64(max(now, 1)))
		if last == 0 || now-last > k.cfg.IdleAfter {
			k.cfg.Environment.Pacer.Wake() // what is shown now is old; the next look is not
		}
	}
	return &k.view.Load().snapshot
}

// PeekSnapshot is Look without noting traffic: for pages and probes that only want
// to know, and must not keep a fleet awake.
func (k *Replica) PeekSnapshot() *health.Snapshot { return &k.view.Load().snapshot }

// RequestProbe notes that a request would have used the slot, were it open. Only
// wanted circuits are probed.
func (k *Replica) RequestProbe(n health.Slot) {
	s := k.slot(n)
	if s == nil {
		return
	}
	now := k.cfg.Environment.Now().Sub(k.base)
	last := time.Duration(s.demandedAt.Load())
	if last != 0 && now-last <= trafficTick {
		return
	}
	s.demandedAt.Store(int64(max(now, 1)))
	h := k.view.Load().snapshot.Of(n)
	if now-last >= demandWindow && h.State != health.Closed && !h.Probe && !k.toTime(now).Before(h.Until) {
		k.cfg.Environment.Pacer.Wake() // it has cooled already: have the probe ready for the next request
	}
}

// Acquire asks leave for one attempt. A half-open circuit's probe is given once.
func (k *Replica) Acquire(n health.Slot) (health.Permit, bool) {
	s := k.slot(n)
	if s == nil {
		return health.Permit{Slot: n}, true // never heard of: healthy
	}
	v := k.view.Load()
	h := &v.snapshot.Slots[n]
	now := k.cfg.Environment.Now()
	switch {
	case h.Drained || h.Throttle.Blocks(now, 0):
		return health.Permit{}, false
	case h.State == health.Closed:
		s.sent.add(now.Sub(k.base))
		return health.Permit{Slot: n, Incarnation: v.epochs[n].incarnation, Epoch: v.epochs[n].epoch, SnapshotVersion: v.snapshot.Version}, true
	case h.Probe:
		return k.acquireProbe(n, s)
	}
	return health.Permit{}, false
}

func (k *Replica) acquireProbe(n health.Slot, s *slot) (health.Permit, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.readClocks()
	c := s.record.Circuit
	t := health.Permit{Slot: n, Incarnation: c.Incarnation, Epoch: c.Epoch, SnapshotVersion: k.version}
	switch {
	case s.override.state != health.Closed:
		if !s.override.probeDue(now.local) {
			return health.Permit{}, false
		}
		s.override.startProbe(now.local, k.cfg.Breaker)
		t.LocalProbe = true
		k.counters.LocalProbes++
	case s.probe.stage == probeUnused:
		s.probe.stage = probeInFlight
		t.Epoch, t.Probe = s.probe.lease, true
		if _, ok := k.leaseRemaining(s, t, now); !ok {
			s.probe.stage = probeUnused
			return health.Permit{}, false
		}
		k.counters.Probes++
	default:
		return health.Permit{}, false
	}
	k.publishView(now)
	return t, true
}

// RenewProbe asks, just before a probe's bytes leave, whether it is still this
// instance's, and for how long it surely is. When that time has passed the
// attempt must be broken off, unless asking again, which is as cheap, grants
// more: the lease of a probe in flight is renewed at a third of it. Any other
// ticket has all the time there is.
func (k *Replica) RenewProbe(t health.Permit) (time.Duration, bool) {
	if !t.Probe {
		return time.Duration(1<<63 - 1), true
	}
	s := k.slot(t.Slot)
	if s == nil {
		return 0, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.leaseRemaining(s, t, k.readClocks())
}

// Release gives back a ticket whose attempt was never sent.
func (k *Replica) Release(t health.Permit) {
	s := k.slot(t.Slot)
	if s == nil || !t.Probe && !t.LocalProbe {
		return
	}
	k.mu.Lock()
	now := k.readClocks()
	if t.LocalProbe {
		k.finishLocalProbe(s, health.Outcome{Class: health.Abandoned}, now.local)
	} else if s.probe.stage == probeInFlight && k.isPermitForProbe(s, t) {
		s.probe.stage, s.probe.result = probeUnused, health.NoProbeResult
	}
	k.publishView(now)
	k.mu.Unlock()
	k.cfg.Environment.Pacer.Wake()
}

// isPermitForProbe reports whether the ticket is of the probe at hand.
func (k *Replica) isPermitForProbe(s *slot, t health.Permit) bool {
	return t.Probe && s.probe.incarnation == t.Incarnation && s.probe.lease == t.Epoch
}
