package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// ReportOutcome folds in how the attempt ended; called exactly once for a ticket that
// was used. A service of a closed circuit takes no lock.
//
// A probe may be reported as soon as its answer is committed to the caller:
// the circuit need not stay half-open for the length of a stream.
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

// recordServed notes a service, for the percentage and as evidence against accusers.
func (r *Replica) recordServed(s *slot) {
	now := r.cfg.Environment.Now().Sub(r.base)
	s.outcomes.add(now)
	if time.Duration(s.servedAt.Load()) < now-trafficTick {
		s.servedAt.Store(int64(max(now, 1)))
	}
}

// applyOutcome is the part of Report that needs the lock.
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
		// Late news of an older epoch: the circuit has moved on without it.
	case o.Class == health.Failed:
		r.recordFailure(s, o, now)
	case o.Class == health.Misconfigured:
		s.misconfigured, s.reason = true, o.Reason
		s.override = localOverride{state: health.Open, until: now.local + r.cfg.Breaker.MaxTripDuration, trips: 1, reason: o.Reason}
	}
}

// sameEpoch reports whether the ticket's attempt began in the present epoch.
func (s *slot) sameEpoch(t health.Permit) bool {
	return s.record.Circuit.Incarnation == t.Incarnation && s.record.Circuit.Epoch == t.Epoch
}

// finishProbe notes what became of the fleet's probe. A 429 is an answer: the
// circuit closes, and the throttle holds the backend.
func (r *Replica) finishProbe(s *slot, t health.Permit, o health.Outcome) {
	if s.probe.stage != probeInFlight || !r.isPermitForProbe(s, t) {
		return
	}
	s.reason = o.Reason
	switch o.Class {
	case health.Served, health.Throttled:
		s.probe.end(health.ProbeServed)
	case health.Failed:
		s.probe.end(health.ProbeFailed)
	case health.Misconfigured:
		s.probe.end(health.ProbeMisconfigured)
	case health.Abandoned:
		s.probe.end(health.ProbeReturned)
	}
}

// recordWait notes a wait, effective here at once and in the fleet after one write.
// While an older one of its kind runs, none ends earlier and none leaves more
// room.
func (r *Replica) recordWait(s *slot, o health.Outcome, now clockReading) {
	kind := o.Limit
	if int(kind) >= len(s.localWindows) {
		kind = health.LimitUnknown
	}
	t := localWindow{until: now.local + r.cfg.Throttle.WaitFor(kind, o.Wait), maxTokens: usableTokens(kind, o.Signals), reason: shorten(o.Reason)}
	if old := s.localWindows[kind]; old.until > now.local {
		t.maxTokens = min(t.maxTokens, old.maxTokens)
		if old.until >= t.until {
			t.until, t.serviceUntil = old.until, old.serviceUntil
		}
	}
	s.localWindows[kind] = t
	if s.probe.stage != probeEnded {
		s.reason = o.Reason
	}
}

// usableTokens is how large a request the backend says it would still take: a token
// limit that refused a large prompt may have room for a small one. What
// remains is halved, for others ask too.
func usableTokens(kind health.LimitKind, s health.Signals) int64 {
	if kind != health.LimitTokens || s.RemainingTokens <= 1 {
		return 0
	}
	return s.RemainingTokens / 2
}

// ReportSignals folds in what an answer's headers said of how full its backend is.
func (r *Replica) ReportSignals(n health.Slot, signals health.Signals) {
	s := r.slot(n)
	if s == nil {
		return
	}
	level, ok := r.cfg.Throttle.LeaveAt.Level(signals.Utilization, signals.RemainingTokens, signals.LimitTokens)
	if !ok || level == health.Unsaturated && r.view.Load().snapshot.Slots[n].Share == 0 {
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
