package lease

import (
	"math"
	"time"
)

// canSpendAhead reports whether the row will surely have n more left when this
// spending is booked. What the fleet may have spent since the row was read, and
// will spend before the booking lands, is taken off, and half as much again.
func (a *Account) canSpendAhead(n int64, m Moment) bool {
	left, age, ok := a.knownLeft(m)
	// An instance may owe its even share at most, an eighth of it of a ceiling, and of a
	// month a lease, or one request.
	share := min(left/int64(a.instances(m)), a.maxLease())
	first := a.Config.Period == Month && a.unbooked <= 0
	if a.Config.Ceiling {
		share /= 8
	}
	if !ok || m.Cold || !first && addSaturating(max(0, a.unbooked), n) > share {
		return false
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
		return 0, 0, false // the feed may not list it yet
	}
	// The feed lists a limit when less than a tenth is left: not listed, a
	// tenth was left.
	age = m.At.Sub(a.notListedAt)
	return a.limit() / lowFraction, age, !a.notListedAt.IsZero() && age <= 2*a.refresh()
}

// viewLifetime is how long a view of the row is used: of a month's budget
// little is spent in a minute.
func (a *Account) viewLifetime() time.Duration {
	if a.Config.Period == Month {
		return time.Minute
	}
	return 2 * a.refresh()
}

// lowFraction is the part of a limit below which the feed lists it:
// 1/lowFraction.
const lowFraction = 10

// lowMark is what is left when the feed lists the limit.
func (a *Account) lowMark() int64 { return max(1, a.limit()/lowFraction) }

// knownExhausted reports whether the row had less than n left when it was last
// read. With an old view a refusal still holds, and the row is read again; with
// a very old one only the table can decide.
func (a *Account) knownExhausted(n int64, m Moment) bool {
	if a.otherShard() >= 0 {
		return false
	}
	if !a.hasRead() {
		a.reread = a.reread || a.listedWindow == a.window && a.listedLeft < n
		return a.listedWindow == a.window && a.listedLeft < n
	}
	age := m.At.Sub(a.view.at)
	if !a.readShort(n) || age > 4*a.rereadAfter(m) {
		return false
	}
	a.reread = a.reread || age > a.rereadAfter(m)
	return true
}

// hasRead reports whether the row was read in this window.
func (a *Account) hasRead() bool {
	return a.view.known && !a.view.estimated && a.view.window == a.window
}

// readShort reports whether the row, which was read, had less than n left, with what is
// being returned to it.
func (a *Account) readShort(n int64) bool {
	return addSaturating(a.view.left, a.credit-a.unbooked) < n
}

// rereadAfter is how long refusals are based on one view: so long that a fleet
// which is refusing does not overload the row.
func (a *Account) rereadAfter(m Moment) time.Duration {
	return a.refresh() * time.Duration(max(1, min(8, m.Instances/50)))
}

// observeRow takes over what the row holds, or what this instance's own write
// made it.
func (a *Account) observeRow(r Record, m Moment) {
	r, _ = r.RolledTo(a.window, a.capacity()).without(a.ID, a.allWrote(m))
	left := r.Left(a.limit())
	a.measureRate(left, m)
	a.writers = r.writers()
	a.view = view{known: true, window: a.window, left: left, spent: r.Spent, at: m.At}
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
	// The instance that crossed the mark should have published it, but may have
	// crashed.
	delay := time.Duration((2 + 4*a.Jitter) * float64(a.refresh()))
	a.announce = a.announce || a.listedWindow != a.window && m.At.Sub(a.lowSince) > delay
}

// measureRate estimates from two views how fast the whole fleet spends.
func (a *Account) measureRate(left int64, m Moment) {
	age := m.At.Sub(a.view.at).Seconds()
	if !a.hasRead() || age < 0.05 {
		return
	}
	now := max(0, float64(a.view.left-left)/age)
	a.fleetRate = max(now, a.fleetRate*math.Exp2(-age))
}

// announceCrossing decides whether the feed should list a write of this
// instance: one that crossed a mark, or that found a new window already beyond
// it.
func (a *Account) announceCrossing(before Record, rolled bool) {
	mark := a.lowMark()
	was, is := before.Left(a.limit()), a.view.left
	if rolled {
		was = a.limit()
	}
	short := max(1, a.demand.largest)
	a.announce = a.announce || (was < mark) != (is < mark) || is < mark && (was < short) != (is < short)
}

// ObserveFeed takes over what the change feed held for this shard at that
// instant: listed, with what was left when it was published, or not listed.
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

// Announcement returns what the feed should list, once after each crossing.
func (a *Account) Announcement() (shard int, window, left int64, ok bool) {
	ok = a.announce
	a.announce = false
	if ok {
		a.listedWindow, a.listedLeft = a.window, a.view.left
	}
	return a.shard, a.window, a.view.left, ok
}

