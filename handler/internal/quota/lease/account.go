package lease

import "time"

// Terms are what is fixed about a limit. All instances must have the same, so
// they come from configuration alone.
type Terms struct {
	Limit   int64 // units per window, over the fleet
	Period  Period
	Shards  int           // rows that share the limit; 0 = 1. A request cannot be larger than Limit/Shards
	Refresh time.Duration // how old knowledge of the row may be before it is asked again; 0 = 500 ms
}

// Largest is the largest request that there can be room for: one shard's share.
func (t Terms) Largest() int64 { return t.Limit / int64(max(1, t.Shards)) }

// Moment is when something happens: the instant of this process's clock for
// ages and rates, and the window that the table's clock is in.
type Moment struct {
	At     time.Time
	Window int64         // the window that has begun for certain: while in doubt, the earlier
	Latest int64         // the latest window that could have begun
	Age    time.Duration // since Window began
	Guess  bool          // the table's clock is not known: the windows are those of this machine's clock
	Fleet  int           // instances that may be spending too; 0 = not known
}

// Account is one instance's books of one shard set of one limit: what it has
// leased and not spent, what it has spent and not booked, and what it last saw
// of the row. It does no I/O: [Account.Next] says what it would do with the
// table, the Did methods tell it what came of it. It is not safe for
// concurrent use.
type Account struct {
	Terms Terms
	ID    string  // this instance, in nonces: unique in the fleet, short
	Luck  float64 // this instance's draw in [0,1): spreads shards and small shares over the fleet

	window int64
	sure   bool  // the table's clock told window
	credit int64 // leased, unspent
	owed   int64 // spent in window, not booked; negative is being given back
	late   int64 // spent in windows that ended, not booked
	asks   []ask
	lastID int

	demand demand
	view   view
	floor  time.Time     // when the notice board last said that this limit is not nearly out
	dead   map[int]int64 // shards used up, and in which window
	shard  int
	begun  bool

	wire wire
	lone lone

	news    bool      // the board should hear of view
	writers int       // instances that wrote the row lately
	curious bool      // a refusal rested on an old look
	speed   float64   // units per second that the fleet spends, as the row shows
	scarce  int64     // what the board said was left in the window listed
	listed  int64     // the window for which the board names this limit
	below   time.Time // since when the row is known to be nearly out
}

type ask struct {
	id int
	n  int64
}

// view is what this instance last learnt of the row.
type view struct {
	known  bool
	window int64
	left   int64
	at     time.Time
	guess  bool // taken over from the window before
}

// Answer is what an account says to a request.
type Answer uint8

// The answers.
const (
	Yes   Answer = iota // spent: settle it later
	No                  // the window has not so much left
	Never               // no window will ever have so much
	Ask                 // only the table can tell: wait for the ticket
)

// Take spends n units if that is known to be within the limit. With Ask it
// returns a ticket, which [Account.Serve] or [Account.Withdraw] ends.
func (a *Account) Take(n int64, m Moment) (Answer, int) {
	n = Clamp(n)
	a.roll(m)
	if n > a.limit() {
		return Never, 0
	}
	a.demand.note(n, m.At)
	if answer := a.try(n, m, len(a.asks) == 0); answer != Ask {
		return answer, 0
	}
	a.lastID++
	a.asks = append(a.asks, ask{a.lastID, n})
	return Ask, a.lastID
}

// try answers out of what is known. A request behind others that wait takes
// nothing from them.
func (a *Account) try(n int64, m Moment, first bool) Answer {
	a.recall()
	switch {
	case !first && !a.wire.out(m.At):
		return Ask
	case a.credit >= n:
		a.credit -= n
		return Yes
	case a.wire.out(m.At):
		return a.alone(n, m)
	case a.hopeful(n, m):
		a.owed = plus(a.owed, n-a.credit)
		a.credit = 0
		a.demand.owedSince(m.At)
		return Yes
	case a.spent(n, m):
		return No
	}
	return Ask
}

// recall takes back credit that was about to be returned.
func (a *Account) recall() {
	if a.owed < 0 && !a.wire.busy() {
		a.credit = plus(a.credit, -a.owed)
		a.owed = 0
	}
}

// limit is the share of the shard.
func (a *Account) limit() int64 { return a.Terms.Largest() }

