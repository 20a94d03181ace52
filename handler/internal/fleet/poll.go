package fleet

import (
	"context"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// What the pace of refreshes rests on (facts/table-state.md §2, §3).
const (
	maxReadsPerSecond = 1000 // reads a second that the whole fleet may make of its partition
	coalesceDelay     = 20 * time.Millisecond
	idleWait          = time.Hour
)

// refreshInterval is the time between two reads: the setting, half of it while a
// circuit is not closed or somebody is suspected, but never so short that the
// fleet as it was last counted would read more than its partition can take.
func (k *Replica) refreshInterval(now time.Duration) time.Duration {
	p := k.cfg.Refresh
	for _, s := range k.slots {
		if s.record.Circuit.State != health.Closed || s.override.state != health.Closed || len(s.record.Circuit.Reports) > 0 && k.hasRecentReports(s, now) {
			p /= 2
			break
		}
	}
	return max(p, time.Duration(max(k.cfg.MaxInstances, k.memberCount))*time.Second/maxReadsPerSecond)
}

func (k *Replica) hasRecentReports(s *slot, now time.Duration) bool {
	list := s.record.Circuit.Reports
	return list[len(list)-1].At > k.clock.toService(now-k.cfg.Breaker.Interval)
}

// idle reports whether there is neither traffic nor a probe under way.
func (k *Replica) idle(now time.Duration) bool {
	if last := k.traffic.Load(); last != 0 && now-time.Duration(last) < k.cfg.IdleAfter {
		return false
	}
	for _, s := range k.slots {
		if s.probe.stage != probeNone {
			return false
		}
	}
	return true
}

// nextWake is when Run must act next: at the next refresh, or earlier when a
// deadline falls due.
func (k *Replica) nextWake(next, now time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.idle(now) && k.lastContact > 0 {
		return now + idleWait
	}
	next = min(next, now+k.refreshInterval(now)*6/5) // even should the clock have been set back
	for _, s := range k.slots {
		if due, ok := k.slotDeadline(s, now); ok {
			next = min(next, max(due, now+time.Millisecond))
		}
	}
	return next
}

// slotDeadline is the next deadline of a slot besides the refresh.
func (k *Replica) slotDeadline(s *slot, now time.Duration) (time.Duration, bool) {
	switch {
	case s.probe.stage == probeUnused:
		return s.probe.taken + unusedProbeTimeout, true
	case s.probe.stage == probeInFlight && s.probe.result == 0:
		return k.renewAt(s), true
	case s.override.state == health.Open && s.override.until > now:
		return s.override.until, true
	case s.record.Circuit.State != health.Closed && s.inDemand(now) && s.probe.stage == probeNone:
		// lo reaches the deadline half the clock's width after our best guess does.
		at := max(s.claimAfter, k.clock.toLocal(s.record.Circuit.Until)+k.clock.uncertainty()/2+time.Millisecond)
		return at, at > now
	}
	return 0, false
}

// runOnce is one round of Run; it returns when the next refresh is due.
func (k *Replica) runOnce(ctx context.Context, next time.Duration, kicked bool) time.Duration {
	if kicked {
		// Failures and refusals come in bunches: one write for all of them.
		k.cfg.Environment.Pacer.Sleep(ctx, coalesceDelay/2+k.jitter(coalesceDelay))
	}
	now := k.readClocks()
	if p, due := k.shouldReadFirst(now, kicked); due || now.local >= next {
		k.lastRefresh = now.local
		k.refresh(ctx)
		next = k.readClocks().local + p*4/5 + k.jitter(p*2/5)
	}
	k.advance()
	k.publish(ctx)
	k.sendHeartbeat(ctx)
	k.countMembers(ctx)
	return next
}

// shouldReadFirst reports whether a turn that is no refresh should begin with one:
// what is read first is written on fewer conflicts, and may be the news itself.
// A storm of failures must not become one of reads, though; a claim is worth a
// read of its own, for all who want the probe try at about the same time.
func (k *Replica) shouldReadFirst(now clockReading, kicked bool) (period time.Duration, reads bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	period = k.refreshInterval(now.local)
	known := now.local - k.lastRefresh
	if kicked && known >= period/2 {
		return period, true
	}
	span, ok := k.clock.bounds(now)
	for _, s := range k.slots {
		if ok && known >= coalesceDelay && s.record.Circuit.State != health.Closed && k.shouldClaimProbe(s, now, span) {
			return period, true
		}
	}
	return period, false
}

// advance moves on what only time moves.
func (k *Replica) advance() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.readClocks()
	changed := k.startLocalProbing(now)
	for i, s := range k.slots {
		if k.advanceProbe(s, now) {
			changed = true
		}
		if h := k.slotHealth(s, now); h != k.view.Load().snapshot.Slots[i] {
			changed = true
		}
	}
	if changed {
		k.publishView(now)
	}
}

// refresh reads the shared rows: one exchange.
func (k *Replica) refresh(ctx context.Context) {
	if len(k.rows) == 1 {
		k.readRow(ctx, 0)
		return
	}
	var rows []tablestore.Row
	err := k.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		rows, reply, err = k.cfg.Store.List(ctx, k.partition(), "", "")
		return reply, err
	})
	for n := range k.rows {
		var row tablestore.Row
		found := tablestore.ErrNotFound
		for _, r := range rows {
			if r.Key == k.rows[n].key {
				row, found = r, nil
			}
		}
		if err != nil {
			found = err
		}
		k.applyRead(n, row, found)
	}
}
