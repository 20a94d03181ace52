package fleet

import (
	"context"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// writeAttempts is how often one iteration tries to write a row before it leaves
// the rest to the next one: a row that many write at once must not be hammered
// (docs/shared-state.md#what-the-table-does).
const writeAttempts = 4

// rowDraft is a write to be tried.
type rowDraft struct {
	row   tablestore.Row
	nonce string
}

// publish writes what this instance has to add, row by row, each time based on what
// was last read, until nothing is left or the attempts are used up.
func (r *Replica) publish(ctx context.Context) {
	for n := range r.rows {
		for try := range writeAttempts {
			d, ok := r.draftRow(n)
			if !ok || ctx.Err() != nil {
				break
			}
			if r.commit(ctx, n, d) {
				continue // one write makes one transition of a circuit at most: there may be more
			}
			r.backOff(ctx, try)
			if !r.readRow(ctx, n) {
				return // the table is unreachable: the next iteration tries again
			}
		}
	}
}

// draftRow collects the updates of all slots of a row in one write; false when there
// are none, or the service's clock is unknown.
func (r *Replica) draftRow(n int) (rowDraft, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	bounds, ok := r.clock.bounds(now)
	if !ok {
		return rowDraft{}, false
	}
	d := rowDraft{nonce: r.nonce()}
	columns := map[string]string{}
	for _, s := range r.slots {
		if s.row != n {
			continue
		}
		if record, ok := r.draftSlot(s, now, bounds, d.nonce); ok {
			columns[s.column] = record.Encode()
		}
	}
	if len(columns) == 0 {
		return rowDraft{}, false
	}
	d.row = r.nextRow(n, columns)
	r.nonces.add(d.nonce)
	return d, true
}

func (r *Replica) draftSlot(s *slot, now clockReading, bounds health.TimeBounds, nonce string) (health.Record, bool) {
	if s.newerVersion || s.unreadable && !r.replacementDue(s, bounds) {
		return s.record, false
	}
	update := r.pendingUpdate(s, now, bounds)
	next, ok := s.record.Apply(update, bounds, r.cfg.Breaker)
	if !ok {
		return s.record, false
	}
	if !next.Circuit.SameEpoch(s.record.Circuit) {
		next.Circuit.Nonce = nonce
	}
	if s.unreadable {
		next.Circuit.Incarnation = max(s.record.Circuit.Incarnation+1, uint64(s.replacementIncarnation))
	}
	next.LastChange = health.Change{At: bounds.Midpoint(), By: r.cfg.Instance, Reason: shorten(s.reason)}
	return next, true
}

// replacementDue reports whether an unreadable record may be replaced yet. Its
// incarnation is unknown, so the new one is dated: later than any that was dated
// before the record was seen unreadable, however imprecise its writer's clock was,
// and written only when that date has certainly passed, so that the same holds for
// the next replacement.
func (r *Replica) replacementDue(s *slot, bounds health.TimeBounds) bool {
	if s.replacementIncarnation == 0 {
		s.replacementIncarnation = max(bounds.Latest+(maxSampleWidth+r.cfg.Timeout).Milliseconds(), 1)
	}
	return bounds.Earliest > s.replacementIncarnation
}

// dateWaits converts waits that were recorded before the service's clock was known.
// Each is converted once: a deadline that moved with every better estimate would
// be written again each time.
func (r *Replica) dateWaits(s *slot) {
	for kind := range s.localWindows {
		if t := &s.localWindows[kind]; t.serviceUntil == 0 && t.until > 0 {
			t.serviceUntil = r.clock.toService(t.until)
		}
	}
}

// pendingUpdate is what this instance has to add to the slot's record.
func (r *Replica) pendingUpdate(s *slot, now clockReading, bounds health.TimeBounds) health.Update {
	r.prepareReport(s, now, bounds)
	r.dateWaits(s)
	n := health.Update{
		Owner: r.leaseOwner, Reporter: r.reporterID, Saturation: s.saturation, BasedOn: s.record.Circuit, Report: s.report,
		Misconfigured: s.misconfigured, ServedAt: r.objectionAt(s, now), Unreadable: s.unreadable,
		ClaimProbe: r.shouldClaimProbe(s, now, bounds), Probe: s.probe.result, Lease: s.probe.lease,
	}
	n.Windows.Generation = s.record.Windows.Generation
	for kind, t := range s.localWindows {
		if t.until > now.local && t.serviceUntil > 0 {
			n.Windows = n.Windows.Add(health.LimitKind(kind), health.ThrottleWindow{Until: t.serviceUntil, MaxTokens: t.maxTokens})
		}
	}
	return n
}

// prepareReport collects the failures since the last report into one that keeps its
// identity until it is seen in the table, so that writing it twice counts once.
// An instance reports at most a trip's worth: more would change nothing.
func (r *Replica) prepareReport(s *slot, now clockReading, bounds health.TimeBounds) {
	p := r.cfg.Breaker
	if s.report.Failures > 0 && s.record.Circuit.HasReport(s.report) {
		s.report = health.FailureReport{}
	}
	if s.unreportedFailures == 0 || s.report.Failures > 0 {
		return
	}
	reported := s.record.Circuit.FailuresReportedBy(r.reporterID, bounds, p)
	if reported >= p.Failures {
		s.unreportedFailures = 0
		return
	}
	failures := min(s.unreportedFailures, p.Failures-reported)
	if r.percentageReached(s, now) {
		failures = p.Failures - reported
	}
	s.report = health.FailureReport{Reporter: r.reporterID, At: bounds.Midpoint(), Failures: failures}
	s.unreportedFailures = 0
}

// objectionAt is the service's instant at which this instance was last served,
// if it saw no failure in the window: only then may it object to reports.
func (r *Replica) objectionAt(s *slot, now clockReading) int64 {
	served := s.servedAt.Load()
	if served == 0 || s.failures.since(now.local-r.cfg.Breaker.Interval, now.local) > 0 {
		return 0
	}
	return r.clock.toService(time.Duration(served))
}
