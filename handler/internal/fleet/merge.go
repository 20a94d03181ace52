package fleet

import (
	"strconv"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// mergeRow applies a row as it was read or written, and reports whether anything
// changed. The caller holds the lock.
func (r *Replica) mergeRow(n int, row tablestore.Row, now clockReading) (changed bool) {
	if row.Version == r.rows[n].version {
		return false // not written since
	}
	r.rows[n].version = row.Version
	if rev, err := strconv.ParseUint(row.Columns[revisionColumn], 10, 64); err == nil {
		r.rows[n].revision = rev
	}
	for i, s := range r.slots {
		column, ok := row.Columns[s.column]
		if s.row != n || !ok || column == s.storedColumn {
			continue
		}
		s.storedColumn = column
		if r.mergeColumn(health.Slot(i), s, column, now) {
			changed = true
		}
	}
	return changed
}

func (r *Replica) mergeColumn(i health.Slot, s *slot, column string, now clockReading) bool {
	record, err := health.Decode(column)
	if err == nil && r.tooFarAhead(record, now) {
		err = health.ErrUnreadable
	}
	s.newerVersion, s.replacementIncarnation = err != nil && record.Newer(), 0
	if err != nil {
		if !s.newerVersion && !s.unreadable {
			s.unreadable = true
			r.counters.UnreadableRecords++
		}
		return false
	}
	s.unreadable = false
	return r.applyRecord(i, s, record, now)
}

// maxDeadlineAhead is how far ahead a deadline may be, in milliseconds. No version
// writes a later one, and it would close a backend for ever.
const maxDeadlineAhead = 26 * 60 * 60 * 1000

func (r *Replica) tooFarAhead(record health.Record, now clockReading) bool {
	limit := r.clock.toService(now.local) + maxDeadlineAhead
	far := record.Circuit.Until > limit || record.Circuit.Since > limit || record.Saturation.At > limit
	for _, t := range record.Windows.ByKind {
		far = far || t.Until > limit
	}
	return far
}

// applyRecord merges a record into what is known of the slot.
func (r *Replica) applyRecord(i health.Slot, s *slot, record health.Record, now clockReading) bool {
	before := s.record
	s.record = before.Merge(record)
	if s.record.Equal(before) {
		return false
	}
	if !s.record.Circuit.SameEpoch(before.Circuit) {
		r.epochChanged(s, before.Circuit, now)
	}
	if s.record.Windows.Generation != before.Windows.Generation {
		s.localWindows = [len(s.localWindows)]localWindow{}
	}
	r.recordPropagation(s, before, now)
	if r.cfg.OnChange != nil {
		r.cfg.OnChange(i, before, s.record)
	}
	return true
}

// epochChanged drops what belonged to the former epoch: its outcomes do not count in
// the new one (docs/shared-state.md#rules).
func (r *Replica) epochChanged(s *slot, before health.Circuit, now clockReading) {
	c := s.record.Circuit
	kept := c.State == health.HalfOpen && r.ownsLease(c) && r.holdsLease(s, c)
	s.local = localOverride{}
	s.report, s.unreportedFailures, s.misconfigured = health.FailureReport{}, 0, false
	s.outcomes.clear()
	s.failures.clear()
	switch {
	case kept:
		s.probe.renewed()
	case c.State == health.HalfOpen && r.ownsLease(c):
		s.probe = probe{stage: probeUnused, incarnation: c.Incarnation, lease: c.Lease, taken: now.local}
		r.counters.Leases++
	default:
		s.probe = probe{}
	}
	if c.State != health.Closed {
		// The instances' attempts to claim the probe are spread over one refresh.
		s.claimAfter = max(r.clock.toLocal(c.Until), now.local) + r.jitter(r.refreshInterval(now.local))
	}
	if before.State == health.Closed && c.State == health.Open {
		r.counters.Trips++
	}
}
