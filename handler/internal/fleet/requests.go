package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// trafficTick is the precision of the last request's instant, so that requests do
// not contend for one cache line.
const trafficTick = 100 * time.Millisecond

// Snapshot returns the latest snapshot, and records that there is traffic. It never
// waits.
func (r *Replica) Snapshot() *health.Snapshot {
	now := r.cfg.Environment.Now().Sub(r.base)
	if last := time.Duration(r.traffic.Load()); now-last > trafficTick || last == 0 {
		r.traffic.Store(int64(max(now, 1)))
		if last == 0 || now-last > r.cfg.IdleAfter {
			r.cfg.Environment.Pacer.Wake() // this snapshot is old: refresh it for the next request
		}
	}
	return &r.current.Load().snapshot
}

// PeekSnapshot is Snapshot without recording traffic: for pages and health checks,
// which must not keep an idle fleet reading.
func (r *Replica) PeekSnapshot() *health.Snapshot { return &r.current.Load().snapshot }

// RequestProbe records that a request would have used the slot, were it closed. Only
// circuits in demand are probed.
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
	h := r.current.Load().snapshot.Of(n)
	if now-last >= demandWindow && h.State != health.Closed && !h.Probe && !r.toTime(now).Before(h.Until) {
		r.cfg.Environment.Pacer.Wake() // the probe is due: claim it for the next request
	}
}

// Acquire returns a permit for one attempt, or false. The probe of a half-open
// circuit is given once.
func (r *Replica) Acquire(n health.Slot) (health.Permit, bool) {
	s := r.slot(n)
	if s == nil {
		return health.Permit{Slot: n}, true // unknown: healthy
	}
	view := r.current.Load()
	h := &view.snapshot.Slots[n]
	now := r.cfg.Environment.Now()
	switch {
	case h.Drained || h.Throttle.Blocks(now, 0):
		return health.Permit{}, false
	case h.State == health.Closed:
		s.sent.add(now.Sub(r.base))
		return health.Permit{Slot: n, Incarnation: view.epochs[n].incarnation, Epoch: view.epochs[n].epoch, SnapshotVersion: view.snapshot.Version}, true
	case h.Probe:
		return r.acquireProbe(n, s)
	}
	return health.Permit{}, false
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

// ReportOutcome applies the outcome of an attempt; called exactly once for a permit
// that was used. A served request of a closed circuit takes no lock.
//
// A probe may be reported as soon as its response is committed to the caller: the
// circuit need not stay half-open until a stream ends.
func (r *Replica) ReportOutcome(t health.Permit, o health.Outcome) {
	s := r.slot(t.Slot)
	if s == nil {
		return
	}
	if o.Class == health.Served || o.Class == health.Abandoned {
		if o.Class == health.Served {
			r.recordServed(s)
		}
		r.ReportSignals(t.Slot, o.Signals)
		if !t.Probe && !t.LocalProbe {
			return
		}
	}
	r.mu.Lock()
	now := r.readClocks()
	r.applyOutcome(s, t, o, now)
	r.publishView(now)
	r.mu.Unlock()
	r.cfg.Environment.Pacer.Wake()
}

// recordServed counts a served request, for the percentage and for objections.
func (r *Replica) recordServed(s *slot) {
	now := r.cfg.Environment.Now().Sub(r.base)
	s.outcomes.add(now)
	if time.Duration(s.servedAt.Load()) < now-trafficTick {
		s.servedAt.Store(int64(max(now, 1)))
	}
}

// applyOutcome is the part of ReportOutcome that needs the lock.
func (r *Replica) applyOutcome(s *slot, t health.Permit, o health.Outcome, now clockReading) {
	if o.Class == health.Throttled {
		r.recordWait(s, o, now)
	}
	switch {
	case t.LocalProbe:
		r.finishLocalProbe(s, o, now.local)
	case t.Probe:
		r.finishProbe(s, t, o)
	case !s.sameEpoch(t):
		// A late outcome of an older epoch does not count.
	case o.Class == health.Failed:
		r.recordFailure(s, o, now)
	case o.Class == health.Misconfigured:
		s.misconfigured, s.reason = true, o.Reason
		s.local = localOverride{state: health.Open, until: now.local + r.cfg.Breaker.MaxTripDuration, trips: 1, reason: o.Reason}
	}
}

// recordFailure counts a failure of the present epoch. It is reported to the fleet,
// as far as it can matter; when this instance alone has seen enough for a trip, it
// stops using the backend at once, whatever the fleet decides.
func (r *Replica) recordFailure(s *slot, o health.Outcome, now clockReading) {
	s.outcomes.add(now.local)
	s.failures.add(now.local)
	s.unreportedFailures++
	s.reason = o.Reason
	if r.thresholdReached(s, now) && s.local.state == health.Closed {
		s.local.open(now.local, r.cfg.Breaker, o.Reason)
	}
}

// thresholdReached reports whether this instance's own failures are worth a trip.
func (r *Replica) thresholdReached(s *slot, now clockReading) bool {
	p := r.cfg.Breaker
	failed := s.failures.since(now.local-p.Interval, now.local)
	return failed >= int64(p.Failures) || r.percentageReached(s, now)
}

func (r *Replica) percentageReached(s *slot, now clockReading) bool {
	p := r.cfg.Breaker
	from := now.local - p.Interval
	asked, failed := s.outcomes.since(from, now.local), s.failures.since(from, now.local)
	return p.Percentage > 0 && asked >= int64(p.MinimumRequests) && failed*100 >= int64(p.Percentage)*asked
}

// recordWait records the wait of a 429, effective here at once and in the fleet
// after one write. While an older one of its kind is active, none ends earlier and
// none admits more tokens.
func (r *Replica) recordWait(s *slot, o health.Outcome, now clockReading) {
	kind := o.Limit
	if int(kind) >= len(s.localWindows) {
		kind = health.LimitUnknown
	}
	wait := localWindow{until: now.local + r.cfg.Throttle.WaitFor(kind, o.Wait), maxTokens: usableTokens(kind, o.Signals), reason: shorten(o.Reason)}
	if old := s.localWindows[kind]; old.until > now.local {
		wait.maxTokens = min(wait.maxTokens, old.maxTokens)
		if old.until >= wait.until {
			wait.until, wait.serviceUntil = old.until, old.serviceUntil
		}
	}
	s.localWindows[kind] = wait
	if s.probe.stage != probeEnded {
		s.reason = o.Reason
	}
}

// usableTokens is how large a request the backend would still serve: a token limit
// that refused a large prompt may have tokens for a small one. What remains is
// halved, because other instances use it too.
func usableTokens(kind health.LimitKind, s health.Signals) int64 {
	if kind != health.LimitTokens || s.RemainingTokens <= 1 {
		return 0
	}
	return s.RemainingTokens / 2
}

// ReportSignals applies what a response's headers reported of the backend's
// saturation.
func (r *Replica) ReportSignals(n health.Slot, signals health.Signals) {
	s := r.slot(n)
	if s == nil {
		return
	}
	level, ok := r.cfg.Throttle.LeaveAt.Level(signals.Utilization, signals.RemainingTokens, signals.LimitTokens)
	if !ok || level == health.Unsaturated && r.current.Load().snapshot.Slots[n].TrafficPercent == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	seen := health.Saturation{At: r.clock.toService(now.local), Level: level}
	if !s.record.Saturation.Merge(s.saturation).WorthPublishing(seen) {
		return
	}
	s.saturation = seen
	r.publishView(now)
	r.cfg.Environment.Pacer.Wake()
}
