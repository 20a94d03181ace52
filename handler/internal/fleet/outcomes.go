package fleet

import (
	"slices"
	"time"

	"spillway/handler/internal/health"
)

// ReportAnswered counts an attempt as served, at its first content. A later
// failure of the same attempt, such as a stream that breaks, counts besides.
// While nothing is wrong with the slot it takes no lock.
func (r *Replica) ReportAnswered(t health.Permit) {
	s := r.slot(t.Slot)
	if s == nil {
		return
	}
	now := r.localNow()
	s.countServed(now)
	raise(&s.servedFrom, int64(t.Began.Sub(r.base)))
	raise(&r.anyServed, int64(now))
	if !t.Probe && !t.LocalProbe && !s.attention.Load() && r.unsureCount.Load() == 0 {
		s.decide(t)
		return
	}
	r.update(func(now clockReading) bool {
		r.applyServed(s, t, now)
		s.attention.Store(s.needsAttention())
		return t.Probe || t.LocalProbe || t.Trial || r.slotHealth(t.Slot, s, now) != r.current.Load().snapshot.Slots[t.Slot]
	})
}

// ReportSilent counts an attempt whose first content is later than it should be as
// failed, until it is answered after all.
func (r *Replica) ReportSilent(t health.Permit) {
	s := r.slot(t.Slot)
	if s == nil {
		return
	}
	r.update(func(now clockReading) bool { return r.applySilent(s, t, now) })
}

// ReportOutcome applies the outcome of an attempt; called exactly once for a permit
// that was used.
func (r *Replica) ReportOutcome(t health.Permit, o health.Outcome) {
	s := r.slot(t.Slot)
	if s == nil {
		return
	}
	if o.Class == health.Served || o.Class == health.Abandoned {
		r.ReportSignals(t.Slot, o.Signals)
	}
	if o.Class == health.Served {
		raise(&s.ended, int64(t.Order))
		if !o.Answered {
			r.ReportAnswered(t)
		}
		return
	}
	if o.Class == health.Abandoned && !t.Probe && !t.LocalProbe && !s.attention.Load() && r.unsureCount.Load() == 0 {
		if !o.Answered {
			s.decide(t)
		}
		return
	}
	r.update(func(now clockReading) bool {
		r.applyOutcome(s, t, o, now)
		return true
	})
}

// TakeBack takes back the failures of a request that failed at every backend that
// it was tried at: at once where somebody else was served since it began, else as
// soon as somebody is.
func (r *Replica) TakeBack(failed []health.Permit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	for _, t := range failed {
		if s := r.slot(t.Slot); s != nil {
			s.evidence.FailedEverywhere(t.ID, s.lastServed())
			r.reconsider(s, now.local)
		}
	}
	r.publishView(now)
}

// update makes a change under the lock and lets Run publish it. change reports
// whether there was any.
func (r *Replica) update(change func(now clockReading) bool) {
	r.mu.Lock()
	now := r.readClocks()
	changed := change(now)
	if changed {
		r.publishView(now)
	}
	r.mu.Unlock()
	if changed {
		r.cfg.Environment.Pacer.Wake()
	}
}

// applyServed is the part of ReportAnswered that needs the lock.
func (r *Replica) applyServed(s *slot, t health.Permit, now clockReading) {
	if late := r.forgetUnconfirmed(t); !late {
		r.servedInTime = max(r.servedInTime, t.Began.Sub(r.base))
	}
	if len(r.unconfirmed) > 0 && !r.confirmed {
		r.confirmAt, r.confirmed = now.local+confirmDelay, true
	}
	if s.endSilence(t) {
		s.evidence.TakeBack(t.ID)
	} else {
		s.decide(t)
	}
	s.evidence.Served()
	switch {
	case t.Probe:
		r.finishProbe(s, t, health.Outcome{Class: health.Served, Reason: "probe answered"})
	case t.LocalProbe:
		r.finishLocalProbe(s, t, health.Outcome{Class: health.Served}, now.local)
	case s.own.open && t.Began.Sub(r.base) >= s.own.openedAt:
		s.closeOwn(now.local)
	}
	r.reconsider(s, now.local)
	if t.Trial {
		s.clearEvidence()      // the circuit binds this instance no more
		s.objectAt = now.local // whoever is served where nobody was says so at once
	}
}

