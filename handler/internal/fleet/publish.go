package fleet

import (
	"context"
	"math"
	"slices"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// writeAttempts is how often one iteration tries to write the row before it leaves
// the rest to the next one: a row that many write at once must not be hammered
// (docs/shared-state.md#what-the-table-does).
const writeAttempts = 4

// publish writes what this instance has to add, each time based on what was last
// read, until nothing is left or the attempts are used up.
func (r *Replica) publish(ctx context.Context) {
	for try := range writeAttempts {
		row, ok := r.draft()
		if !ok || ctx.Err() != nil {
			return
		}
		if r.commit(ctx, row) {
			continue // one write makes one transition of a circuit at most: there may be more
		}
		r.backOff(ctx, try)
		if !r.readDue() || !r.readRow(ctx) {
			return // the table is unreachable: a later iteration tries again
		}
	}
}

// readDue reports whether the table may be read.
func (r *Replica) readDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads.due(r.readClocks().local)
}

// backOff lets other writers finish before the next attempt.
func (r *Replica) backOff(ctx context.Context, try int) {
	r.cfg.Environment.Pacer.Sleep(ctx, r.jitter(20*time.Millisecond<<try))
}

// draft collects the updates of all slots in one write; false when there are
// none, the service's clock is unknown, or the last write failed a moment ago.
func (r *Replica) draft() (tablestore.Row, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	bounds, ok := r.clock.bounds(now)
	if !ok || !r.writes.due(now.local) {
		return tablestore.Row{}, false
	}
	nonce, records, added := r.nonce(), map[string]string{}, 0
	removal := slices.ContainsFunc(r.row.foreign, func(name string) bool { return r.unneeded(name, r.row.columns[name], bounds) })
	for i, s := range r.slots {
		if s.spare() {
			continue
		}
		if record, ok := r.draftSlot(health.Slot(i), s, now, bounds, nonce); ok && r.fits(s, &added) {
			records[s.column] = record.Encode()
		} else {
			removal = removal || r.removalDue(s, bounds)
		}
	}
	if len(records) == 0 && !removal {
		r.writes = retry{} // what was refused is needed no more
		return tablestore.Row{}, false
	}
	r.nonces.add(nonce)
	return r.nextRow(records, bounds), true
}

// fits reports whether the row has space for the slot's record besides those that
// the write adds already.
func (r *Replica) fits(s *slot, added *int) bool {
	switch {
	case s.storedColumn != "":
	case len(r.row.columns)+*added < maxRecords:
		*added++
	default:
		if !s.leftOut {
			r.counters.RecordsLeftOut++
		}
		s.leftOut = true
		return false
	}
	s.leftOut = false
	return true
}

func (r *Replica) draftSlot(n health.Slot, s *slot, now clockReading, bounds health.TimeBounds, nonce string) (health.Record, bool) {
	if s.newerVersion {
		return s.record, false
	}
	update := r.pendingUpdate(n, s, now, bounds)
	next, ok := s.record.Apply(update, bounds, s.breaker, r.nextSequence(bounds))
	if !ok {
		return s.record, false
	}
	if next.Circuit.Epoch != s.record.Circuit.Epoch {
		next.Circuit.Nonce = nonce
	}
	next.LastChange = health.Change{At: bounds.Midpoint(), By: r.cfg.Instance, Reason: shorten(s.record.NextReason(next.Circuit, s.reason))}
	opening := s.own.evidence
	if !s.own.open {
		opening = s.record.Circuit.SuspicionSummary(update.Suspicion, bounds, r.memberName)
	}
	next.LastChange.Evidence = clip(s.record.NextEvidence(next.Circuit, opening), maxEvidence)
	return next, true
}

// A record that says nothing any more is removed by the instance that changed it
// last, else, that one may be gone, by any other some time later.
const orphanedAfter = 15 * time.Second

func (r *Replica) removalDue(s *slot, bounds health.TimeBounds) bool {
	if s.storedColumn == "" || s.unreadable || s.newerVersion {
		return false
	}
	wait := r.seenAfter()
	if s.record.LastChange.By != r.cfg.Instance {
		wait += orphanedAfter + time.Duration(r.members())*100*time.Millisecond
	}
	return s.record.Spent(bounds, wait)
}

