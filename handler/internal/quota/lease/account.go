package lease

import "time"

// Account is one instance's account of one limit: what it has leased and not
// spent, what it has spent and not booked, and what it last read of the row. It
// does no I/O: [Account.Next] returns the next exchange with the table, and its
// outcome is passed to RowRead, WriteAccepted, WriteConflicted or
// ExchangeFailed. It is not safe for concurrent use.
type Account struct {
	Config LimitConfig
	ID     string  // of this instance, in nonces: unique in the fleet, short
	Jitter float64 // a random number in [0,1): spreads shards and small shares over the fleet

	window       int64
	windowKnown  bool  // window is by the table's clock
	credit       int64 // leased, unspent
	unbooked     int64 // spent in window, not booked; negative: to be returned
	unbookedLate int64 // spent in windows that ended, not booked; negative: to be returned
	spent        int64 // used in window by requests that ended, of a month, and not written; negative: corrected
	underWay     int64 // reserved by requests that have not ended; it moves to the next minute with them
	held         int64 // what the row says that this instance holds of a ceiling
	heldWindow   int64 // the window in which it wrote that
	leaving      bool  // nothing is to be held for later requests
	waiters      []waiter
	lastID       int

	demand      demand
	view        view
	notListedAt time.Time     // when the change feed last did not list this limit
	exhausted   map[int]int64 // shards used up, and in which window
	shard       int
	started     bool

	row     rowState
	offline offlineShare

	announce     bool      // the feed should list view
	writers      int       // instances that wrote the row lately
	reread       bool      // a refusal was based on an old view
	fleetRate    float64   // units per second that the fleet spends, by the row
	listedLeft   int64     // what was left in listedWindow, by the feed
	listedWindow int64     // the window for which the feed lists this limit
	lowSince     time.Time // since when the row is known to be nearly used up
}

type waiter struct {
	id int
	n  int64
}

// view is what this instance last read of the row.
type view struct {
	known     bool
	window    int64
	left      int64
	spent     int64
	at        time.Time
	estimated bool // derived from the window before
}

// Decision is the result of a reservation.
type Decision uint8

// The decisions.
const (
	Granted   Decision = iota // spent: settle it later
	Denied                    // the window has not enough left
	TooLarge                  // no window will ever have enough
	Pending                   // the table must be asked: wait for the ticket
	Undecided                 // nothing says whether the limit has enough left
)

// Refused reports whether the limit could not be spent from, but one day may be.
func (d Decision) Refused() bool { return d == Denied || d == Undecided }

// Reserve spends n units if that is known to be within the limit. With Pending
// it returns a ticket, which [Account.Resolve], [Account.Withdraw] or
// [Account.Expire] ends.
func (a *Account) Reserve(n int64, m Moment) (Decision, int) {
	n = Clamp(n)
	a.rollWindow(m)
	if n > a.limit() {
		return TooLarge, 0
	}
	a.demand.add(n, m.At)
	if decision := a.decide(n, m, len(a.waiters) == 0); decision != Pending {
		a.noteGrant(decision, n)
		return decision, 0
	}
	a.lastID++
	a.waiters = append(a.waiters, waiter{a.lastID, n})
	return Pending, a.lastID
}

// Exhausted reports whether a reservation of anything at all would be denied now. If
// that rests on an old view of the row, the row is read again.
func (a *Account) Exhausted(m Moment) bool {
	a.rollWindow(m)
	if a.credit > 0 || a.unbooked < 0 || len(a.waiters) > 0 || a.row.unreachable(m.At) {
		return false
	}
	return !a.canSpendAhead(1, m) && a.knownExhausted(1, m)
}

func (a *Account) noteGrant(d Decision, n int64) {
	if d == Granted {
		a.underWay = addSaturating(a.underWay, n)
	}
}

// decide decides from what is known. A request behind others that wait takes
// nothing before them.
func (a *Account) decide(n int64, m Moment, first bool) Decision {
	a.keepReturning()
	switch {
	case !first && !a.row.unreachable(m.At):
		return Pending
	case a.credit >= n:
		a.credit -= n
		return Granted
	case a.row.unreachable(m.At):
		return a.spendOffline(n, m)
	case a.canSpendAhead(n, m):
		a.unbooked = addSaturating(a.unbooked, n-a.credit)
		a.credit = 0
		a.demand.markUnbooked(m.At)
		return Granted
	case a.knownExhausted(n, m):
		return Denied
	}
	return Pending
}

// keepReturning keeps credit that was about to be returned.
func (a *Account) keepReturning() {
	if a.unbooked < 0 && !a.row.writePending() {
		a.credit = addSaturating(a.credit, -a.unbooked)
		a.unbooked = 0
	}
}

