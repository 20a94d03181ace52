package fleet

import (
	"strconv"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// revisionColumn counts the writes of a shared row, so that people can see how
// far two instances are apart.
const revisionColumn = "rev"

// absorb takes in a row as it was read or written. Called with the lock held;
// it reports whether anything was news.
func (k *Keeper) absorb(n int, row tablestore.Row, now reading) (changed bool) {
	if row.Version == k.rows[n].version {
		return false // nobody wrote since
	}
	k.rows[n].version = row.Version
	if rev, err := strconv.ParseUint(row.Columns[revisionColumn], 10, 64); err == nil {
		k.rows[n].revision = rev
	}
	for i, s := range k.slots {
		column, ok := row.Columns[s.column]
		if s.row != n || !ok || column == s.stored {
			continue
		}
		s.stored = column
		if k.absorbColumn(health.Slot(i), s, column, now) {
			changed = true
		}
	}
	return changed
}

func (k *Keeper) absorbColumn(i health.Slot, s *slot, column string, now reading) bool {
	record, err := health.Decode(column)
	if err == nil && k.farOff(record, now) {
		err = health.ErrPoison
	}
	s.foreign, s.anew = err != nil && record.Newer(), 0
	if err != nil {
		if !s.foreign && !s.poison {
			s.poison = true
			k.count.Poisoned++
		}
		return false
	}
	s.poison = false
	return k.adopt(i, s, record, now)
}

// farthest is how far ahead a deadline may be; a later one was not written by
// any version and would hold a backend shut for ever.
const farthest = 26 * 60 * 60 * 1000

func (k *Keeper) farOff(r health.Record, now reading) bool {
	limit := k.clock.service(now.local) + farthest
	far := r.Circuit.Until > limit || r.Circuit.Since > limit || r.Mark.At > limit
	for _, t := range r.Windows.By {
		far = far || t.Until > limit
	}
	return far
}

// adopt joins a record to what is known of the slot.
func (k *Keeper) adopt(i health.Slot, s *slot, r health.Record, now reading) bool {
	before := s.record
	s.record = before.Join(r)
	if s.record.Equal(before) {
		return false
	}
	if !s.record.Circuit.SameEpoch(before.Circuit) {
		k.turned(s, before.Circuit, now)
	}
	if s.record.Windows.Generation != before.Windows.Generation {
		s.told = [len(s.told)]told{}
	}
	k.measure(s, before, now)
	if k.cfg.OnChange != nil {
		k.cfg.OnChange(i, before, s.record)
	}
	return true
}

// turned drops what belonged to the former epoch: results of an older epoch
// never count (facts/table-state.md §3 rule 5).
func (k *Keeper) turned(s *slot, before health.Circuit, now reading) {
	c := s.record.Circuit
	kept := c.Phase == health.HalfOpen && k.mine(c) && k.holds(s, c)
	s.own = overlay{}
	s.batch, s.fresh, s.doom = health.Suspect{}, 0, false
	s.asked.clear()
	s.failed.clear()
	switch {
	case kept:
		s.probe.renewed()
	case c.Phase == health.HalfOpen && k.mine(c):
		s.probe = probe{stage: probeUnused, incarnation: c.Incarnation, lease: c.Lease, taken: now.local}
		k.count.Leases++
	default:
		s.probe = probe{}
	}
	if c.Phase != health.Closed {
		// The fleet's attempts to take the probe are spread over one refresh.
		s.tryAt = max(k.clock.local(c.Until), now.local) + k.chance(k.period(now.local))
	}
	if before.Phase == health.Closed && c.Phase == health.Open {
		k.count.Trips++
	}
}

// mine reports whether this very process took the lease, perhaps by a write
// whose answer was lost or that landed late: the nonce tells.
func (k *Keeper) mine(c health.Circuit) bool { return c.Owner == k.owner && k.nonces.has(c.Nonce) }

// holds reports whether the probe at hand is of that lease.
func (k *Keeper) holds(s *slot, c health.Circuit) bool {
	return s.probe.stage != probeNone && s.probe.incarnation == c.Incarnation && s.probe.lease == c.Lease
}
