package lease

import "time"

// idle is how long credit may lie unused before it is given back.
const idle = 2 * time.Second

// demand is what this instance's callers asked for lately, served or not.
type demand struct {
	last  time.Time // of the last request
	tick  time.Time // when rate was last brought up to date
	since int64     // asked since tick
	rate  float64   // units per second
	most  int64     // the largest request of late
	owed  time.Time // when the oldest unbooked spending was spent; zero = none
}

func (d *demand) note(n int64, at time.Time) {
	d.fold(at)
	d.since = plus(d.since, n)
	d.most = max(n, d.most-d.most/50)
	d.last = at
}

// fold brings the rate up to date: an average that forgets half in about a
// second and a half of traffic.
func (d *demand) fold(at time.Time) {
	age := at.Sub(d.tick)
	switch {
	case d.tick.IsZero() || age < 0:
		d.tick = at
	case age > 10*time.Second:
		d.rate, d.since, d.tick = float64(d.since)/age.Seconds(), 0, at
	case age >= 200*time.Millisecond:
		weight := min(1, 2*age.Seconds()/3)
		d.rate = (1-weight)*d.rate + weight*float64(d.since)/age.Seconds()
		d.since, d.tick = 0, at
	}
}

func (d *demand) owedSince(at time.Time) {
	if d.owed.IsZero() {
		d.owed = at
	}
}

// low is the credit below which more is fetched ahead of need.
func (d *demand) low() int64 { return max(d.most, int64(d.rate*0.3)) }

func (d *demand) idle(at time.Time) bool { return at.Sub(d.last) >= idle }
