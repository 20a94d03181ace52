package lease

import (
	"math"
	"time"
)

// hopeful reports whether the row will surely have room for n more when this
// spending is booked. What the fleet may have spent since the row was seen, and
// will before the booking lands, is taken off, half as much again.
func (a *Account) hopeful(n int64, m Moment) bool {
	left, age, ok := a.room(m)
	if !ok || a.owed > 0 && plus(a.owed, n) > left/int64(a.fleet(m)) {
		return false // not even if every instance did: what one may owe is its even share
	}
	fleet := max(a.demand.rate*float64(a.fleet(m)), a.speed, float64(a.limit())/a.seconds())
	spending := 1.5 * fleet * (age + booking).Seconds()
	return float64(left-max(0, a.owed))-spending >= float64(n)
}

// booking is how long it takes until spending shows in the row.
const booking = 200 * time.Millisecond

func (a *Account) seconds() float64 {
	if a.Terms.Period == Month {
		return 28 * 24 * 3600
	}
	return 60
}

// room is what is known to be left, and how old that is.
func (a *Account) room(m Moment) (left int64, age time.Duration, ok bool) {
	if a.view.known && a.view.window == a.window {
		left, age, ok = a.view.left, m.At.Sub(a.view.at), true
	}
	if ok && age <= a.memory() {
		return left, age, true
	}
	if ok && !a.view.guess && a.view.left < a.mark() {
		return 0, 0, false // the board may not have heard yet
	}
	// The board names a limit when less than a tenth is left: not named, a
	// tenth was left.
	age = m.At.Sub(a.floor)
	return a.limit() / nearly, age, !a.floor.IsZero() && age <= 2*a.refresh()
}

// memory is how long one look at the row is worth anything: of a month's budget
// nobody spends much in a minute.
func (a *Account) memory() time.Duration {
	if a.Terms.Period == Month {
		return time.Minute
	}
	return 2 * a.refresh()
}

// nearly is the part of a limit under which the board names it: 1/nearly.
const nearly = 10

// mark is what is left when the board names the limit.
func (a *Account) mark() int64 { return max(1, a.limit()/nearly) }

// spent reports whether the row had no room for n when last seen. On an old
// look a refusal still stands, and asks for another; on a very old one only the
// table can tell.
func (a *Account) spent(n int64, m Moment) bool {
	if a.otherShard() >= 0 {
		return false
	}
	if !a.view.known || a.view.guess || a.view.window != a.window {
		a.curious = a.curious || a.listed == a.window && a.scarce < n
		return a.listed == a.window && a.scarce < n
	}
	age := m.At.Sub(a.view.at)
	if plus(a.view.left, a.credit-max(0, a.owed)) >= n || age > 4*a.relook(m) {
		return false
	}
	a.curious = a.curious || age > a.relook(m)
	return true
}

// relook is how long a refusal rests on one look: long enough that a fleet
// which is refusing does not hammer the row.
func (a *Account) relook(m Moment) time.Duration {
	return a.refresh() * time.Duration(max(1, min(8, m.Fleet/50)))
}

// saw takes in what the row says, or what this instance's own write made it.
func (a *Account) saw(r Record, m Moment) {
	left := r.Rolled(a.window, a.limit()).Left(a.limit())
	a.measure(left, m)
	a.writers = r.writers()
	a.view = view{known: true, window: a.window, left: left, at: m.At}
	a.curious = false
	if left >= max(1, a.demand.most) {
		delete(a.dead, a.shard)
	}
	if left >= a.mark() {
		a.below = time.Time{}
		return
	}
	if a.below.IsZero() {
		a.below = m.At
	}
	// The instance that crossed the mark should have told the board; it may
	// have died first.
	patience := time.Duration((2 + 4*a.Luck) * float64(a.refresh()))
	a.news = a.news || a.listed != a.window && m.At.Sub(a.below) > patience
}

// measure learns from two looks how fast the whole fleet spends.
func (a *Account) measure(left int64, m Moment) {
	age := m.At.Sub(a.view.at).Seconds()
	if !a.view.known || a.view.guess || a.view.window != a.window || age < 0.05 {
		return
	}
	now := max(0, float64(a.view.left-left)/age)
	a.speed = max(now, a.speed*math.Exp2(-age))
}

// gossip decides whether the board should hear of a write of ours: the one that
// crossed a mark tells it, or that found the window already begun beyond it.
func (a *Account) gossip(before Record, rolled bool) {
	mark := a.mark()
	was, is := before.Left(a.limit()), a.view.left
	if rolled {
		was = a.limit()
	}
	short := max(1, a.demand.most)
	a.news = a.news || (was < mark) != (is < mark) || is < mark && (was < short) != (is < short)
}

// Heard takes in what the notice board said of this shard at that instant:
// listed, with what was left when it was posted, or not listed.
func (a *Account) Heard(listed bool, window, left int64, m Moment, at time.Time) {
	a.roll(m)
	a.wire.heard = at
	if !listed || window < a.window {
		if at.After(a.floor) {
			a.floor = at
		}
		return
	}
	a.floor = time.Time{}
	a.listed, a.scarce = window, Clamp(left)
	if a.view.guess {
		a.view = view{}
	}
}

// Notice returns what the board should be told, once after each crossing.
func (a *Account) Notice() (shard int, window, left int64, ok bool) {
	ok = a.news
	a.news = false
	if ok {
		a.listed, a.scarce = a.window, a.view.left
	}
	return a.shard, a.window, a.view.left, ok
}

// otherShard is one not known to be used up in this window, or -1.
func (a *Account) otherShard() int {
	for k := 1; k < a.shards(); k++ {
		other := (a.shard + k) % a.shards()
		if w, dead := a.dead[other]; !dead || w != a.window {
			return other
		}
	}
	return -1
}

// fleet is how many instances share the shard: as many as are known to run, or
// as many as have written the row lately.
func (a *Account) fleet(m Moment) int { return max(1, m.Fleet/a.shards(), a.writers) }

// frac is the part behind the point.
func frac(f float64) float64 { return f - math.Floor(f) }
