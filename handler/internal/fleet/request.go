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
func (r *Replica) Snapshot() *health.Snapshot {
	now := r.cfg.Environment.Now().Sub(r.base)
	if last := time.Duration(r.traffic.Load()); now-last > trafficTick || last == 0 {
		r.traffic.Store(int64(max(now, 1)))
		if last == 0 || now-last > r.cfg.IdleAfter {
			r.cfg.Environment.Pacer.Wake() // what is shown now is old; the next look is not
		}
	}
	return &r.view.Load().snapshot
}

// PeekSnapshot is Look without noting traffic: for pages and probes that only want
// to know, and must not keep a fleet awake.
func (r *Replica) PeekSnapshot() *health.Snapshot { return &r.view.Load().snapshot }

// RequestProbe notes that a request would have used the slot, were it open. Only
// wanted circuits are probed.
func (r *Replica) RequestProbe(n health.Slot) {
	s := r.slot(n)
	if s == nil {
		return
	}
	now := r.cfg.Environment.Now().Sub(r.base)
	last := time.Duration(s.demandedAt.Load())
	if last != 0 && now-last <= trafficTick {
		return
	}
	s.demandedAt.Store(int64(max(now, 1)))
	h := r.view.Load().snapshot.Of(n)
	if now-last >= demandWindow && h.State != health.Closed && !h.Probe && !r.toTime(now).Before(h.Until) {
		r.cfg.Environment.Pacer.Wake() // it has cooled already: have the probe ready for the next request
	}
}

// Acquire asks leave for one attempt. A half-open circuit's probe is given once.
func (r *Replica) Acquire(n health.Slot) (health.Permit, bool) {
	s := r.slot(n)
	if s == nil {
		return health.Permit{Slot: n}, true // never heard of: healthy
	}
	v := r.view.Load()
	h := &v.snapshot.Slots[n]
	now := r.cfg.Environment.Now()
	switch {
	case h.Drained || h.Throttle.Blocks(now, 0):
		return health.Permit{}, false
	case h.State == health.Closed:
		s.sent.add(now.Sub(r.base))
		return health.Permit{Slot: n, Incarnation: v.epochs[n].incarnation, Epoch: v.epochs[n].epoch, SnapshotVersion: v.snapshot.Version}, true
	case h.Probe:
		return r.acquireProbe(n, s)
	}
	return health.Permit{}, false
}

func (r *Replica) acquireProbe(n health.Slot, s *slot) (health.Permit, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	c := s.record.Circuit
	t := health.Permit{Slot: n, Incarnation: c.Incarnation, Epoch: c.Epoch, SnapshotVersion: r.version}
	switch {
	case s.override.state != health.Closed:
		if !s.override.probeDue(now.local) {
			return health.Permit{}, false
		}
		s.override.startProbe(now.local, r.cfg.Breaker)
		t.LocalProbe = true
		r.counters.LocalProbes++
	case s.probe.stage == probeUnused:
		s.probe.stage = probeInFlight
		t.Epoch, t.Probe = s.probe.lease, true
		if _, ok := r.leaseRemaining(s, t, now); !ok {
			s.probe.stage = probeUnused
			return health.Permit{}, false
		}
		r.counters.Probes++
	default:
		return health.Permit{}, false
	}
	r.publishView(now)
	return t, true
}

// RenewProbe asks, just before a probe's bytes leave, whether it is still this
// instance's, and for how long it surely is. When that time has passed the
// attempt must be broken off, unless asking again, which is as cheap, grants
// more: the lease of a probe in flight is renewed at a third of it. Any other
// ticket has all the time there is.
func (r *Replica) RenewProbe(t health.Permit) (time.Duration, bool) {
	if !t.Probe {
		return time.Duration(1<<63 - 1), true
	}
	s := r.slot(t.Slot)
	if s == nil {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaseRemaining(s, t, r.readClocks())
}

// Release gives back a ticket whose attempt was never sent.
func (r *Replica) Release(t health.Permit) {
	s := r.slot(t.Slot)
	if s == nil || !t.Probe && !t.LocalProbe {
		return
	}
	r.mu.Lock()
	now := r.readClocks()
	if t.LocalProbe {
		r.finishLocalProbe(s, health.Outcome{Class: health.Abandoned}, now.local)
	} else if s.probe.stage == probeInFlight && r.isPermitForProbe(s, t) {
		s.probe.stage, s.probe.result = probeUnused, health.NoProbeResult
	}
	r.publishView(now)
	r.mu.Unlock()
	r.cfg.Environment.Pacer.Wake()
}

// isPermitForProbe reports whether the ticket is of the probe at hand.
func (r *Replica) isPermitForProbe(s *slot, t health.Permit) bool {
	return t.Probe && s.probe.incarnation == t.Incarnation && s.probe.lease == t.Epoch
}
