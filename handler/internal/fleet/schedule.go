package fleet

import (
	"context"
	"time"

	"spillway/handler/internal/health"
)

// The pace of refreshes (docs/shared-state.md#limits-and-cost).
const (
	maxReadsPerSecond = 1000 // of its partition by the whole fleet
	coalesceDelay     = 20 * time.Millisecond
	changeRefresh     = 100 * time.Millisecond
	changePeriod      = 5 * time.Second
	idleWait          = time.Hour
)

// refreshInterval is the time between two reads: after any change a tenth of a
// second for five, else the setting; longer while reads fail, and never so short
// that the fleet as last counted would read more than its partition can serve.
func (r *Replica) refreshInterval(now time.Duration) time.Duration {
	if r.justChanged(now) {
		return max(min(changeRefresh, r.cfg.Refresh), r.fairInterval())
	}
	return r.refreshBound()
}

// refreshBound is the longest time between two reads of an instance with traffic,
// while the table answers.
func (r *Replica) refreshBound() time.Duration { return max(r.cfg.Refresh, r.fairInterval()) }

// fairInterval is this instance's part of what the row's partition can serve.
func (r *Replica) fairInterval() time.Duration {
	return time.Duration(r.members()) * time.Second / maxReadsPerSecond
}

// members is the number of instances as last counted, or as configured.
func (r *Replica) members() int { return max(r.cfg.MaxInstances, r.memberCount) }

// idle reports whether there is neither traffic nor a probe.
func (r *Replica) idle(now time.Duration) bool {
	if last := r.traffic.Load(); last != 0 && now-time.Duration(last) < r.cfg.IdleAfter {
		return false
	}
	for _, s := range r.slots {
		if s.probe.stage != probeNone {
			return false
		}
	}
	return true
}

// nextWake is when Run must act next: at the next refresh, or at an earlier
// deadline of a slot.
func (r *Replica) nextWake(next, now time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle(now) && r.lastContact > 0 {
		return now + idleWait
	}
	next = min(max(next, r.reads.at), now+max(r.refreshInterval(now)*6/5, r.reads.at-now)) // even if the clock was set back
	if r.confirmAt > 0 {
		next = min(next, max(r.confirmAt, now+time.Millisecond))
	}
	for _, s := range r.slots {
		if due, ok := r.slotDeadline(s, now); ok {
			next = min(next, max(due, now+time.Millisecond))
		}
	}
	return next
}

// slotDeadline is the next deadline of a slot besides the refresh.
func (r *Replica) slotDeadline(s *slot, now time.Duration) (time.Duration, bool) {
	switch {
	case s.probe.stage == probeUnused:
		return s.probe.taken + unusedProbeTimeout, true
	case s.probe.stage == probeInFlight && s.probe.result == 0:
		return r.renewAt(s), true
	case s.objectAt > now:
		return s.objectAt, true
	case s.own.open && s.own.until > now:
		return s.own.until, true
	case s.record.Circuit.State != health.Closed && s.inDemand(now) && s.probe.stage == probeNone:
		// The earliest bound reaches the deadline half the uncertainty after the estimate does.
		at := max(s.claimAfter, r.clock.toLocal(s.record.Circuit.Until)+r.clock.uncertainty()/2+time.Millisecond)
		return at, at > now
	case s.storedColumn != "" && s.record.LastChange.By == r.cfg.Instance && s.record.Circuit.State == health.Closed:
		at := r.clock.toLocal(s.record.LastChange.At) + r.seenAfter() + r.clock.uncertainty()/2 + time.Millisecond
		return at, at > now
	}
	return 0, false
}

// runOnce is one iteration of Run; it returns when the next refresh is due.
func (r *Replica) runOnce(ctx context.Context, next time.Duration, woken bool) time.Duration {
	if woken && !r.viewIsOld() {
		// Failures and 429s come in bursts: one write for all of them.
		r.cfg.Environment.Pacer.Sleep(ctx, coalesceDelay/2+r.jitter(coalesceDelay))
	}
	now := r.readClocks()
	if r.shouldReadFirst(now, next, woken) {
		r.lastRefresh = now.local
		r.readRow(ctx)
		next = r.nextRefresh()
	}
	r.advance()
	r.publish(ctx)
	r.sendHeartbeat(ctx)
	r.countMembers(ctx)
	if r.hasNews() {
		next = min(next, r.nextRefresh())
	}
	return next
}

// hasNews reports whether anything changed lately.
func (r *Replica) hasNews() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.justChanged(r.readClocks().local)
}

func (r *Replica) justChanged(now time.Duration) bool {
	return r.changed > 0 && now-r.changed < changePeriod
}

// nextRefresh is when the next read is due, random by a fifth either way.
func (r *Replica) nextRefresh() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks().local
	p := r.refreshInterval(now)
	return now + p*4/5 + r.jitter(p*2/5)
}

// viewIsOld reports whether the row has not been read for so long that a request
// may be waiting for it.
func (r *Replica) viewIsOld() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readClocks().local-r.row.read > oldView
}

// shouldReadFirst reports whether an iteration begins with a read: when one is
// due; and also before a write, which then meets fewer conflicts and may be
// needless by now. A burst of failures must not become a burst of reads; a claim
// and an objection are worth a read of their own, because all instances that want
// the same try at about the same time.
func (r *Replica) shouldReadFirst(now clockReading, next time.Duration, woken bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reads.due(now.local) {
		return false
	}
	known := now.local - r.lastRefresh
	if now.local >= next || woken && known >= r.refreshInterval(now.local)/2 {
		return true
	}
	bounds, ok := r.clock.bounds(now)
	for _, s := range r.slots {
		if ok && known >= coalesceDelay && (s.record.Circuit.State != health.Closed && r.shouldClaimProbe(s, now, bounds) || s.objectAt > 0 && now.local >= s.objectAt) {
			return true
		}
	}
	return false
}

// advance makes the changes that are due by time alone.
func (r *Replica) advance() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	bounds, known := r.clock.bounds(now)
	changed := r.startLocalProbing(now)
	if r.confirmAt > 0 && now.local >= r.confirmAt {
		r.confirmSilence(now)
		changed = true
	}
	for i, s := range r.slots {
		if r.advanceProbe(s, now) {
			changed = true
		}
		if known {
			r.scheduleObjection(health.Slot(i), s, now, bounds)
		}
		if r.slotHealth(health.Slot(i), s, now) != r.current.Load().snapshot.Slots[i] {
			changed = true
		}
	}
	if changed {
		r.publishView(now)
	}
}
