package lease

import "time"

// Action is what an account would do with the table.
type Action uint8

// The actions.
const (
	Rest  Action = iota // nothing, until Step.At
	Read                // fetch the row of Step.Shard
	Write               // put Step.Body into it at Step.Version
)

// Step is one exchange with the table, or none. After a Read or a Write
// exactly one of DidRead, DidWrite, Conflicted and Failed follows.
type Step struct {
	Do      Action
	Shard   int
	Version string // Write: the version the body was made from; "" = there was no row
	Body    string
	At      time.Time // Rest: when to ask again; zero = when something happens
}

// zombie is how long a write that nobody answered may still land
// (facts/table-state.md §1).
const zombie = 31 * time.Second

// lag is how long spending is gathered before it is booked.
const lag = 20 * time.Millisecond

// Next says what to do now.
func (a *Account) Next(m Moment) Step {
	a.roll(m)
	w := &a.wire
	want, at := a.wants(m)
	switch {
	case !want && len(w.doubts) > 0:
		return a.clear(m)
	case !want:
		return Step{At: at}
	case m.At.Before(w.hold):
		return Step{At: w.hold}
	case !w.have || w.stale || a.curious || !w.trusted && m.At.Sub(w.read) > lag:
		return Step{Do: Read, Shard: a.shard}
	}
	op, ok := a.compose(m)
	if !ok {
		return a.usedUp(m)
	}
	w.flight = &op
	body := w.record.Rolled(a.window, a.limit()).Posted(op)
	return Step{Do: Write, Shard: a.shard, Version: w.version, Body: body.String()}
}

// clear looks whether a write of unknown outcome has landed: soon, then ever
// more seldom, until it cannot any more.
func (a *Account) clear(m Moment) Step {
	w := &a.wire
	if m.At.Sub(w.asked) > zombie {
		w.doubts = nil
		return Step{At: m.At.Add(lag)}
	}
	due := w.asked.Add(lag << min(w.looks, 11))
	if due.Before(w.hold) {
		due = w.hold
	}
	if m.At.Before(due) {
		return Step{At: due}
	}
	return Step{Do: Read, Shard: a.shard}
}

// usedUp follows a reading that left nothing to lease: another shard may have
// something; else the next look waits.
func (a *Account) usedUp(m Moment) Step {
	a.dead[a.shard] = a.window
	if other := a.otherShard(); other >= 0 && len(a.asks) > 0 && len(a.wire.doubts) == 0 {
		a.shard = other
		a.wire = wire{failures: a.wire.failures, good: a.wire.good, heard: a.wire.heard, seq: a.wire.seq}
		a.view.known = false
		return Step{Do: Read, Shard: a.shard}
	}
	a.wire.hold = m.At.Add(a.refresh() / 2)
	a.wire.stale = true
	return Step{At: a.wire.hold}
}

// Wants reports whether the account has business with the table now, and if
// not, when it may have; zero = when something happens.
func (a *Account) Wants(m Moment) (now bool, at time.Time) {
	a.roll(m)
	now, at = a.wants(m)
	if !now && len(a.wire.doubts) > 0 {
		return true, time.Time{}
	}
	return now, at
}

// wants reports whether there is anything to tell the table or to ask of it,
// and if not, when there may be.
func (a *Account) wants(m Moment) (want bool, at time.Time) {
	if a.credit > 0 && len(a.asks) == 0 && a.demand.idle(m.At) {
		a.owed = plus(a.owed, -a.credit)
		a.credit = 0
	}
	switch {
	case len(a.asks) > 0 && a.asked() > a.credit, a.owed < 0, a.late > 0 && a.owed == 0:
		return true, time.Time{}
	case a.owed > 0:
		due := a.demand.owed.Add(lag)
		return !m.At.Before(due), due
	case a.curious, a.prefetches(m):
		return true, time.Time{}
	case a.credit > 0:
		return false, a.demand.last.Add(idle)
	}
	return false, time.Time{}
}

func (a *Account) asked() int64 {
	var sum int64
	for _, x := range a.asks {
		sum = plus(sum, x.n)
	}
	return sum
}

// prefetches reports whether credit is low and the row is known to have more
// than a few requests for every instance.
func (a *Account) prefetches(m Moment) bool {
	if a.demand.last.IsZero() || a.demand.idle(m.At) || a.credit >= a.demand.low() {
		return false
	}
	left, _, ok := a.room(m)
	return ok && a.large(left, m)
}

// large reports whether an even share of what is left is worth leasing ahead
// of need. Where it is not, leases would strand what others could spend.
func (a *Account) large(left int64, m Moment) bool {
	return left/a.sharers(m) >= 4*max(1, a.demand.most)
}

// sharers is by how much a lease divides what is left: twice the instances
// that share the shard.
func (a *Account) sharers(m Moment) int64 {
	return 2 * int64(a.fleet(m))
}

// compose is the write that does everything at once: it books what was spent
// and leases what is needed. It reports false when there is nothing to write.
func (a *Account) compose(m Moment) (Op, bool) {
	a.demand.fold(m.At)
	record := a.wire.record.Rolled(a.window, a.limit())
	op := Op{Window: a.window, Owed: a.owed, Late: a.late}
	left := a.limit() - record.Posted(op).Granted
	op.Chunk = a.chunk(left, m)
	a.wire.seq++
	op.Nonce = record.nonce(a.ID, a.wire.seq)
	return op, op.Chunk > 0 || op.Owed != 0 || op.Late > 0
}

// chunk is how much to lease: what the waiting requests lack and, when there is
// plenty, some seconds of this instance's own demand, less as the row drains.
func (a *Account) chunk(left int64, m Moment) int64 {
	if left <= 0 {
		return 0
	}
	var need int64
	for _, x := range a.asks {
		if plus(need, x.n) <= plus(left, a.credit) {
			need = plus(need, x.n)
		}
	}
	chunk := max(0, need-a.credit)
	if a.large(left, m) && !a.demand.idle(m.At) {
		ahead := int64(a.demand.rate*a.horizon(m)) + a.demand.low() - a.credit
		chunk = max(chunk, min(ahead, left/a.sharers(m), a.largest()))
	}
	return min(chunk, left)
}

// horizon is how many seconds of demand a lease should last: so long that the
// instances of a shard write it ten times a second together.
func (a *Account) horizon(m Moment) float64 {
	if a.Terms.Period == Month {
		return 30
	}
	return max(1, float64(a.fleet(m))/10)
}

// largest is the most that is leased ahead: an instance that dies loses it
// until the window ends.
func (a *Account) largest() int64 {
	if a.Terms.Period == Month {
		return max(1, a.Terms.Limit/1000)
	}
	return a.limit()
}
