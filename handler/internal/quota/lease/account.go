package lease

import "time"

// LimitConfig are what is fixed about a limit. All instances must have the same, so
// they come from configuration alone.
type LimitConfig struct {
	Limit   int64 // units per window, over the fleet
	Period  Period
	Shards  int           // rows that share the limit; 0 = 1. A request cannot be larger than Limit/Shards
	Refresh time.Duration // how old knowledge of the row may be before it is asked again; 0 = 500 ms
}

// Largest is the largest request that there can be room for: one shard's share.
func (t LimitConfig) Largest() int64 { return t.Limit / int64(max(1, t.Shards)) }

// Moment is when something happens: the instant of this process's clock for
// ages and rates, and the window that the table's clock is in.
type Moment struct {
	At           time.Time
	Window       int64         // the window that has begun for certain: while in doubt, the earlier
	LatestWindow int64         // the latest window that could have begun
	WindowAge    time.Duration // since Window began
	Estimated    bool          // the table's clock is not known: the windows are those of this machine's clock
	Instances    int           // instances that may be spending too; 0 = not known
}

// Account is one instance's books of one shard set of one limit: what it has
// leased and not spent, what it has spent and not booked, and what it last saw
// of the row. It does no I/O: [Account.Next] says what it would do with the
// table, the Did methods tell it what came of it. It is not safe for
// concurrent use.
type Account struct {
	Config LimitConfig
	ID     string  // this instance, in nonces: unique in the fleet, short
	Jitter float64 // this instance's draw in [0,1): spreads shards and small shares over the fleet

	window       int64
	windowKnown  bool  // the table's clock told window
	credit       int64 // leased, unspent
	unbooked     int64 // spent in window, not booked; negative is being given back
	unbookedLate int64 // spent in windows that ended, not booked
	waiters      []waiter
	lastID       int

	demand      demand
	view        view
	notListedAt time.Time     // when the notice board last said that this limit is not nearly out
	exhausted   map[int]int64 // shards used up, and in which window
	shard       int
	started     bool

	row     rowState
	offline offlineShare

	announce     bool      // the board should hear of view
	writers      int       // instances that wrote the row lately
	reread       bool      // a refusal rested on an old look
	fleetRate    float64   // units per second that the fleet spends, as the row shows
	listedLeft   int64     // what the board said was left in the window listed
	listedWindow int64     // the window for which the board names this limit
	lowSince     time.Time // since when the row is known to be nearly out
}

type waiter struct {
	id int
	n  int64
}

// view is what this instance last learnt of the row.
type view struct {
	known     bool
	window    int64
	left      int64
	at        time.Time
	estimated bool // taken over from the window before
}

// Decision is what an account says to a request.
type Decision uint8

// The answers.
const (
	Granted  Decision = iota // spent: settle it later
	Denied                   // the window has not so much left
	TooLarge                 // no window will ever have so much
	Pending                  // only the table can tell: wait for the ticket
)

// Reserve spends n units if that is known to be within the limit. With Ask it
// returns a ticket, which [Account.Serve] or [Account.Withdraw] ends.
func (a *Account) Reserve(n int64, m Moment) (Decision, int) {
	n = Clamp(n)
	a.rollWindow(m)
	if n > a.limit() {
		return TooLarge, 0
	}
	a.demand.add(n, m.At)
	if answer := a.decide(n, m, len(a.waiters) == 0); answer != Pending {
		return answer, 0
	}
	a.lastID++
	a.waiters = append(a.waiters, waiter{a.lastID, n})
	return Pending, a.lastID
}

// decide answers out of what is known. A request behind others that wait takes
// nothing from them.
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

// keepReturning takes back credit that was about to be returned.
func (a *Account) keepReturning() {
	if a.unbooked < 0 && !a.row.writePending() {
		a.credit = addSaturating(a.credit, -a.unbooked)
		a.unbooked = 0
	}
}

// limit is the share of the shard.
func (a *Account) limit() int64 { return a.Config.Largest() }

func (a *Account) shards() int { return max(1, a.Config.Shards) }

func (a *Account) refresh() time.Duration {
	if a.Config.Refresh <= 0 {
		return 500 * time.Millisecond
	}
	return a.Config.Refresh
}

// rollWindow enters the window of m when that has begun: leases end with theirs. A
// window that only this machine's own clock told is left for the one that the
// table's clock tells, wherever that is.
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
	a.unbookedLate = addSaturating(a.unbookedLate, max(0, a.unbooked))
	a.credit, a.unbooked = 0, 0
	a.offline = offlineShare{}
	fresh := a.view.known && a.view.window == m.Window-1
	a.window = m.Window
	a.view = view{known: fresh, window: m.Window, left: a.limit() * 3 / 4, at: m.At.Add(-m.WindowAge), estimated: true}
}

// Settle replaces what a request of that window reserved by what it used.
// What an ended window did not need is worth nothing any more.
func (a *Account) Settle(window, reserved, used int64, m Moment) {
	reserved, used = Clamp(reserved), Clamp(used)
	a.rollWindow(m)
	switch {
	case window != a.window:
		a.unbookedLate = addSaturating(a.unbookedLate, max(0, used-reserved))
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
		a.demand.markUnbooked(m.At)
	}
}

// Release lets go of all credit: the instance is about to end.
func (a *Account) Release(m Moment) {
	a.rollWindow(m)
	a.unbooked = addSaturating(a.unbooked, -a.credit)
	a.credit = 0
}

// Shard is the row that the account is at.
func (a *Account) Shard() int { return a.shard }

// Window is the window that requests are charged to now.
func (a *Account) Window() int64 { return a.window }

// Resolved is a ticket that has ended.
type Resolved struct {
	Ticket   int
	Decision Decision // Yes or No
}

// Resolve ends the tickets that can be told: first come, first served.
func (a *Account) Resolve(m Moment) []Resolved {
	a.rollWindow(m)
	var served []Resolved
	for len(a.waiters) > 0 {
		head := a.waiters[0]
		answer := a.decide(head.n, m, true)
		if answer == Pending {
			break
		}
		served = append(served, Resolved{head.id, answer})
		a.waiters = a.waiters[1:]
	}
	return served
}

// Withdraw ends a ticket whose request has waited long enough, or has left.
// It reports whether the ticket was still waiting.
func (a *Account) Withdraw(ticket int) bool {
	for i, x := range a.waiters {
		if x.id == ticket {
			a.waiters = append(a.waiters[:i:i], a.waiters[i+1:]...)
			return true
		}
	}
	return false
}

// Expire ends a ticket whose request has waited as long as it may: what the table
// did not say in time is decided as if it were out of reach.
func (a *Account) Expire(ticket int, m Moment) Decision {
	a.rollWindow(m)
	for _, x := range a.waiters {
		if x.id != ticket {
			continue
		}
		a.Withdraw(ticket)
		if a.credit >= x.n {
			a.credit -= x.n
			return Granted
		}
		if a.row.unreachable(m.At) {
			return a.spendOffline(x.n, m)
		}
		return Denied
	}
	return Denied
}

// Status is what the caller is told about the limit: a good guess, never
// negative, never over the limit.
type Status struct {
	Limit     int64
	Remaining int64
	Window    int64
}

// Status reports the books as of m.
func (a *Account) Status(m Moment) Status {
	a.rollWindow(m)
	left := a.limit()
	if a.view.known && !a.view.estimated {
		left = addSaturating(a.view.left, a.credit-a.unbooked)
	} else {
		left = addSaturating(left, -a.unbooked)
	}
	left = min(max(0, left), a.limit())
	return Status{a.Config.Limit, left * int64(a.shards()), a.window}
}
