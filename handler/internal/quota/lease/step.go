package lease

import "time"

// Action is what an account would do with the table.
type Action uint8

// The actions.
const (
	Idle  Action = iota // nothing, until Step.At
	Read                // fetch the row of Step.Shard
	Write               // put Step.Body into it at Step.Version
)

// Step is one exchange with the table, or none. After a Read or a Write
// exactly one of DidRead, DidWrite, Conflicted and Failed follows.
type Step struct {
	Action  Action
	Shard   int
	Version string // Write: the version the body was made from; "" = there was no row
	Body    string
	WakeAt  time.Time // Rest: when to ask again; zero = when something happens
}

// lateWriteLimit is how long a write that nobody answered may still land
// (facts/table-state.md §1).
const lateWriteLimit = 31 * time.Second

// bookDelay is how long spending is gathered before it is booked.
const bookDelay = 20 * time.Millisecond

// Next says what to do now.
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
	body := w.record.RolledTo(a.window, a.limit()).Applied(op)
	return Step{Action: Write, Shard: a.shard, Version: w.version, Body: body.String()}
}

// resolveUncertain looks whether a write of unknown outcome has landed: soon, then ever
// more seldom, until it cannot any more.
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

// shardExhausted follows a reading that left nothing to lease: another shard may have
// something; else the next look waits.
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

// HasWork reports whether the account has business with the table now, and if
// not, when it may have; zero = when something happens.
func (a *Account) HasWork(m Moment) (now bool, at time.Time) {
	a.rollWindow(m)
	now, at = a.hasWork(m)
	if !now && len(a.row.uncertain) > 0 {
		return true, time.Time{}
	}
	return now, at
}

// hasWork reports whether there is anything to tell the table or to ask of it,
// and if not, when there may be.
func (a *Account) hasWork(m Moment) (want bool, at time.Time) {
	if a.credit > 0 && len(a.waiters) == 0 && a.demand.idle(m.At) {
		a.unbooked = addSaturating(a.unbooked, -a.credit)
		a.credit = 0
	}
	switch {
	case len(a.waiters) > 0 && a.waitingTotal() > a.credit, a.unbooked < 0, a.unbookedLate > 0 && a.unbooked == 0:
		return true, time.Time{}
	case a.unbooked > 0:
		due := a.demand.unbookedSince.Add(bookDelay)
		return !m.At.Before(due), due
	case a.reread, a.prefetches(m):
		return true, time.Time{}
	case a.credit > 0:
		return false, a.demand.last.Add(idleAfter)
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

// worthLeasing reports whether an even share of what is left is worth leasing ahead
// of need. Where it is not, leases would strand what others could spend.
func (a *Account) worthLeasing(left int64, m Moment) bool {
	return left/a.leaseDivisor(m) >= 4*max(1, a.demand.largest)
}

// leaseDivisor is by how much a lease divides what is left: twice the instances
// that share the shard.
func (a *Account) leaseDivisor(m Moment) int64 {
	return 2 * int64(a.instances(m))
}

// composeWrite is the write that does everything at once: it books what was spent
// and leases what is needed. It reports false when there is nothing to write.
func (a *Account) composeWrite(m Moment) (Op, bool) {
	a.demand.update(m.At)
	record := a.row.record.RolledTo(a.window, a.limit())
	op := Op{Window: a.window, Booked: a.unbooked, BookedLate: a.unbookedLate}
	left := a.limit() - record.Applied(op).Granted
	op.Chunk = a.chunk(left, m)
	a.row.seq++
	op.Nonce = record.nonce(a.ID, a.row.seq)
	return op, op.Chunk > 0 || op.Booked != 0 || op.BookedLate > 0
}

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

// leaseSeconds is how many seconds of demand a lease should last: so long that the
// instances of a shard write it ten times a second together.
func (a *Account) leaseSeconds(m Moment) float64 {
	if a.Config.Period == Month {
		return 30
	}
	return max(1, float64(a.instances(m))/10)
}

// maxLease is the most that is leased ahead: an instance that dies loses it
// until the window ends.
func (a *Account) maxLease() int64 {
	if a.Config.Period == Month {
		return max(1, a.Config.Limit/1000)
	}
	return a.limit()
}