func (a *Account) shards() int { return max(1, a.Terms.Shards) }

func (a *Account) refresh() time.Duration {
	if a.Terms.Refresh <= 0 {
		return 500 * time.Millisecond
	}
	return a.Terms.Refresh
}

// roll enters the window of m when that has begun: leases end with theirs. A
// window that only this machine's own clock told is left for the one that the
// table's clock tells, wherever that is.
func (a *Account) roll(m Moment) {
	if !a.begun {
		a.begun = true
		a.shard = int(a.Luck * float64(a.shards()))
		a.dead = map[int]int64{}
	}
	switch {
	case m.Guess && a.sure && !a.wire.out(m.At):
		return
	case m.Window <= a.window && (m.Guess || a.sure):
		return
	}
	a.sure = !m.Guess
	if m.Window == a.window {
		return
	}
	a.late = plus(a.late, max(0, a.owed))
	a.credit, a.owed = 0, 0
	a.lone = lone{}
	fresh := a.view.known && a.view.window == m.Window-1
	a.window = m.Window
	a.view = view{known: fresh, window: m.Window, left: a.limit() * 3 / 4, at: m.At.Add(-m.Age), guess: true}
}

// Settle replaces what a request of that window reserved by what it used.
// What an ended window did not need is worth nothing any more.
func (a *Account) Settle(window, reserved, used int64, m Moment) {
	reserved, used = Clamp(reserved), Clamp(used)
	a.roll(m)
	switch {
	case window != a.window:
		a.late = plus(a.late, max(0, used-reserved))
	case used <= reserved:
		back := reserved - used
		booked := min(back, max(0, a.owed))
		a.owed -= booked
		a.credit = plus(a.credit, back-booked)
	default:
		more := used - reserved
		paid := min(more, a.credit)
		a.credit -= paid
		a.owed = plus(a.owed, more-paid)
		a.demand.owedSince(m.At)
	}
}

// Release lets go of all credit: the instance is about to end.
func (a *Account) Release(m Moment) {
	a.roll(m)
	a.owed = plus(a.owed, -a.credit)
	a.credit = 0
}

// Shard is the row that the account is at.
func (a *Account) Shard() int { return a.shard }

// Window is the window that requests are charged to now.
func (a *Account) Window() int64 { return a.window }

// Served is a ticket that has ended.
type Served struct {
	Ticket int
	Answer Answer // Yes or No
}

// Serve ends the tickets that can be told: first come, first served.
func (a *Account) Serve(m Moment) []Served {
	a.roll(m)
	var served []Served
	for len(a.asks) > 0 {
		head := a.asks[0]
		answer := a.try(head.n, m, true)
		if answer == Ask {
			break
		}
		served = append(served, Served{head.id, answer})
		a.asks = a.asks[1:]
	}
	return served
}

// Withdraw ends a ticket whose request has waited long enough, or has left.
// It reports whether the ticket was still waiting.
func (a *Account) Withdraw(ticket int) bool {
	for i, x := range a.asks {
		if x.id == ticket {
			a.asks = append(a.asks[:i:i], a.asks[i+1:]...)
			return true
		}
	}
	return false
}

// Last ends a ticket whose request has waited as long as it may: what the table
// did not say in time is decided as if it were out of reach.
func (a *Account) Last(ticket int, m Moment) Answer {
	a.roll(m)
	for _, x := range a.asks {
		if x.id != ticket {
			continue
		}
		a.Withdraw(ticket)
		if a.credit >= x.n {
			a.credit -= x.n
			return Yes
		}
		if a.wire.out(m.At) {
			return a.alone(x.n, m)
		}
		return No
	}
	return No
}

// Standing is what the caller is told about the limit: a good guess, never
// negative, never over the limit.
type Standing struct {
	Limit     int64
	Remaining int64
	Window    int64
}

// Standing reports the books as of m.
func (a *Account) Standing(m Moment) Standing {
	a.roll(m)
	left := a.limit()
	if a.view.known && !a.view.guess {
		left = plus(a.view.left, a.credit-a.owed)
	} else {
		left = plus(left, -a.owed)
	}
	left = min(max(0, left), a.limit())
	return Standing{a.Terms.Limit, left * int64(a.shards()), a.window}
}