// reconsider closes the own circuit when the failures that opened it were taken
// back.
func (r *Replica) reconsider(s *slot, now time.Duration) {
	left, _ := s.evidence.Since(min(s.own.openedAt-s.breaker.Interval, s.lastServed()))
	if s.own.open && s.own.evident && left < s.breaker.Failures && !s.opens(now) {
		s.closeOwn(now)
	}
	if s.own.open && s.lastServed() >= s.evidence.LastFailed() && !s.opens(now) {
		s.closeOwn(now)
	}
}

// applySilent counts a silent attempt. While nothing was served anywhere since it
// began, the silence may be this instance's own: it counts once something is.
func (r *Replica) applySilent(s *slot, t health.Permit, now clockReading) bool {
	if r.stalled(t, now.local) {
		return false
	}
	if len(r.slots) > 1 && time.Duration(r.anyServed.Load()) < t.Began.Sub(r.base) && !t.Probe && !t.LocalProbe {
		r.awaitConfirmation(t, now.local)
		return false
	}
	r.countSilent(s, t, now)
	return true
}

// reasonSilent is the reason of a failure that is taken back if the answer comes.
const reasonSilent = "silent"

func (r *Replica) countSilent(s *slot, t health.Permit, now clockReading) {
	if t.Began.Sub(r.base) < s.changedAt {
		return
	}
	s.silent = append(s.silent, t.ID)
	s.decide(t)
	o := health.Outcome{Class: health.Failed, Reason: reasonSilent}
	r.finishProbe(s, t, o)
	r.finishLocalProbe(s, t, o, now.local)
	r.recordFailure(s, t, o, now)
}

// confirmDelay is how long after the first success anywhere silent attempts may be
// answered before they count: when everything was silent, all recover together.
const confirmDelay = 500 * time.Millisecond

// unconfirmed is a silent attempt that may be this instance's own fault.
type unconfirmed struct {
	health.Permit
	left bool // its caller has left
}

// The silent attempts that are kept where nothing is served.
const (
	maxUnconfirmed    = 100
	maxUnconfirmedAge = time.Minute
)

// awaitConfirmation keeps a silent attempt. If after as long again nothing else has
// fallen silent, nothing else was asked, and it is the slot: this instance would not
// leave it otherwise.
func (r *Replica) awaitConfirmation(t health.Permit, now time.Duration) {
	began := t.Began.Sub(r.base)
	r.unconfirmed = slices.DeleteFunc(r.unconfirmed, func(o unconfirmed) bool { return o.left && o.Began.Sub(r.base) < now-maxUnconfirmedAge })
	r.unconfirmed = append(r.unconfirmed[max(0, len(r.unconfirmed)-maxUnconfirmed+1):], unconfirmed{Permit: t})
	r.unsureCount.Store(int32(len(r.unconfirmed)))
	if r.confirmAt == 0 {
		r.confirmAt = now + (now-began)*5/4
	}
}

// confirmSilence counts the attempts that were silent while something else was
// served, or while nothing else was asked.
func (r *Replica) confirmSilence(now clockReading) {
	served := r.confirmed
	r.confirmAt, r.confirmed = 0, false
	if !served && r.everythingSilent(now) {
		return
	}
	all := r.unconfirmed
	r.unconfirmed = nil
	r.unsureCount.Store(0)
	for _, t := range all {
		if t.left && served {
			continue // when everything was silent, all recover together
		}
		s := r.slots[t.Slot]
		r.countSilent(s, t.Permit, now)
		if t.left {
			s.endSilence(t.Permit)
		}
	}
}

// everythingSilent reports whether whatever was asked is silent, and nothing is left that
// would be asked if those were left.
func (r *Replica) everythingSilent(now clockReading) bool {
	if !slices.ContainsFunc(r.unconfirmed, func(o unconfirmed) bool { return o.Slot != r.unconfirmed[0].Slot }) {
		return false
	}
	began := r.unconfirmed[0].Began.Sub(r.base)
	for n, s := range r.slots {
		if s.name == Spare || s.sent.since(began, now.local) > 0 {
			continue
		}
		if h := r.slotHealth(health.Slot(n), s, now); h.SkipReason(r.toTime(now.local), 0) == health.NotSkipped {
			return false
		}
	}
	return true
}