// otherShard is one that is not known to be used up in this window, or -1.
func (a *Account) otherShard() int {
	for k := 1; k < a.shards(); k++ {
		other := (a.shard + k) % a.shards()
		if w, dead := a.exhausted[other]; !dead || w != a.window {
			return other
		}
	}
	return -1
}

// instances is how many instances share the shard: as many as are known to run,
// or as many as have written the row lately.
func (a *Account) instances(m Moment) int { return max(1, m.Instances/a.shards(), a.writers) }

// fraction is the fractional part.
func fraction(f float64) float64 { return f - math.Floor(f) }

// idleAfter is how long credit may be unused before it is returned.
const idleAfter = 2 * time.Second

// demand is what this instance's callers requested lately, granted or not.
type demand struct {
	last          time.Time // of the last request
	updated       time.Time // when rate was last updated
	pending       int64     // requested since updated
	rate          float64   // units per second
	largest       int64     // the largest request lately
	unbookedSince time.Time // when the oldest unbooked spending was spent; zero = none
}

func (d *demand) add(n int64, at time.Time) {
	d.update(at)
	d.pending = addSaturating(d.pending, n)
	d.largest = max(n, d.largest-d.largest/50)
	d.last = at
}

// update updates the rate: an average that forgets half in about a second and a
// half of traffic.
func (d *demand) update(at time.Time) {
	age := at.Sub(d.updated)
	switch {
	case d.updated.IsZero() || age < 0:
		d.updated = at
	case age > 10*time.Second:
		d.rate, d.pending, d.updated = float64(d.pending)/age.Seconds(), 0, at
	case age >= 200*time.Millisecond:
		weight := min(1, 2*age.Seconds()/3)
		d.rate = (1-weight)*d.rate + weight*float64(d.pending)/age.Seconds()
		d.pending, d.updated = 0, at
	}
}

func (d *demand) markUnbooked(at time.Time) {
	if d.unbookedSince.IsZero() {
		d.unbookedSince = at
	}
}

// refillBelow is the credit below which more is leased ahead of need.
func (d *demand) refillBelow() int64 { return max(d.largest, int64(d.rate*0.3)) }

func (d *demand) idle(at time.Time) bool { return at.Sub(d.last) >= idleAfter }

// offlineShare is what an instance spends while the table is unreachable.
type offlineShare struct {
	share int64 // its part of this window; 0 = not drawn yet, negative = nothing
	spent int64
}

// spendOffline decides without the table
// (docs/quotas.md#when-the-table-is-away): each instance may spend its even
// part of what was last known to be left, or of a whole window when nothing is
// known of this one; of a month, of a hundredth of it. When the part is smaller
// than a request, that many instances are drawn which may serve one. Below a ceiling
// nobody is drawn, but while the table is unreachable each may serve one at a time: what
// is expected of it has a limit besides.
func (a *Account) spendOffline(n int64, m Moment) Decision {
	if a.offline.share == 0 {
		a.offline.share = a.drawShare(m)
	}
	alone := a.Config.Ceiling && a.underWay == 0 && a.row.unreachable(m.At)
	if !alone && addSaturating(a.offline.spent, n-a.credit) > a.offline.share {
		a.reread = true // the table may be back, and nothing else asks it
		if a.Config.Period == Month && (!a.hasRead() || !a.readShort(n)) {
			return Undecided
		}
		return Denied
	}
	a.offline.spent = addSaturating(a.offline.spent, n-a.credit)
	a.unbooked = addSaturating(a.unbooked, n-a.credit)
	a.credit = 0
	a.demand.markUnbooked(m.At)
	return Granted
}

// spendLate decides a request for which the table took too long: the instance may
// spend what it could spend without the table, once it is known how many share that.
func (a *Account) spendLate(n int64, m Moment) Decision {
	if m.Cold || a.spendOffline(n, m) != Granted {
		return Undecided
	}
	return Granted
}

// drawShare returns the part of this instance.
func (a *Account) drawShare(m Moment) int64 {
	left := a.Config.Limit
	if a.hasRead() {
		left = max(0, addSaturating(mulSaturating(a.view.left, int64(a.shards())), -max(0, a.unbooked)))
	}
	if a.Config.Period == Month {
		left = min(left, a.Config.Limit/100)
	}
	share := left / int64(max(m.Instances, a.instances(m)*a.shards()))
	if share >= a.demand.largest || a.Config.Ceiling && share > 0 {
		return share
	}
	chance := float64(share) / float64(max(1, a.demand.largest))
	if fraction(a.Jitter+float64(a.window%1000)*0.6180339887) < chance {
		return a.demand.largest
	}
	return -1 // drawn, with nothing granted
}
