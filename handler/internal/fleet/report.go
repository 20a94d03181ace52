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
func (k *Keeper) ReportOutcome(t health.Ticket, o health.Outcome) {
	s := k.slot(t.Slot)
	if s == nil {
		return
	}
	if o.Verdict == health.Served || o.Verdict == health.Abandoned {
		if o.Verdict == health.Served {
			k.served(s)
		}
		k.ReportSignals(t.Slot, o.Signals)
		if !t.Probe && !t.Alone {
			return
		}
	}
	k.mu.Lock()
	now := k.look()
	k.fold(s, t, o, now)
	k.publishView(now)
	k.mu.Unlock()
	k.cfg.World.Pacer.Kick()
}

// served notes a service, for the percentage and as evidence against accusers.
func (k *Keeper) served(s *slot) {
	now := k.cfg.World.Now().Sub(k.base)
	s.asked.add(now)
	if time.Duration(s.served.Load()) < now-trafficTick {
		s.served.Store(int64(max(now, 1)))
	}
}

// fold is the part of Report that needs the lock.
func (k *Keeper) fold(s *slot, t health.Ticket, o health.Outcome, now reading) {
	if o.Verdict == health.Throttled {
		k.tell(s, o, now)
	}
	switch {
	case t.Alone:
		k.finishAlone(s, o, now.local)
	case t.Probe:
		k.finishProbe(s, t, o)
	case !s.current(t):
		// Late news of an older epoch: the circuit has moved on without it.
	case o.Verdict == health.Failed:
		k.fail(s, o, now)
	case o.Verdict == health.Misconfigured:
		s.doom, s.why = true, o.Why
		s.own = overlay{phase: health.Open, until: now.local + k.cfg.Breaker.MaxTripDuration, trips: 1, why: o.Why}
	}
}

// current reports whether the ticket's attempt began in the present epoch.
func (s *slot) current(t health.Ticket) bool {
	return s.record.Circuit.Incarnation == t.Incarnation && s.record.Circuit.Epoch == t.Epoch
}

// finishProbe notes what became of the fleet's probe. A 429 is an answer: the
// circuit closes, and the throttle holds the backend.
func (k *Keeper) finishProbe(s *slot, t health.Ticket, o health.Outcome) {
	if s.probe.stage != probeInFlight || !k.ticketed(s, t) {
		return
	}
	s.why = o.Why
	switch o.Verdict {
	case health.Served, health.Throttled:
		s.probe.end(health.ProbeServed)
	case health.Failed:
		s.probe.end(health.ProbeFailed)
	case health.Misconfigured:
		s.probe.end(health.ProbeCondemned)
	case health.Abandoned:
		s.probe.end(health.ProbeReturned)
	}
}

// tell notes a wait, effective here at once and in the fleet after one write.
// While an older one of its kind runs, none ends earlier and none leaves more
// room.
func (k *Keeper) tell(s *slot, o health.Outcome, now reading) {
	kind := o.Kind
	if int(kind) >= len(s.told) {
		kind = health.Unknown
	}
	t := told{until: now.local + k.cfg.Throttle.Hold(kind, o.Wait), room: roomIn(kind, o.Signals), why: trim(o.Why)}
	if old := s.told[kind]; old.until > now.local {
		t.room = min(t.room, old.room)
		if old.until >= t.until {
			t.until, t.service = old.until, old.service
		}
	}
	s.told[kind] = t
	if s.probe.stage != probeEnded {
		s.why = o.Why
	}
}

// roomIn is how large a request the backend says it would still take: a token
// limit that refused a large prompt may have room for a small one. What
// remains is halved, for others ask too.
func roomIn(kind health.LimitKind, s health.Signals) int64 {
	if kind != health.Tokens || s.RemainingTokens <= 1 {
		return 0
	}
	return s.RemainingTokens / 2
}

// ReportSignals folds in what an answer's headers said of how full its backend is.
func (k *Keeper) ReportSignals(n health.Slot, signals health.Signals) {
	s := k.slot(n)
	if s == nil {
		return
	}
	level, ok := k.cfg.Throttle.LeaveAt.LevelOf(signals.Utilization, signals.RemainingTokens, signals.LimitTokens)
	if !ok || level == health.Roomy && k.view.Load().snapshot.By[n].Share == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.look()
	seen := health.Mark{At: k.clock.service(now.local), Level: level}
	if !s.record.Mark.Join(s.mark).News(seen) {
		return
	}
	s.mark = seen
	k.publishView(now)
	k.cfg.World.Pacer.Kick()
}
