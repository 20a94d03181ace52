package fleet

import (
	"strconv"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// revisionColumn counts the writes of a shared row, so that people can see how
// far two instances are apart.
const revisionColumn = "rev"

// mergeRow takes in a row as it was read or written. Called with the lock held;
// it reports whether anything was news.
func (r *Replica) mergeRow(n int, row tablestore.Row, now clockReading) (changed bool) {
	if row.Version == r.rows[n].version {
		return false // nobody wrote since
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

// maxDeadlineAhead is how far ahead a deadline may be; a later one was not written by
// any version and would hold a backend shut for ever.
const maxDeadlineAhead = 26 * 60 * 60 * 1000

func (r *Replica) tooFarAhead(record health.Record, now clockReading) bool {
	limit := r.clock.toService(now.local) + maxDeadlineAhead
	far := record.Circuit.Until > limit || record.Circuit.Since > limit || record.Saturation.At > limit
	for _, t := range record.Windows.ByKind {
		far = far || t.Until > limit
	}
	return far
}

// applyRecord joins a record to what is known of the slot.
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

// epochChanged drops what belonged to the former epoch: results of an older epoch
// never count (facts/table-state.md §3 rule 5).
func (r *Replica) epochChanged(s *slot, before health.Circuit, now clockReading) {
	c := s.record.Circuit
	kept := c.State == health.HalfOpen && r.ownsLease(c) && r.holdsLease(s, c)
	s.override = localOverride{}
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
		// The fleet's attempts to take the probe are spread over one refresh.
		s.claimAfter = max(r.clock.toLocal(c.Until), now.local) + r.jitter(r.refreshInterval(now.local))
	}
	if before.State == health.Closed && c.State == health.Open {
		r.counters.Trips++
	}
}

// ownsLease reports whether this very process took the lease, perhaps by a write
// whose answer was lost or that landed late: the nonce tells.
func (r *Replica) ownsLease(c health.Circuit) bool {
	return c.Owner == r.leaseOwner && r.nonces.has(c.Nonce)
}

// holdsLease reports whether the probe at hand is of that lease.
func (r *Replica) holdsLease(s *slot, c health.Circuit) bool {
	return s.probe.stage != probeNone && s.probe.incarnation == c.Incarnation && s.probe.lease == c.Lease
}
