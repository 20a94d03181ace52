package fleet

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// sharedRow is the one shared row as last read. It holds the records that are not
// zero, in a column each, and is written whole.
type sharedRow struct {
	version  tablestore.Version // "" = the row does not exist
	columns  map[string]string  // all of them, those of other configurations and versions included; never written to
	foreign  []string           // those of the columns that hold records of slots that this instance does not have
	sequence uint64             // orders the row's states
	revision uint64             // counts its writes, for people
	adopted  time.Duration      // when this state was adopted
	read     time.Duration      // when the row was last read
}

// The columns besides the records. The sequence is at least the writer's
// millisecond, so that it grows even when the row was deleted meanwhile.
const (
	rowKey         = "health"
	revisionColumn = "rev"
	sequenceColumn = "seq"
)

// maxRecords is how many records the row holds: the service admits 252 columns
// (docs/shared-state.md#limits-and-cost). A record beyond them stays this
// instance's own; what is left is for operators' commands.
const maxRecords = 200

// partition is that of the shared row.
func (r *Replica) partition() string { return "fleet|" + r.cfg.Group }

// exchange makes one call with a deadline, measures it, and takes a sample of the
// service's clock from its response.
func (r *Replica) exchange(ctx context.Context, f func(context.Context) (tablestore.Response, error)) error {
	sent := r.readClocks()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	response, err := f(ctx)
	got := r.readClocks()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock.addSample(response.Date, sent, got)
	r.counters.recordExchange(got.local - sent.local)
	r.lastError = nil
	if err == nil || errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrNotFound) {
		r.contact(got)
		return err
	}
	r.lastError, r.retryAfter = err, min(response.RetryAfter, longestAsked)
	if r.retryAfter > 0 { // it asks for that whatever the call
		r.reads.at, r.writes.at = max(r.reads.at, got.local+r.retryAfter), max(r.writes.at, got.local+r.retryAfter)
	}
	if r.failingSince == 0 {
		r.failingSince = max(sent.local, 1)
	}
	return err
}

// contact records a response of the table.
func (r *Replica) contact(now clockReading) {
	until := now.local
	if r.idle(until) {
		until = min(until, time.Duration(r.traffic.Load())+r.cfg.IdleAfter)
	}
	if r.failingSince > 0 && until-r.failingSince > r.cfg.StaleAfter {
		r.counters.Outage += until - r.failingSince
	}
	r.lastContact, r.failingSince = now.local, 0
	if r.stopLocalProbing() {
		r.publishView(now)
	}
}

// The delays after errors: a table in trouble is called ever less often, and looked
// at again soon though it asks for more: a front end may ask for an hour.
const (
	firstRetry   = 500 * time.Millisecond
	lastRetry    = 10 * time.Second
	longestAsked = 30 * time.Second
)

// retry spaces the attempts at something that fails. The zero retry is due.
type retry struct {
	delay time.Duration
	at    time.Duration
}

func (w *retry) failed(now, asked, jitter time.Duration) {
	w.delay = min(max(2*w.delay, firstRetry), lastRetry)
	w.at = now + max(w.delay, asked) + jitter
}

func (w *retry) due(now time.Duration) bool { return now >= w.at }

