package lease

import "time"

// Action is what an account would do with the table.
type Action uint8

// The actions.
const (
	Idle  Action = iota // nothing, until Step.WakeAt
	Read                // read the row of Step.Shard
	Write               // write Step.Body to it, against Step.Version
)

// Step is one exchange with the table, or none. After a Read or a Write exactly
// one of RowRead, WriteAccepted, WriteConflicted and ExchangeFailed follows.
type Step struct {
	Action  Action
	Shard   int
	Version string // Write: the version the body was made from; "" = there was no row
	Body    string
	WakeAt  time.Time // Idle: when to call Next again; zero = after the next event
}

// lateWriteLimit is how long a write without an answer may still land
// (docs/shared-state.md#what-the-table-does).
const lateWriteLimit = 31 * time.Second

// bookDelay is how long spending is gathered before it is booked.
const bookDelay = 20 * time.Millisecond

// Next returns the next exchange.
func (a *Account) Next(m Moment) Step {
	a.rollWindow(m)
	w := &a.row
	want, at := a.hasWork(m)
	switch {
	case !want && len(w.uncertain) > 0:
		return a.resolveUncertain(m)
	case !want:
		return Step{WakeAt: at}
	case m.At.Before(w.holdUntil):
		return Step{WakeAt: w.holdUntil}
	case !w.have || w.stale || a.reread || !w.trusted && m.At.Sub(w.lastRead) > bookDelay:
		return Step{Action: Read, Shard: a.shard}
	}
	op, ok := a.composeWrite(m)
	if !ok {
		return a.shardExhausted(m)
	}
	w.inFlight = &op
	body := w.record.RolledTo(a.window, a.capacity()).Applied(op)
	return Step{Action: Write, Shard: a.shard, Version: w.version, Body: body.String()}
}

// resolveUncertain reads whether a write of unknown outcome has landed: soon,
// then less and less often, until it no longer can.
func (a *Account) resolveUncertain(m Moment) Step {
	w := &a.row
	if m.At.Sub(w.uncertainSince) > lateWriteLimit {
		w.uncertain = nil
		return Step{WakeAt: m.At.Add(bookDelay)}
	}
	due := w.uncertainSince.Add(bookDelay << min(w.rereads, 11))
	if due.Before(w.holdUntil) {
		due = w.holdUntil
	}
	if m.At.Before(due) {
		return Step{WakeAt: due}
	}
	return Step{Action: Read, Shard: a.shard}
}

// shardExhausted follows a read that left nothing to lease: another shard may
// have something; otherwise the next read waits.
func (a *Account) shardExhausted(m Moment) Step {
	a.exhausted[a.shard] = a.window
	if other := a.otherShard(); other >= 0 && len(a.waiters) > 0 && len(a.row.uncertain) == 0 {
		a.shard = other
		a.row = rowState{failures: a.row.failures, lastReply: a.row.lastReply, lastFeed: a.row.lastFeed, seq: a.row.seq}
		a.view.known = false
		return Step{Action: Read, Shard: a.shard}
	}
	a.row.holdUntil = m.At.Add(a.refresh() / 2)
	a.row.stale = true
	return Step{WakeAt: a.row.holdUntil}
}

// HasWork reports whether the account has an exchange to make now, and if not,
// when it may; zero = after the next event.
func (a *Account) HasWork(m Moment) (now bool, at time.Time) {
	a.rollWindow(m)
	now, at = a.hasWork(m)
	if !now && len(a.row.uncertain) > 0 {
		return true, time.Time{}
	}
	return now, at
}

// hasWork reports whether there is anything to write or to read, and if not,
// when there may be.
func (a *Account) hasWork(m Moment) (want bool, at time.Time) {
	if a.credit > 0 && len(a.waiters) == 0 && a.demand.idle(m.At) {
		a.unbooked = addSaturating(a.unbooked, -a.credit)
		a.credit = 0
	}
	switch {
	case len(a.waiters) > 0 && a.waitingTotal() > a.credit, a.unbooked < 0, a.unbookedLate > 0 && a.unbooked == 0, a.holdsTooMuch() && a.unbooked == 0:
		return true, time.Time{}
	case a.unbooked > 0:
		due := a.demand.unbookedSince.Add(bookDelay)
		return !m.At.Before(due), due
	case a.reread, a.prefetches(m):
		return true, time.Time{}
	case a.credit > 0:
		return false, a.demand.last.Add(idleAfter)
	case a.spent != 0:
		due := a.demand.last.Add(idleAfter)
		return !m.At.Before(due), due
	case a.held > 0 && !a.leaving:
		return false, m.At.Add(m.UntilEnd(a.Config.Period, m.Window))
	}
	return false, time.Time{}
}