// limit is the share of one shard.
func (a *Account) limit() int64 { return a.Config.Largest() }

// capacity is how much of a window may be used without being carried into the next.
func (a *Account) capacity() int64 {
	if a.Config.Ceiling {
		return a.limit() / 2
	}
	return a.limit()
}

func (a *Account) shards() int { return max(1, a.Config.Shards) }

func (a *Account) refresh() time.Duration {
	if a.Config.Refresh <= 0 {
		return 500 * time.Millisecond
	}
	return a.Config.Refresh
}

// rollWindow enters the window of m when that has begun: leases end with their
// window. A window by this machine's own clock is left for the one by the
// table's clock, whichever that is.
func (a *Account) rollWindow(m Moment) {
	if !a.started {
		a.started = true
		a.shard = int(a.Jitter * float64(a.shards()))
		a.exhausted = map[int]int64{}
	}
	switch {
	case m.Estimated && a.windowKnown && !a.row.unreachable(m.At):
		return
	case m.Window <= a.window && (m.Estimated || a.windowKnown):
		return
	}
	a.windowKnown = !m.Estimated
	if m.Window == a.window {
		return
	}
	a.unbookedLate = addSaturating(a.unbookedLate, a.unbooked-a.credit)
	a.unbooked, a.spent = 0, 0
	a.carryUnderWay(m)
	a.offline = offlineShare{}
	// What was used up is often overspent, so that less than all of it is left afterwards;
	// of a ceiling others hold what is not known.
	fresh := a.view.known && a.view.window == m.Window-1 && a.view.left > 0 && !a.Config.Ceiling
	a.window = m.Window
	a.view = view{known: fresh, window: m.Window, left: a.limit() * 3 / 4, at: m.At.Add(-m.WindowAge), estimated: true}
}

// carryUnderWay moves what requests under way have reserved into the minute that
// begins: their tokens are spent in the minute in which they end. A month's are
// charged to the month in which they began. Of a ceiling the lease goes on as well: the
// row carries both (Record.Carried).
func (a *Account) carryUnderWay(m Moment) {
	if !a.Config.Ceiling {
		a.credit = 0
	}
	if a.Config.Period != Minute || a.underWay+a.credit <= 0 {
		return
	}
	a.unbookedLate = addSaturating(a.unbookedLate, -a.underWay)
	a.unbooked = addSaturating(a.underWay, a.credit)
	a.demand.markUnbooked(m.At)
}

// holdsTooMuch reports whether the row says that this instance holds what it held before
// the window, or what it needs no more.
func (a *Account) holdsTooMuch() bool {
	return a.held > 0 && a.heldWindow < a.window || a.leaving && a.held > a.underWay
}

// Resize changes what a request under way, reserved in that window, has reserved.
func (a *Account) Resize(window, from, to int64, m Moment) {
	a.replace(window, Clamp(from), Clamp(to), m)
	a.noteGrant(Granted, Clamp(to))
}

// Settle replaces what a request reserved in that window by what it used.
func (a *Account) Settle(window, reserved, used int64, m Moment) {
	reserved, used = Clamp(reserved), Clamp(used)
	a.replace(window, reserved, used, m)
	if a.Config.Period == Month && window == a.window {
		a.spent = addSaturating(a.spent, used)
	}
}

// Correct replaces what a request that has ended was charged in that window by what
// it turned out to use; spent is by how much that exceeds what [Account.Settle]
// counted as used.
func (a *Account) Correct(window, charged, used, spent int64, m Moment) {
	charged = Clamp(charged)
	a.underWay = addSaturating(a.underWay, charged) // replace takes it off
	a.replace(window, charged, Clamp(used), m)
	if a.Config.Period == Month && window == a.window {
		a.spent = addSaturating(a.spent, spent)
	}
}

// replace replaces what was reserved in that window by another amount.
func (a *Account) replace(window, reserved, used int64, m Moment) {
	a.rollWindow(m)
	a.underWay = max(0, a.underWay-reserved)
	switch {
	case window != a.window && a.Config.Period == Month:
		a.unbookedLate = addSaturating(a.unbookedLate, used-reserved)
	case used <= reserved:
		back := reserved - used
		booked := min(back, max(0, a.unbooked))
		a.unbooked -= booked
		a.credit = addSaturating(a.credit, back-booked)
	default:
		more := used - reserved
		paid := min(more, a.credit)
		a.credit -= paid
		a.unbooked = addSaturating(a.unbooked, more-paid)
		if a.offline.share != 0 {
			a.offline.spent = addSaturating(a.offline.spent, more-paid)
		}
		a.demand.markUnbooked(m.At)
	}
}