// leaveUnconfirmed notes that the caller of an unconfirmed attempt left.
func (r *Replica) leaveUnconfirmed(t health.Permit) {
	for i := range r.unconfirmed {
		if o := &r.unconfirmed[i]; o.ID == t.ID {
			o.left = true
		}
	}
}

// forgetUnconfirmed ends the wait for a confirmation of that attempt's silence, and
// reports whether there was one.
func (r *Replica) forgetUnconfirmed(t health.Permit) bool {
	before := len(r.unconfirmed)
	r.unconfirmed = slices.DeleteFunc(r.unconfirmed, func(o unconfirmed) bool { return o.ID == t.ID })
	r.unsureCount.Store(int32(len(r.unconfirmed)))
	return len(r.unconfirmed) < before
}

// applyOutcome is the part of ReportOutcome that needs the lock.
func (r *Replica) applyOutcome(s *slot, t health.Permit, o health.Outcome, now clockReading) {
	switch {
	case o.Class != health.Abandoned:
		r.forgetUnconfirmed(t)
	case r.servedInTime < t.Began.Sub(r.base):
		r.leaveUnconfirmed(t)
	} // else its silence counts although it lost to its own hedge
	if o.Class == health.Failed && r.stalled(t, now.local) {
		o.Class = health.Abandoned
	}
	switch {
	case o.Class == health.Throttled && o.Model != "":
		r.recordModelWait(s, o, now.local)
	case o.Class == health.Throttled:
		r.recordWait(s, o, now)
	}
	r.finishProbe(s, t, o)
	r.finishLocalProbe(s, t, o, now.local)
	r.endAttempt(s, t, o)
	if o.Class == health.Failed && t.Began.Sub(r.base) >= s.changedAt {
		r.recordFailure(s, t, o, now)
	}
}

// endAttempt replaces the silence of an attempt by its outcome. Of one that was given
// up while it was silent, the silence stays counted.
func (r *Replica) endAttempt(s *slot, t health.Permit, o health.Outcome) {
	switch silent := s.endSilence(t); {
	case silent && o.Class != health.Abandoned:
		s.evidence.TakeBack(t.ID)
	case !silent && !o.Answered:
		s.decide(t)
	}
}

// recordFailure counts a failure; when this instance's evidence is enough, it stops
// using the backend at once, whatever the fleet decides.
func (r *Replica) recordFailure(s *slot, t health.Permit, o health.Outcome, now clockReading) {
	s.evidence.Fail(t, o, t.Began.Sub(r.base), now.local, s.older(t, now.local))
	s.reason = o.Reason
	if o.Answered { // it was counted as served at its first content
		s.served.add(now.local, -1)
	}
	if !s.own.open && s.opens(now.local) {
		r.openOwn(s, now.local, shorten(o.Reason))
	}
}

// recordWait records the wait of a 429, effective here at once and in the fleet
// after one write. While an older one of its kind is active, none ends earlier and
// none admits more tokens.
func (r *Replica) recordWait(s *slot, o health.Outcome, now clockReading) {
	kind := o.Limit
	if int(kind) >= len(s.localWindows) {
		kind = health.LimitUnknown
	}
	wait := localWindow{
		until: now.local + s.throttle.WaitFor(kind, o.Wait), received: now.local,
		maxTokens: usableTokens(kind, o), reason: shorten(o.Reason),
	}
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

// usableTokens is how large a request the backend would still serve after it
// refused one for its tokens: less than that one in any case. What the response
// says remains is halved, because other instances use it too.
func usableTokens(kind health.LimitKind, o health.Outcome) int64 {
	if kind != health.LimitTokens {
		return 0
	}
	usable := o.Tokens - 1
	if remaining := o.Signals.RemainingTokens; remaining >= 0 {
		usable = min(usable, remaining/2)
	}
	return max(usable, 0)
}

// ReportSignals applies what a response's headers reported of the backend's
// saturation.
func (r *Replica) ReportSignals(n health.Slot, signals health.Signals) {
	s := r.slot(n)
	if s == nil {
		return
	}
	level, ok := s.throttle.LeaveAt.Level(signals.Utilization, signals.RemainingTokens, signals.LimitTokens)
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