// readRow reads the row; after a write that conflicted or whose outcome is unknown
// it shows whether that was applied (docs/shared-state.md#rules).
func (r *Replica) readRow(ctx context.Context) bool {
	var row tablestore.Row
	began := r.readClocks().local
	err := r.exchange(ctx, func(ctx context.Context) (response tablestore.Response, err error) {
		row, response, err = r.cfg.Store.Get(ctx, r.partition(), rowKey)
		return response, err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		r.counters.ReadFailures++
		r.reads.failed(now.local, r.retryAfter, r.jitter(firstRetry/4))
		return false
	}
	r.reads, r.row.read = retry{}, now.local
	if r.adopt(row, began, now) {
		r.publishView(now)
	}
	r.notifyReaders()
	return true
}

// commit tries one write, and reports whether the table confirmed it.
func (r *Replica) commit(ctx context.Context, row tablestore.Row) bool {
	var version tablestore.Version
	began := r.readClocks().local
	err := r.exchange(ctx, func(ctx context.Context) (response tablestore.Response, err error) {
		version, response, err = r.cfg.Store.Replace(ctx, row)
		return response, err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	r.counters.Writes++
	switch {
	case errors.Is(err, tablestore.ErrConflict):
		r.counters.Conflicts++
		r.writeFailed(nil)
		return false
	case err != nil:
		r.counters.UnknownOutcomes++
		r.writeFailed(err)
		r.writes.failed(now.local, r.retryAfter, r.jitter(firstRetry/4))
		return false
	}
	r.writes = retry{}
	r.writeFailed(nil)
	row.Version = version
	r.adopt(row, began, now)
	r.publishView(now)
	return true
}

// writeFailed notes whether this instance can write: one that can only read is in
// a state of its own. One response that is late does not tell that.
func (r *Replica) writeFailed(err error) {
	r.failedWrites++
	if err == nil {
		r.failedWrites = 0
	}
	if err == nil || r.failedWrites > 1 || errors.Is(err, tablestore.ErrRefused) {
		r.counters.WriteError = err
	}
}

// adopt makes a state of the row this instance's own, unless a later one is so
// already, and reports whether anything changed. began is when the read or write
// began that showed it. The caller holds the lock.
func (r *Replica) adopt(row tablestore.Row, began time.Duration, now clockReading) (changed bool) {
	if row.Version == r.row.version {
		return false
	}
	sequence, _ := strconv.ParseUint(row.Columns[sequenceColumn], 10, 64)
	if sequence <= r.row.sequence && began < r.row.adopted {
		return false // a command and Run read at once, and this is the older state
	}
	r.row.version, r.row.columns, r.row.adopted = row.Version, row.Columns, now.local
	r.row.sequence = max(r.row.sequence, sequence)
	if rev, err := strconv.ParseUint(row.Columns[revisionColumn], 10, 64); err == nil {
		r.row.revision = rev
	}
	r.row.foreign = r.foreignColumns(row.Columns)
	for i, s := range r.slots {
		if column := row.Columns[s.column]; column != s.storedColumn {
			s.storedColumn = column
			changed = r.adoptColumn(health.Slot(i), s, column, now) || changed
		}
	}
	if changed {
		r.changed = now.local
	}
	return changed
}

// foreignColumns are those that hold records of slots that this instance does not
// have.
func (r *Replica) foreignColumns(columns map[string]string) []string {
	var foreign []string
	for name := range columns {
		if strings.HasPrefix(name, columnPrefix) && r.slotOf(name) == nil {
			foreign = append(foreign, name)
		}
	}
	slices.Sort(foreign)
	return foreign
}

func (r *Replica) adoptColumn(i health.Slot, s *slot, column string, now clockReading) bool {
	var record health.Record
	var err error
	if column != "" {
		record, err = health.Decode(column)
	}
	if err == nil && r.tooFarAhead(record, now) {
		err = health.ErrUnreadable
	}
	s.newerVersion = err != nil && record.Newer()
	if err != nil {
		if !s.newerVersion && !s.unreadable {
			s.unreadable = true
			r.counters.UnreadableRecords++
		}
		return false
	}
	s.unreadable = false
	return r.adoptRecord(i, s, record, now)
}

// maxDeadlineAhead is how far ahead a deadline may be, in milliseconds. No version
// writes a later one, and it would close a backend for ever.
const maxDeadlineAhead = 26 * 60 * 60 * 1000

func (r *Replica) tooFarAhead(record health.Record, now clockReading) bool {
	limit := r.clock.toService(now.local) + maxDeadlineAhead
	far := max(record.Circuit.Until, record.Circuit.Leased) > limit || record.Circuit.Since > limit || record.Saturation.At > limit
	for _, t := range record.Windows.ByKind {
		far = far || t.Until > limit
	}
	return far
}

// adoptRecord replaces what is known of the slot.
func (r *Replica) adoptRecord(i health.Slot, s *slot, record health.Record, now clockReading) bool {
	before := s.record
	if record.Equal(before) {
		return false
	}
	s.record = record
	if at := record.Circuit.LastObjection; at > 0 {
		s.voidBefore = max(s.voidBefore, r.clock.toLocal(at))
	}
	if record.ResetAt > before.ResetAt {
		r.reset(s, now)
	}
	if record.Circuit.Epoch != before.Circuit.Epoch && (record.Circuit.State != health.Closed || before.Circuit.State != health.Closed) {
		r.circuitChanged(s, before.Circuit, now)
	}
	r.recordPropagation(s, before, now)
	if r.cfg.OnChange != nil {
		r.cfg.OnChange(i, before, record)
	}
	return true
}

// reset follows an operator's reset: what was seen before it is void.
func (r *Replica) reset(s *slot, now clockReading) {
	at := r.clock.toLocal(s.record.ResetAt)
	for kind := range s.localWindows {
		if s.localWindows[kind].received <= at {
			s.localWindows[kind] = localWindow{}
		}
	}
	s.own, s.publishOpen, s.lastTrips, s.ramp, s.brokeAfter = ownCircuit{}, false, 0, false, 0
	s.clearEvidence()
	s.changedAt = now.local
}

// circuitChanged follows a transition of the fleet's circuit.
func (r *Replica) circuitChanged(s *slot, before health.Circuit, now clockReading) {
	c := s.record.Circuit
	switch {
	case c.State == health.HalfOpen && r.ownsLease(c) && s.probe.holds(c):
		s.probe.renewed()
	case c.State == health.HalfOpen && r.ownsLease(c):
		s.probe = probe{stage: probeUnused, lease: c.Lease, taken: now.local}
		r.counters.Leases++
	default:
		s.probe = probe{}
	}
	s.publishOpen, s.objectAt = false, 0
	if c.State == health.Closed {
		r.fleetClosed(s, before, now)
		return
	}
	s.lastTrips = c.Trips
	s.noteBreaks()
	s.claimAfter = max(r.clock.toLocal(c.Until), now.local) + r.claimDelay(c)
	if before.State == health.Closed {
		r.counters.Trips++
	}
}

// fleetClosed follows the closing of the fleet's circuit. After an objection, this
// instance's own circuit stays: it is its way to the backend that fails. After a
// probe, every instance begins anew, with less traffic at first.
func (r *Replica) fleetClosed(s *slot, before health.Circuit, now clockReading) {
	if s.record.Circuit.LastObjection > 0 {
		return
	}
	if s.record.ResetAt <= before.Since {
		s.ramp, s.recoveredAt = before.Trips > 0, now.local
		s.lastTrips = before.Trips
	}
	s.own = ownCircuit{}
	s.clearEvidence()
	s.changedAt = now.local
}

// nextRow is the next state of the row with these records, at the version last
// read, without those that no instance needs any more. The caller holds the lock.
func (r *Replica) nextRow(records map[string]string, bounds health.TimeBounds) tablestore.Row {
	columns := maps.Clone(r.row.columns)
	if columns == nil {
		columns = map[string]string{}
	}
	for name, column := range r.row.columns {
		if strings.HasPrefix(name, columnPrefix) && r.unneeded(name, column, bounds) {
			delete(columns, name)
		}
	}
	maps.Copy(columns, records)
	columns[revisionColumn] = strconv.FormatUint(r.row.revision+1, 10)
	columns[sequenceColumn] = strconv.FormatUint(r.nextSequence(bounds), 10)
	return tablestore.Row{Partition: r.partition(), Key: rowKey, Version: r.row.version, Columns: columns}
}

// nextSequence is that of the next write.
func (r *Replica) nextSequence(bounds health.TimeBounds) uint64 {
	return max(r.row.sequence+1, uint64(max(bounds.Latest, 1)))
}

// unneeded reports whether a record says nothing any more: one of ours that all
// have seen, or one of a slot that nobody has any more.
func (r *Replica) unneeded(name, column string, bounds health.TimeBounds) bool {
	record, err := health.Decode(column)
	if err != nil {
		return false
	}
	if s := r.slotOf(name); s != nil {
		return record.Spent(bounds, r.seenAfter())
	}
	return record.Abandoned(bounds)
}

// seenAfter is after what time every instance with traffic has read a write.
func (r *Replica) seenAfter() time.Duration { return r.refreshBound() * 13 / 10 }

func (r *Replica) slotOf(column string) *slot {
	for _, s := range r.slots {
		if s.column == column {
			return s
		}
	}
	return nil
}
