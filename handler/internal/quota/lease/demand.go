package lease

import "time"

// idleAfter is how long credit may lie unused before it is given back.
const idleAfter = 2 * time.Second

// demand is what this instance's callers asked for lately, served or not.
type demand struct {
	last          time.Time // of the last request
	updated       time.Time // when rate was last brought up to date
	pending       int64     // asked since tick
	rate          float64   // units per second
	largest       int64     // the largest request of late
	unbookedSince time.Time // when the oldest unbooked spending was spent; zero = none
}

func (d *demand) add(n int64, at time.Time) {
	d.update(at)
	d.pending = addSaturating(d.pending, n)
	d.largest = max(n, d.largest-d.largest/50)
	d.last = at
}

// update brings the rate up to date: an average that forgets half in about a
// second and a half of traffic.
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

// refillBelow is the credit below which more is fetched ahead of need.
func (d *demand) refillBelow() int64 { return max(d.largest, int64(d.rate*0.3)) }

func (d *demand) idle(at time.Time) bool { return at.Sub(d.last) >= idleAfter }
