package lease

import (
	"math"
	"time"
)

// canSpendAhead reports whether the row will surely have room for n more when this
// spending is booked. What the fleet may have spent since the row was seen, and
// will before the booking lands, is taken off, half as much again.
func (a *Account) canSpendAhead(n int64, m Moment) bool {
	left, age, ok := a.knownLeft(m)
	if !ok || a.unbooked > 0 && addSaturating(a.unbooked, n) > left/int64(a.instances(m)) {
		return false // not even if every instance did: what one may owe is its even share
	}
	fleet := max(a.demand.rate*float64(a.instances(m)), a.fleetRate, float64(a.limit())/a.seconds())
	spending := 1.5 * fleet * (age + bookingTime).Seconds()
	return float64(left-max(0, a.unbooked))-spending >= float64(n)
}

// bookingTime is how long it takes until spending shows in the row.
const bookingTime = 200 * time.Millisecond

func (a *Account) seconds() float64 {
	if a.Config.Period == Month {
		return 28 * 24 * 3600
	}
	return 60
}

// knownLeft is what is known to be left, and how old that is.
func (a *Account) knownLeft(m Moment) (left int64, age time.Duration, ok bool) {
	if a.view.known && a.view.window == a.window {
		left, age, ok = a.view.left, m.At.Sub(a.view.at), true
	}
	if ok && age <= a.viewLifetime() {
		return left, age, true
	}
	if ok && !a.view.estimated && a.view.left < a.lowMark() {
		return 0, 0, false // the board may not have heard yet
	}
	// The board names a limit when less than a tenth is left: not named, a
	// tenth was left.
	age = m.At.Sub(a.notListedAt)
	return a.limit() / lowFraction, age, !a.notListedAt.IsZero() && age <= 2*a.refresh()
}

// viewLifetime is how long one look at the row is worth anything: of a month's budget
// nobody spends much in a minute.
func (a *Account) viewLifetime() time.Duration {
	if a.Config.Period == Month {
		return time.Minute
	}
	return 2 * a.refresh()
}

// lowFraction is the part of a limit under which the board names it: 1/lowFraction.
const lowFraction = 10

// lowMark is what is left when the board names the limit.
func (a *Account) lowMark() int64 { return max(1, a.limit()/lowFraction) }

// knownExhausted reports whether the row had no room for n when last seen. On an old
// look a refusal still stands, and asks for another; on a very old one only the
// table can tell.
func (a *Account) knownExhausted(n int64, m Moment) bool {
	if a.otherShard() >= 0 {
		return false
	}
	if !a.view.known || a.view.estimated || a.view.window != a.window {
		a.reread = a.reread || a.listedWindow == a.window && a.listedLeft < n
		return a.listedWindow == a.window && a.listedLeft < n
	}
	age := m.At.Sub(a.view.at)
	if addSaturating(a.view.left, a.credit-max(0, a.unbooked)) >= n || age > 4*a.rereadAfter(m) {
		return false
	}
	a.reread = a.reread || age > a.rereadAfter(m)
	return true
}

// rereadAfter is how long a refusal rests on one look: long enough that a fleet
// which is refusing does not hammer the row.
func (a *Account) rereadAfter(m Moment) time.Duration {
	return a.refresh() * time.Duration(max(1, min(8, m.Instances/50)))
}

// observeRow takes in what the row says, or what this instance's own write made it.
func (a *Account) observeRow(r Record, m Moment) {
	left := r.RolledTo(a.window, a.limit()).Left(a.limit())
	a.measureRate(left, m)
	a.writers = r.writers()
	a.view = view{known: true, window: a.window, left: left, at: m.At}
	a.reread = false
	if left >= max(1, a.demand.largest) {
		delete(a.exhausted, a.shard)
	}
	if left >= a.lowMark() {
		a.lowSince = time.Time{}
		return
	}
	if a.lowSince.IsZero() {
		a.lowSince = m.At
	}
	// The instance that crossed the mark should have told the board; it may
	// have died first.
	patience := time.Duration((2 + 4*a.Jitter) * float64(a.refresh()))
	a.announce = a.announce || a.listedWindow != a.window && m.At.Sub(a.lowSince) > patience
}

// measureRate learns from two looks how fast the whole fleet spends.
func (a *Account) measureRate(left int64, m Moment) {
	age := m.At.Sub(a.view.at).Seconds()
	if !a.view.known || a.view.estimated || a.view.window != a.window || age < 0.05 {
		return
	}
	now := max(0, float64(a.view.left-left)/age)
	a.fleetRate = max(now, a.fleetRate*math.Exp2(-age))
}

// announceCrossing decides whether the board should hear of a write of ours: the one that
// crossed a mark tells it, or that found the window already begun beyond it.
func (a *Account) announceCrossing(before Record, rolled bool) {
	mark := a.lowMark()
	was, is := before.Left(a.limit()), a.view.left
	if rolled {
		was = a.limit()
	}
	short := max(1, a.demand.largest)
	a.announce = a.announce || (was < mark) != (is < mark) || is < mark && (was < short) != (is < short)
}

// ObserveFeed takes in what the notice board said of this shard at that instant:
// listed, with what was left when it was posted, or not listed.
func (a *Account) ObserveFeed(listed bool, window, left int64, m Moment, at time.Time) {
	a.rollWindow(m)
	a.row.lastFeed = at
	if !listed || window < a.window {
		if at.After(a.notListedAt) {
			a.notListedAt = at
		}
		return
	}
	a.notListedAt = time.Time{}
	a.listedWindow, a.listedLeft = window, Clamp(left)
	if a.view.estimated {
		a.view = view{}
	}
}

// Announcement returns what the board should be told, once after each crossing.
func (a *Account) Announcement() (shard int, window, left int64, ok bool) {
	ok = a.announce
	a.announce = false
	if ok {
		a.listedWindow, a.listedLeft = a.window, a.view.left
	}
	return a.shard, a.window, a.view.left, ok
}

// otherShard is one not known to be used up in this window, or -1.
func (a *Account) otherShard() int {
	for k := 1; k < a.shards(); k++ {
		other := (a.shard + k) % a.shards()
		if w, dead := a.exhausted[other]; !dead || w != a.window {
			return other
		}
	}
	return -1
}

// instances is how many instances share the shard: as many as are known to run, or
// as many as have written the row lately.
func (a *Account) instances(m Moment) int { return max(1, m.Instances/a.shards(), a.writers) }

// fraction is the part behind the point.
func fraction(f float64) float64 { return f - math.Floor(f) }