func (a *Account) waitingTotal() int64 {
	var sum int64
	for _, x := range a.waiters {
		sum = addSaturating(sum, x.n)
	}
	return sum
}

// prefetches reports whether credit is low and the row is known to have more
// than a few requests for every instance.
func (a *Account) prefetches(m Moment) bool {
	if a.demand.last.IsZero() || a.demand.idle(m.At) || a.credit >= a.demand.refillBelow() {
		return false
	}
	left, _, ok := a.knownLeft(m)
	return ok && a.worthLeasing(left, m)
}

// worthLeasing reports whether an even share of what is left is worth leasing
// ahead of need. Where it is not, leases would withhold what others could
// spend.
func (a *Account) worthLeasing(left int64, m Moment) bool {
	return left/a.leaseDivisor(m) >= 4*max(1, a.demand.largest)
}

// leaseDivisor is what a lease divides the rest by: twice the instances that
// share the shard.
func (a *Account) leaseDivisor(m Moment) int64 {
	return 2 * int64(a.instances(m))
}

// composeWrite returns the write that books what was spent and leases what is
// needed. It returns false when there is nothing to write.
func (a *Account) composeWrite(m Moment) (Op, bool) {
	a.demand.update(m.At)
	record := a.row.record.RolledTo(a.window, a.capacity())
	op := Op{Window: a.window, Limit: a.capacity(), Booked: a.unbooked, BookedLate: a.unbookedLate, Spent: a.spent, AllWrote: a.allWrote(m)}
	a.row.seq++
	op.Nonce = record.nonce(a.ID, a.row.seq)
	left := a.limit() - record.Applied(op).Granted
	op.Chunk = a.chunk(left, m)
	if a.Config.Ceiling {
		op.Held = addSaturating(a.underWay, addSaturating(a.credit, op.Chunk))
	}
	return op, op.Chunk > 0 || op.Booked != 0 || op.BookedLate > 0 || op.Spent != 0 || a.holdsTooMuch()
}

// claimTime is the age of a window at which all instances that hold something have
// written in it: they do so when it begins.
const claimTime = 3 * time.Second

func (a *Account) allWrote(m Moment) bool { return m.Window == a.window && m.WindowAge > claimTime }

// chunk is how much to lease: what the waiting requests lack and, when there is
// plenty, some seconds of this instance's own demand, less as the row drains.
func (a *Account) chunk(left int64, m Moment) int64 {
	if left <= 0 {
		return 0
	}
	var need int64
	for _, x := range a.waiters {
		if addSaturating(need, x.n) <= addSaturating(left, a.credit) {
			need = addSaturating(need, x.n)
		}
	}
	chunk := max(0, need-a.credit)
	if a.worthLeasing(left, m) && !a.demand.idle(m.At) {
		ahead := int64(a.demand.rate*a.leaseSeconds(m)) + a.demand.refillBelow() - a.credit
		chunk = max(chunk, min(ahead, left/a.leaseDivisor(m), a.maxLease()))
	}
	return min(chunk, left)
}

// leaseSeconds is how many seconds of demand a lease should last: so long that
// the instances of a shard together write it ten times a second.
func (a *Account) leaseSeconds(m Moment) float64 {
	if a.Config.Period == Month {
		return 30
	}
	return max(1, float64(a.instances(m))/10)
}

// maxLease is the most that is leased ahead: an instance that crashes loses it
// until the window ends.
func (a *Account) maxLease() int64 {
	if a.Config.Period == Month {
		return max(1, a.Config.Limit/1000)
	}
	return a.limit()
}

// rowState is the account's state of its exchanges with one row.
type rowState struct {
	have           bool   // record and version are what was last read or written
	stale          bool   // another instance may have written since
	trusted        bool   // the last write against a remembered version was accepted
	version        string // of record
	record         Record
	inFlight       *Op       // written, not answered yet
	uncertain      []Op      // written with unknown outcome; all against uncertainBase
	uncertainBase  string    // the version that the uncertain writes were made against
	uncertainSince time.Time // when the first of the uncertain writes was made
	rereads        int       // reads since then
	holdUntil      time.Time // no exchange before
	conflicts      int       // conflicts in a row
	failures       int       // exchanges without an answer, in a row
	lastReply      time.Time // of the last answer
	lastFeed       time.Time // of the last read of the feed
	lastRead       time.Time // of the last read
	seq            uint64
}

// writePending reports whether a write is in flight, or may be.
func (w *rowState) writePending() bool { return w.inFlight != nil || len(w.uncertain) > 0 }

