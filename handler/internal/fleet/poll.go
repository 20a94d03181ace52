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
func (r *Replica) refreshInterval(now time.Duration) time.Duration {
	p := r.cfg.Refresh
	for _, s := range r.slots {
		if s.record.Circuit.State != health.Closed || s.override.state != health.Closed || len(s.record.Circuit.Reports) > 0 && r.hasRecentReports(s, now) {
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

// idle reports whether there is neither traffic nor a probe under way.
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

// nextWake is when Run must act next: at the next refresh, or earlier when a
// deadline falls due.
func (r *Replica) nextWake(next, now time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle(now) && r.lastContact > 0 {
		return now + idleWait
	}
	next = min(next, now+r.refreshInterval(now)*6/5) // even should the clock have been set back
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
	case s.override.state == health.Open && s.override.until > now:
		return s.override.until, true
	case s.record.Circuit.State != health.Closed && s.inDemand(now) && s.probe.stage == probeNone:
		// lo reaches the deadline half the clock's width after our best guess does.
		at := max(s.claimAfter, r.clock.toLocal(s.record.Circuit.Until)+r.clock.uncertainty()/2+time.Millisecond)
		return at, at > now
	}
	return 0, false
}

// runOnce is one round of Run; it returns when the next refresh is due.
func (r *Replica) runOnce(ctx context.Context, next time.Duration, kicked bool) time.Duration {
	if kicked {
		// Failures and refusals come in bunches: one write for all of them.
		r.cfg.Environment.Pacer.Sleep(ctx, coalesceDelay/2+r.jitter(coalesceDelay))
	}
	now := r.readClocks()
	if p, due := r.shouldReadFirst(now, kicked); due || now.local >= next {
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

// shouldReadFirst reports whether a turn that is no refresh should begin with one:
// what is read first is written on fewer conflicts, and may be the news itself.
// A storm of failures must not become one of reads, though; a claim is worth a
// read of its own, for all who want the probe try at about the same time.
func (r *Replica) shouldReadFirst(now clockReading, kicked bool) (period time.Duration, reads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	period = r.refreshInterval(now.local)
	known := now.local - r.lastRefresh
	if kicked && known >= period/2 {
		return period, true
	}
	span, ok := r.clock.bounds(now)
	for _, s := range r.slots {
		if ok && known >= coalesceDelay && s.record.Circuit.State != health.Closed && r.shouldClaimProbe(s, now, span) {
			return period, true
		}
	}
	return period, false
}

// advance moves on what only time moves.
func (r *Replica) advance() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	changed := r.startLocalProbing(now)
	for i, s := range r.slots {
		if r.advanceProbe(s, now) {
			changed = true
		}
		if h := r.slotHealth(s, now); h != r.view.Load().snapshot.Slots[i] {
			changed = true
		}
	}
	if changed {
		r.publishView(now)
	}
}

// refresh reads the shared rows: one exchange.
func (r *Replica) refresh(ctx context.Context) {
	if len(r.rows) == 1 {
		r.readRow(ctx, 0)
		return
	}
	var rows []tablestore.Row
	err := r.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		rows, reply, err = r.cfg.Store.List(ctx, r.partition(), "", "")
		return reply, err
	})
	for n := range r.rows {
		row, found := rowWithKey(rows, r.rows[n].key)
		if err != nil {
			found = err
		}
		r.applyRead(n, row, found)
	}
}

// rowWithKey returns the row with that key, or ErrNotFound.
func rowWithKey(rows []tablestore.Row, key string) (tablestore.Row, error) {
	for _, row := range rows {
		if row.Key == key {
			return row, nil
		}
	}
	return tablestore.Row{}, tablestore.ErrNotFound
}
