package fleet

import (
	"context"
	"time"

	"spillway/handler/internal/health"
)

// trafficTick is the precision of the last request's instant, so that requests do
// not contend for one cache line.
const trafficTick = 100 * time.Millisecond

// Snapshot returns the latest snapshot, and records that there is traffic. It never
// waits.
func (r *Replica) Snapshot() *health.Snapshot {
	now := r.localNow()
	if last := time.Duration(r.traffic.Load()); now-last > trafficTick || last == 0 {
		r.traffic.Store(int64(max(now, 1)))
		if last == 0 || now-last > r.cfg.IdleAfter {
			r.resume(last, now) // this snapshot is old: refresh it for the next request
		}
	}
	return &r.current.Load().snapshot
}

// resume begins to follow the table again. The idle time since the last request
// counts as no outage.
func (r *Replica) resume(last, now time.Duration) {
	r.mu.Lock()
	r.activeSince = now
	if r.failingSince > 0 {
		r.failingSince += max(now-max(last+r.cfg.IdleAfter, r.failingSince), 0)
	}
	r.mu.Unlock()
	r.cfg.Environment.Pacer.Wake()
}

// PeekSnapshot is Snapshot without recording traffic: for pages and health checks,
// which must not keep an idle fleet reading.
func (r *Replica) PeekSnapshot() *health.Snapshot { return &r.current.Load().snapshot }

// localNow is the present local instant.
func (r *Replica) localNow() time.Duration { return r.cfg.Environment.Now().Sub(r.base) }

// permit is a permit for an attempt that begins now.
func (r *Replica) permit(n health.Slot) health.Permit {
	return health.Permit{ID: r.attempts.Add(1), Slot: n, Began: r.cfg.Environment.Now()}
}

// The age of a view that turns no caller away, and for how long a request waits
// for a younger one.
const (
	oldView     = 5 * time.Second
	refreshWait = 100 * time.Millisecond
)

// AwaitRefresh returns when a view that is older than five seconds has been
// replaced, after a tenth of a second at most.
func (r *Replica) AwaitRefresh(ctx context.Context) {
	r.mu.Lock()
	if now := r.readClocks().local; now-r.row.read <= oldView || r.disconnected {
		r.mu.Unlock()
		return
	}
	read := make(chan struct{})
	r.readers = append(r.readers, read)
	r.mu.Unlock()
	r.cfg.Environment.Pacer.Wake()
	timer := time.NewTimer(refreshWait)
	defer timer.Stop()
	select {
	case <-read:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// notifyReaders lets those go on who wait for a read. The caller holds the lock.
func (r *Replica) notifyReaders() {
	for _, read := range r.readers {
		close(read)
	}
	r.readers = nil
}

// RequestProbe records that a request would have used the slot, were it closed. Only
// circuits in demand are probed.
func (r *Replica) RequestProbe(n health.Slot) {
	s := r.slot(n)
	if s == nil {
		return
	}
	now := r.localNow()
	last := time.Duration(s.demandedAt.Load())
	if last != 0 && now-last <= trafficTick {
		return
	}
	s.demandedAt.Store(int64(max(now, 1)))
	h := r.current.Load().snapshot.Of(n)
	if now-last >= demandWindow && h.State != health.Closed && !h.Probe && !r.toTime(now).Before(h.Until) {
		r.cfg.Environment.Pacer.Wake() // the probe is due: claim it for the next request
	}
}

// Acquire returns a permit for one attempt of this consumer's, or false. The probe
// of a half-open circuit is given once, and at first not to the consumer whose
// request failed the last one. "" is no consumer.
func (r *Replica) Acquire(n health.Slot, consumer string) (health.Permit, bool) {
	s := r.slot(n)
	if s == nil {
		return r.permit(n), true // unknown: healthy
	}
	h := r.current.Load().snapshot.Of(n)
	now := r.cfg.Environment.Now()
	switch {
	case h.Drained || h.Throttle.Blocks(now, 0) || h.Bound(now):
		return health.Permit{}, false
	case h.State == health.Closed:
		s.sent.add(now.Sub(r.base), 1)
		t := r.permit(n)
		t.Consumer, t.Order = consumer, s.begun.Add(1)
		return t, true
	case h.Probe:
		return r.acquireProbe(n, s, consumer)
	}
	return health.Permit{}, false
}

// AcquireTrial returns a permit for an attempt in spite of an open circuit, for
// when no other backend is left; false when the slot is drained or throttled.
func (r *Replica) AcquireTrial(n health.Slot) (health.Permit, bool) {
	t := r.permit(n)
	t.Trial = true
	s := r.slot(n)
	if s == nil {
		return t, true
	}
	if h := r.current.Load().snapshot.Of(n); h.Drained || h.Throttle.Blocks(t.Began, 0) {
		return health.Permit{}, false
	}
	s.sent.add(t.Began.Sub(r.base), 1)
	t.Order = s.begun.Add(1)
	return t, true
}

// RenewProbe reports, just before a probe's request is sent, whether its lease still
// holds and for how long it certainly will. When that time has passed the attempt
// must be broken off, unless another call, which is as cheap, returns more: the
// lease of a probe in flight is renewed at a third of it. Any other permit has no
// end.
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

// Release returns a permit whose attempt was never sent.
func (r *Replica) Release(t health.Permit) {
	s := r.slot(t.Slot)
	if s == nil {
		return
	}
	s.decide(t)
	if !t.Probe && !t.LocalProbe {
		return
	}
	r.mu.Lock()
	now := r.readClocks()
	if t.LocalProbe {
		r.finishLocalProbe(s, t, health.Outcome{Class: health.Abandoned}, now.local)
	} else if s.probe.stage == probeInFlight && s.probe.isOf(t) {
		s.probe.stage, s.probe.result = probeUnused, health.NoProbeResult
	}
	r.publishView(now)
	r.mu.Unlock()
	r.cfg.Environment.Pacer.Wake()
}