// unreachable reports whether the table has been unreachable for long enough to
// decide without it: neither the row nor the feed has answered.
func (w *rowState) unreachable(at time.Time) bool {
	return w.failures >= 2 && at.Sub(w.lastReply) > time.Second && at.Sub(w.lastFeed) > time.Second
}

// RowRead takes over the row as read; version "" is no row. It returns
// [ErrInvalidRecord] when the row is invalid: then what this instance knew of
// it replaces it.
func (a *Account) RowRead(version, body string, m Moment) error {
	w := &a.row
	record, err := Parse(body)
	if err == nil && record.Window > m.LatestWindow+1 {
		err = ErrInvalidRecord
	}
	if err != nil {
		record = w.record
		record.Window = min(record.Window, m.LatestWindow)
	}
	a.noteReply(m)
	w.lastRead = m.At
	w.rereads++
	if record.Window > m.Window {
		m.Window, m.Estimated = record.Window, false
	}
	a.rollWindow(m)
	if len(w.uncertain) > 0 && version != w.uncertainBase {
		a.settleUncertain(record)
	}
	w.have, w.stale, w.version, w.record = true, false, version, record
	a.observeRow(record, m)
	return err
}

// settleUncertain ends the uncertain writes: the row has changed from the
// version they were made against, so one of them did it, or none ever will.
func (a *Account) settleUncertain(now Record) {
	for _, op := range a.row.uncertain {
		if now.Contains(op.Nonce) {
			a.applyLanded(op)
			break
		}
	}
	a.row.uncertain = nil
}

// applyLanded accounts for an operation that is in the row.
func (a *Account) applyLanded(op Op) {
	if op.Window == a.window {
		a.credit = addSaturating(a.credit, op.Chunk)
		a.unbooked = addSaturating(a.unbooked, -op.Booked)
		a.spent = addSaturating(a.spent, -op.Spent)
	} else { // what was leased of a window that has ended is returned
		a.unbookedLate = addSaturating(a.unbookedLate, -op.Booked-op.Chunk)
	}
	a.unbookedLate = addSaturating(a.unbookedLate, -op.BookedLate)
	a.held, a.heldWindow = op.Held, op.Window
	if a.unbooked <= 0 && a.unbookedLate <= 0 {
		a.demand.unbookedSince = time.Time{}
	}
}

// WriteAccepted records that the write of the last step was accepted.
func (a *Account) WriteAccepted(version string, m Moment) {
	w := &a.row
	a.noteReply(m)
	op := *w.inFlight
	rolled := w.record.Window != op.Window
	before := w.record.RolledTo(op.Window, a.capacity())
	w.record = before.Applied(op)
	w.version, w.stale, w.trusted, w.conflicts = version, false, true, 0
	w.inFlight, w.uncertain = nil, nil
	w.holdUntil = m.At.Add(10 * time.Millisecond)
	a.rollWindow(m)
	a.applyLanded(op)
	a.observeRow(w.record, m)
	a.announceCrossing(before, rolled)
}

// WriteConflicted records that another writer, or an earlier write of this
// instance, came first. random is in [0,1).
func (a *Account) WriteConflicted(m Moment, random float64) {
	w := &a.row
	a.noteReply(m)
	a.markUncertain(m)
	w.trusted = false
	w.conflicts++
	pause := time.Duration(random * float64(int(10)<<min(w.conflicts, 5)) * float64(time.Millisecond))
	w.holdUntil = m.At.Add(pause)
}

// ExchangeFailed records that no answer came: a write may have landed, or may
// still land. random is in [0,1).
func (a *Account) ExchangeFailed(m Moment, random float64) {
	w := &a.row
	w.failures++
	if w.inFlight != nil {
		a.markUncertain(m)
	}
	w.stale, w.trusted, a.reread = true, false, false // the next refusal asks again
	pause := 25 * time.Millisecond << min(w.failures, 5)
	w.holdUntil = m.At.Add(pause/2 + time.Duration(random*float64(pause)))
}

func (a *Account) markUncertain(m Moment) {
	w := &a.row
	if len(w.uncertain) == 0 {
		w.uncertainBase, w.uncertainSince, w.rereads = w.version, m.At, 0
	}
	w.uncertain = append(w.uncertain, *w.inFlight)
	w.inFlight, w.stale = nil, true
}

func (a *Account) noteReply(m Moment) {
	a.row.failures, a.row.lastReply = 0, m.At
	if a.Config.Period == Month && a.unbooked <= 0 {
		a.offline = offlineShare{}
	}
}