// dateWaits converts waits that were recorded before the service's clock was known.
// Each is converted once: a deadline that moved with every better estimate would
// be written again each time. A wait that ends before others can know of it is not
// published.
func (r *Replica) dateWaits(s *slot) {
	for kind := range s.localWindows {
		if t := &s.localWindows[kind]; t.serviceUntil == 0 && t.until > t.received+r.refreshBound() {
			t.serviceUntil = r.clock.toService(t.until)
		}
	}
}

// pendingUpdate is what this instance has to add to the slot's record.
func (r *Replica) pendingUpdate(i health.Slot, s *slot, now clockReading, bounds health.TimeBounds) health.Update {
	r.dateWaits(s)
	u := health.Update{
		Owner: r.leaseOwner, Saturation: s.saturation, Open: s.publishOpen && s.own.open && now.local < s.own.until, Trips: s.nextTrip(now.local),
		Suspicion: r.suspicion(s, now, bounds), Grace: max(2*r.refreshBound(), r.cfg.Usual(i)).Milliseconds(),
		ClaimProbe: r.shouldClaimProbe(s, now, bounds), Probe: s.probe.result, Lease: s.probe.lease, Unreadable: s.unreadable,
	}
	if s.own.open {
		u.Trips = s.own.trips
	}
	if s.objectAt > 0 && now.local >= s.objectAt {
		u.ServedFrom, s.reason = r.servedFrom(s), "served"
	}
	for kind, t := range s.localWindows {
		if t.until > now.local && t.serviceUntil > 0 {
			u.Windows = u.Windows.Add(health.LimitKind(kind), health.ThrottleWindow{Until: t.serviceUntil, MaxTokens: t.maxTokens})
		}
	}
	return u
}

// suspicionSteps is in how many steps at most a suspicion grows to an opening while
// failures follow each other at once: each is a write.
const suspicionSteps = 10

// suspicion is this instance's evidence against a closed circuit, when it is too
// thin to open it. As long as nothing is new, it is the one in the table.
func (r *Replica) suspicion(s *slot, now clockReading, bounds health.TimeBounds) health.Suspicion {
	c := s.record.Circuit
	if s.own.open || c.State != health.Closed || !s.evidence.Suspects(now.local, s.servedLately(now.local), s.breaker) {
		return health.Suspicion{}
	}
	n, first := s.evidence.Since(max(s.runFrom(now.local), s.changedAt, s.voidBefore))
	if n == 0 {
		return health.Suspicion{}
	}
	next := health.Suspicion{
		Reporter: r.reporterID, Since: r.clock.toService(first), At: min(r.clock.toService(s.evidence.LastFailed()), bounds.Latest), Failures: n,
	}
	if i := slices.IndexFunc(c.Suspicions, func(o health.Suspicion) bool { return o.Reporter == r.reporterID }); i >= 0 {
		if known := c.Suspicions[i]; n-known.Failures < max(1, s.breaker.Failures/suspicionSteps) && next.At-known.At < maxClockShift.Milliseconds() {
			return known
		}
	}
	return next
}

// scheduleObjection decides when this instance speaks for a backend that others
// suspect or have left: it is being served there by an attempt that began since. A
// random delay, and a look before the write, let a large fleet speak once.
func (r *Replica) scheduleObjection(n health.Slot, s *slot, now clockReading, bounds health.TimeBounds) {
	since := s.record.Circuit.SuspectedSince(bounds)
	switch {
	case since == 0 || r.servedFrom(s) <= since || !r.fresh(n, s, now.local):
		s.objectAt = 0
	case s.objectAt == 0:
		s.objectAt = now.local + r.objectionDelay()
	}
}

// servedFrom is when the latest attempt that was served certainly had begun, by any
// instance's clock; 0 = none was. An attempt of just before an opening must not pass
// for one of just after it.
func (r *Replica) servedFrom(s *slot) int64 {
	began := time.Duration(s.servedFrom.Load())
	if began == 0 {
		return 0
	}
	return max(r.clock.toService(began-r.clock.uncertainty()), 0)
}

// objectionDelay is exponentially distributed and truncated, so that the number of
// instances that speak before the first is heard hardly grows with the fleet
// (Nonnenmacher and Biersack, "Scalable feedback for large groups", 1999).
func (r *Replica) objectionDelay() time.Duration {
	const resolution = 1 << 20
	lambda := math.Log(float64(r.members())) + 1
	u := float64(r.cfg.Environment.Rand(resolution)) / resolution
	share := math.Log1p(u*math.Expm1(lambda)) / lambda
	return time.Duration(share * float64(r.refreshBound()/2))
}
