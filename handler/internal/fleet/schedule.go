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
	idleWait          = time.Hour
)

// refreshInterval is the time between two reads: the setting, half of it while a
// circuit is not closed or failures are reported, but never so short that the
// fleet as last counted would read more than its partition can serve.
func (r *Replica) refreshInterval(now time.Duration) time.Duration {
	p := r.cfg.Refresh
	for _, s := range r.slots {
		if s.record.Circuit.State != health.Closed || s.local.state != health.Closed || len(s.record.Circuit.Reports) > 0 && r.hasRecentReports(s, now) {
			p /= 2
			break
		}
	}
	return max(p, time.Duration(max(r.cfg.MaxInstances, r.memberCount))*time.Second/maxReadsPerSecond)
}

func (r *Replica) hasRecentReports(s *slot, now time.Duration) bool {
	list := s.record.Circuit.Reports
	return list[len(list)-1].At > r.clock.toService(now-r.cfg.Breaker.Interval)
}

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
	next = min(next, now+r.refreshInterval(now)*6/5) // even if the clock was set back
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
	case s.local.state == health.Open && s.local.until > now:
		return s.local.until, true
	case s.record.Circuit.State != health.Closed && s.inDemand(now) && s.probe.stage == probeNone:
		// The earliest bound reaches the deadline half the uncertainty after the estimate does.
		at := max(s.claimAfter, r.clock.toLocal(s.record.Circuit.Until)+r.clock.uncertainty()/2+time.Millisecond)
		return at, at > now
	}
	return 0, false
}

// runOnce is one iteration of Run; it returns when the next refresh is due.
func (r *Replica) runOnce(ctx context.Context, next time.Duration, woken bool) time.Duration {
	if woken {
		// Failures and 429s come in bursts: one write for all of them.
		r.cfg.Environment.Pacer.Sleep(ctx, coalesceDelay/2+r.jitter(coalesceDelay))
	}
	now := r.readClocks()
	if p, due := r.shouldReadFirst(now, woken); due || now.local >= next {
		r.lastRefresh = now.local
		r.refresh(ctx)
		next = r.readClocks().local + p*4/5 + r.jitter(p*2/5)
	}
	r.advance()
	r.publish(ctx)
	r.sendHeartbeat(ctx)
	r.countMembers(ctx)
	return next
}

// shouldReadFirst reports whether an iteration without a refresh should begin with
// a read: a write after it meets fewer conflicts, and others may have published
// the same. A burst of failures must not become a burst of reads; a claim is worth
// a read of its own, because all instances that want the probe try at about the
// same time.
func (r *Replica) shouldReadFirst(now clockReading, woken bool) (period time.Duration, reads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	period = r.refreshInterval(now.local)
	known := now.local - r.lastRefresh
	if woken && known >= period/2 {
		return period, true
	}
	bounds, ok := r.clock.bounds(now)
	for _, s := range r.slots {
		if ok && known >= coalesceDelay && s.record.Circuit.State != health.Closed && r.shouldClaimProbe(s, now, bounds) {
			return period, true
		}
	}
	return period, false
}

// advance makes the changes that are due by time alone.
func (r *Replica) advance() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	changed := r.startLocalProbing(now)
	for i, s := range r.slots {
		if r.advanceProbe(s, now) {
			changed = true
		}
		if h := r.slotHealth(s, now); h != r.current.Load().snapshot.Slots[i] {
			changed = true
		}
	}
	if changed {
		r.publishView(now)
	}
}
