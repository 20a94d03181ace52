package fleet

import (
	"context"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// What the pace of refreshes rests on (facts/table-state.md §2, §3).
const (
	perSecond  = 1000 // reads a second that the whole fleet may make of its partition
	coalesce   = 20 * time.Millisecond
	longAsleep = time.Hour
)

// period is the time between two reads: the setting, half of it while a
// circuit is not closed or somebody is suspected, but never so short that the
// fleet as it was last counted would read more than its partition can take.
func (k *Keeper) period(now time.Duration) time.Duration {
	p := k.cfg.Refresh
	for _, s := range k.slots {
		if s.record.Circuit.Phase != health.Closed || s.own.phase != health.Closed || len(s.record.Circuit.Suspects) > 0 && k.suspected(s, now) {
			p /= 2
			break
		}
	}
	return max(p, time.Duration(max(k.cfg.MaxInstances, k.crowd))*time.Second/perSecond)
}

func (k *Keeper) suspected(s *slot, now time.Duration) bool {
	list := s.record.Circuit.Suspects
	return list[len(list)-1].At > k.clock.service(now-k.cfg.Breaker.Interval)
}

// idle reports whether there is neither traffic nor a probe under way.
func (k *Keeper) idle(now time.Duration) bool {
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
func (k *Keeper) nextWake(next, now time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.idle(now) && k.contact > 0 {
		return now + longAsleep
	}
	next = min(next, now+k.period(now)*6/5) // even should the clock have been set back
	for _, s := range k.slots {
		if due, ok := k.due(s, now); ok {
			next = min(next, max(due, now+time.Millisecond))
		}
	}
	return next
}

// due is the next deadline of a slot besides the refresh.
func (k *Keeper) due(s *slot, now time.Duration) (time.Duration, bool) {
	switch {
	case s.probe.stage == probeUnused:
		return s.probe.taken + unusedFor, true
	case s.probe.stage == probeInFlight && s.probe.news == 0:
		return k.renewAt(s), true
	case s.own.phase == health.Open && s.own.until > now:
		return s.own.until, true
	case s.record.Circuit.Phase != health.Closed && s.demanded(now) && s.probe.stage == probeNone:
		// lo reaches the deadline half the clock's width after our best guess does.
		at := max(s.tryAt, k.clock.local(s.record.Circuit.Until)+k.clock.width()/2+time.Millisecond)
		return at, at > now
	}
	return 0, false
}

// turn is one round of Run; it returns when the next refresh is due.
func (k *Keeper) turn(ctx context.Context, next time.Duration, kicked bool) time.Duration {
	if kicked {
		// Failures and refusals come in bunches: one write for all of them.
		k.cfg.World.Pacer.Sleep(ctx, coalesce/2+k.chance(coalesce))
	}
	now := k.look()
	if p, due := k.readsFirst(now, kicked); due || now.local >= next {
		k.asked = now.local
		k.refresh(ctx)
		next = k.look().local + p*4/5 + k.chance(p*2/5)
	}
	k.pass()
	k.publish(ctx)
	k.stamp(ctx)
	k.census(ctx)
	return next
}

// readsFirst reports whether a turn that is no refresh should begin with one:
// what is read first is written on fewer conflicts, and may be the news itself.
// A storm of failures must not become one of reads, though; a claim is worth a
// read of its own, for all who want the probe try at about the same time.
func (k *Keeper) readsFirst(now reading, kicked bool) (period time.Duration, reads bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	period = k.period(now.local)
	known := now.local - k.asked
	if kicked && known >= period/2 {
		return period, true
	}
	span, ok := k.clock.span(now)
	for _, s := range k.slots {
		if ok && known >= coalesce && s.record.Circuit.Phase != health.Closed && k.claims(s, now, span) {
			return period, true
		}
	}
	return period, false
}

// pass moves on what only time moves.
func (k *Keeper) pass() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.look()
	changed := k.goAlone(now)
	for i, s := range k.slots {
		if k.tend(s, now) {
			changed = true
		}
		if h := k.healthOf(s, now); h != k.view.Load().snapshot.By[i] {
			changed = true
		}
	}
	if changed {
		k.publishView(now)
	}
}

// refresh reads the shared rows: one exchange.
func (k *Keeper) refresh(ctx context.Context) {
	if len(k.rows) == 1 {
		k.reread(ctx, 0)
		return
	}
	var rows []tablestore.Row
	err := k.exchange(ctx, func(ctx context.Context) (reply tablestore.Reply, err error) {
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
		k.took(n, row, found)
	}
}