// Quiet reports whether the account may be forgotten: it owes the row nothing, and
// nobody waits for it.
func (a *Account) Quiet() bool {
	return a.credit == 0 && a.unbooked == 0 && a.unbookedLate == 0 && a.spent == 0 && a.underWay == 0 && a.held == 0 && len(a.waiters) == 0 && !a.row.writePending()
}

// AssumeUnreachable has the account decide without the table until that answers:
// it is known to be away.
func (a *Account) AssumeUnreachable() { a.row.failures = max(2, a.row.failures) }

// Release returns all credit: the instance is about to stop.
func (a *Account) Release(m Moment) {
	a.rollWindow(m)
	a.unbooked = addSaturating(a.unbooked, -a.credit)
	a.credit, a.leaving = 0, true
}

// GiveBack returns so much credit of that window, if there is as much: no request of this
// instance waits for it, and the row has too little left to lease ahead.
func (a *Account) GiveBack(window, n int64, m Moment) {
	if left, _, ok := a.knownLeft(m); ok && a.worthLeasing(left, m) {
		return
	}
	if window == a.window && len(a.waiters) == 0 {
		n = min(n, a.credit)
		a.credit -= n
		a.unbooked = addSaturating(a.unbooked, -n)
	}
}

// Retire returns all credit, as if the account had been idle: no more is leased unless
// units are reserved.
func (a *Account) Retire(m Moment) {
	a.Release(m)
	a.demand.last = time.Time{}
}

// Shard is the row that the account uses.
func (a *Account) Shard() int { return a.shard }

// Roll enters the window of m, as every other method does.
func (a *Account) Roll(m Moment) { a.rollWindow(m) }

// Window is the window that requests are charged to.
func (a *Account) Window() int64 { return a.window }

// Resolved is a ticket that has ended.
type Resolved struct {
	Ticket   int
	Decision Decision // Granted or Denied
}

// Resolve ends the tickets that can be decided: first come, first served.
func (a *Account) Resolve(m Moment) []Resolved {
	a.rollWindow(m)
	var served []Resolved
	for len(a.waiters) > 0 {
		first := a.waiters[0]
		decision := a.decide(first.n, m, true)
		if decision == Pending {
			break
		}
		a.noteGrant(decision, first.n)
		served = append(served, Resolved{first.id, decision})
		a.waiters = a.waiters[1:]
	}
	return served
}

// Withdraw ends a ticket whose request no longer waits. It reports whether the
// ticket was waiting.
func (a *Account) Withdraw(ticket int) bool {
	for i, x := range a.waiters {
		if x.id == ticket {
			a.waiters = append(a.waiters[:i:i], a.waiters[i+1:]...)
			return true
		}
	}
	return false
}

// Expire ends a ticket whose request has waited as long as it may: where nothing
// that is known decides it, it is served from what the instance may spend without the
// table, or Undecided.
func (a *Account) Expire(ticket int, m Moment) Decision {
	a.rollWindow(m)
	for _, x := range a.waiters {
		if x.id != ticket {
			continue
		}
		a.Withdraw(ticket)
		decision := a.decide(x.n, m, true)
		if decision == Pending {
			decision = a.spendLate(x.n, m)
		}
		a.noteGrant(decision, x.n)
		return decision
	}
	return Undecided
}

// Status is what a caller may know of the limit: an estimate, between 0 and the
// limit.
type Status struct {
	Limit     int64
	Remaining int64
	Spent     int64 // by requests that ended, of a month
	UnderWay  int64 // reserved by this instance's requests that have not ended
	Window    int64
}

// Status returns the status as of m. What the fleet may have spent since the row
// was read is taken off what is left of a minute, so that a caller is not promised
// what it cannot have.
func (a *Account) Status(m Moment) Status {
	a.rollWindow(m)
	left := a.limit()
	if a.view.known && !a.view.estimated {
		left = addSaturating(a.view.left, a.credit-a.unbooked)
		if a.Config.Period == Minute && a.instances(m) > 1 {
			left -= int64(a.fleetRate * max(0, m.At.Sub(a.view.at)).Seconds())
		}
	} else {
		left = addSaturating(left, -a.unbooked)
	}
	left = min(max(0, left), a.limit())
	return Status{Limit: a.Config.Limit, Remaining: left * int64(a.shards()), Spent: Clamp(addSaturating(a.view.spent, a.spent)), UnderWay: a.underWay, Window: a.window}
}
