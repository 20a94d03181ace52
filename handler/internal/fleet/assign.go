package fleet

import (
	"slices"
	"time"

	"spillway/handler/internal/health"
)

// Spare is a slot without a name, of no backend, that Assign can use.
const Spare = ""

// Assign makes a slot, which no request uses, that of a backend and model. What is
// known of the same deployment by another slot goes on in this one; the other one is
// a spare from now on, and what requests under way still report of it changes nothing
// but its counters.
func (r *Replica) Assign(n health.Slot, name, identity string, breaker health.BreakerPolicy, throttle health.ThrottlePolicy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	s := newSlot(name, identity, breaker.WithDefaults(), throttle.WithDefaults())
	if old := r.slotOf(s.column); old != nil {
		s.inherit(old)
		old.retire()
	}
	r.slots[n] = s
	if column := r.row.columns[s.column]; column != s.storedColumn {
		s.storedColumn = column
		r.adoptColumn(n, s, column, now)
	}
	r.row.foreign = r.foreignColumns(r.row.columns)
	r.publishView(now)
}

// Drop makes a slot, which no new request uses, a spare: its deployment is
// configured no more.
func (r *Replica) Drop(n health.Slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots[n].retire()
	r.row.foreign = r.foreignColumns(r.row.columns)
}

// spare reports whether the slot is of no deployment: its record is not written, and
// no command names it.
func (s *slot) spare() bool { return s.column == "" }

func (s *slot) retire() {
	s.name, s.column, s.storedColumn, s.probe = Spare, "", "", probe{}
}

// inherit takes over what is known of the deployment. A probe under way ends with
// the lease: its request reports to the old slot.
func (s *slot) inherit(old *slot) {
	s.storedColumn, s.record, s.unreadable, s.newerVersion = old.storedColumn, old.record, old.unreadable, old.newerVersion
	s.localWindows, s.models, s.saturation, s.evidence, s.own = old.localWindows, old.models, old.saturation, old.evidence.Clone(), old.own
	s.own.probe = 0
	s.leftOut, s.publishOpen, s.claimAfter, s.objectAt = old.leftOut, old.publishOpen, old.claimAfter, old.objectAt
	s.changedAt, s.voidBefore, s.recoveredAt, s.ramp = old.changedAt, old.voidBefore, old.recoveredAt, old.ramp
	s.lastTrips, s.brokeAfter, s.lastFailer, s.reason = old.lastTrips, old.brokeAfter, old.lastFailer, old.reason
	s.silent = slices.Clone(old.silent)
	s.demandedAt.Store(old.demandedAt.Load())
	s.servedAt.Store(old.servedAt.Load())
	s.servedSince.Store(old.servedSince.Load())
	s.servedFrom.Store(old.servedFrom.Load())
	s.ended.Store(old.ended.Load())
	s.begun.Store(old.begun.Load()) // what is under way reports to the old slot
	s.decided.Store(old.begun.Load())
	s.sent.inherit(&old.sent)
	s.served.inherit(&old.served)
}

// inherit counts what was counted in another window, at the end of its slices.
func (w *windowCounter) inherit(old *windowCounter) {
	for i := range old.cells {
		end := time.Duration(old.cells[i].slice.Load()) * old.slice
		if n := int64(max(end-1, 0)/w.slice) + 1; end > 0 && w.cells[n%int64(len(w.cells))].slice.Load() <= n {
			w.add(end-1, old.cells[i].count.Load())
		}
	}
}
