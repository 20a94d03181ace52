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
func (k *Replica) mergeRow(n int, row tablestore.Row, now clockReading) (changed bool) {
	if row.Version == k.rows[n].version {
		return false // nobody wrote since
	}
	k.rows[n].version = row.Version
	if rev, err := strconv.ParseUint(row.Columns[revisionColumn], 10, 64); err == nil {
		k.rows[n].revision = rev
	}
	for i, s := range k.slots {
		column, ok := row.Columns[s.column]
		if s.row != n || !ok || column == s.storedColumn {
			continue
		}
		s.storedColumn = column
		if k.mergeColumn(health.Slot(i), s, column, now) {
			changed = true
		}
	}
	return changed
}

func (k *Replica) mergeColumn(i health.Slot, s *slot, column string, now clockReading) bool {
	record, err := health.Decode(column)
	if err == nil && k.tooFarAhead(record, now) {
		err = health.ErrUnreadable
	}
	s.newerVersion, s.replacementIncarnation = err != nil && record.Newer(), 0
	if err != nil {
		if !s.newerVersion && !s.unreadable {
			s.unreadable = true
			k.counters.UnreadableRecords++
		}
		return false
	}
	s.unreadable = false
	return k.applyRecord(i, s, record, now)
}

// maxDeadlineAhead is how far ahead a deadline may be; a later one was not written by
// any version and would hold a backend shut for ever.
const maxDeadlineAhead = 26 * 60 * 60 * 1000

func (k *Replica) tooFarAhead(r health.Record, now clockReading) bool {
	limit := k.clock.toService(now.local) + maxDeadlineAhead
	far := r.Circuit.Until > limit || r.Circuit.Since > limit || r.Saturation.At > limit
	for _, t := range r.Windows.ByKind {
		far = far || t.Until > limit
	}
	return far
}

// applyRecord joins a record to what is known of the slot.
func (k *Replica) applyRecord(i health.Slot, s *slot, r health.Record, now clockReading) bool {
	before := s.record
	s.record = before.Merge(r)
	if s.record.Equal(before) {
		return false
	}
	if !s.record.Circuit.SameEpoch(before.Circuit) {
		k.epochChanged(s, before.Circuit, now)
	}
	if s.record.Windows.Generation != before.Windows.Generation {
		s.localWindows = [len(s.localWindows)]localWindow{}
	}
	k.recordPropagation(s, before, now)
	if k.cfg.OnChange != nil {
		k.cfg.OnChange(i, before, s.record)
	}
	return true
}

// epochChanged drops what belonged to the former epoch: results of an older epoch
// never count (facts/table-state.md §3 rule 5).
func (k *Replica) epochChanged(s *slot, before health.Circuit, now clockReading) {
	c := s.record.Circuit
	kept := c.State == health.HalfOpen && k.ownsLease(c) && k.holdsLease(s, c)
	s.override = localOverride{}
	s.report, s.unreportedFailures, s.misconfigured = health.FailureReport{}, 0, false
	s.outcomes.clear()
	s.failures.clear()
	switch {
	case kept:
		s.probe.renewed()
	case c.State == health.HalfOpen && k.ownsLease(c):
		s.probe = probe{stage: probeUnused, incarnation: c.Incarnation, lease: c.Lease, taken: now.local}
		k.counters.Leases++
	default:
		s.probe = probe{}
	}
	if c.State != health.Closed {
		// The fleet's attempts to take the probe are spread over one refresh.
		s.claimAfter = max(k.clock.toLocal(c.Until), now.local) + k.jitter(k.refreshInterval(now.local))
	}
	if before.State == health.Closed && c.State == health.Open {
		k.counters.Trips++
	}
}

// ownsLease reports whether this very process took the lease, perhaps by a write
// whose answer was lost or that landed late: the nonce tells.
func (k *Replica) ownsLease(c health.Circuit) bool {
	return c.Owner == k.leaseOwner && k.nonces.has(c.Nonce)
}

// holdsLease reports whether the probe at hand is of that lease.
func (k *Replica) holdsLease(s *slot, c health.Circuit) bool {
	return s.probe.stage != probeNone && s.probe.incarnation == c.Incarnation && s.probe.lease == c.Lease
}
