package quota

import (
	"sync"
	"time"
)

// The uncertainties of the clock (docs/shared-state.md).
const (
	frontEndSkew = 50 * time.Millisecond  // between the clocks of the service's front ends
	maxDrift     = 5000                   // a local clock gains or loses at most 1/maxDrift
	maxJump      = 250 * time.Millisecond // between wall and monotonic clock; after more the process slept, or a clock was set
)

// tableClock bounds the table service's clock by the Date of its answers, which
// are whole seconds: their intersection shrinks to about a tenth of a second.
// Until the first answer it is this machine's own clock. It is safe for
// concurrent use.
type tableClock struct {
	mu        sync.Mutex
	known     bool
	low, high time.Duration // bounds of service minus local, at the instant at
	at        time.Time     // with its monotonic reading
	skew      time.Duration // wall minus monotonic time, against first
	first     time.Time
}

// sample takes an answer whose request was sent at sent and which came at got.
func (c *tableClock) sample(date, sent, got time.Time) {
	if date.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.IsZero() {
		c.first = got
	}
	c.known = c.known && c.steady(got)
	c.skew = c.skewAt(got)
	low := date.Sub(got.Round(0)) - frontEndSkew
	high := date.Add(time.Second).Sub(got.Round(0)) + got.Sub(sent) + frontEndSkew
	if c.known {
		age := got.Sub(c.at) / maxDrift
		narrowLow, narrowHigh := max(c.low-age, low), min(c.high+age, high)
		if narrowLow <= narrowHigh {
			c.low, c.high, c.at = narrowLow, narrowHigh, got
			return
		}
	}
	c.low, c.high, c.at, c.known = low, high, got, true
}

// skewAt is how far wall and monotonic clock have moved apart since the first
// answer.
func (c *tableClock) skewAt(now time.Time) time.Duration {
	return now.Round(0).Sub(c.first.Round(0)) - now.Sub(c.first)
}

func (c *tableClock) steady(now time.Time) bool {
	d := c.skewAt(now) - c.skew
	return d <= maxJump && d >= -maxJump
}

// bounds is the service's clock, at the earliest and at the latest; while that
// is not known, this machine's clock.
func (c *tableClock) bounds(now time.Time) (earliest, latest time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := now.Round(0)
	if !c.known || !c.steady(now) {
		return wall, wall, false
	}
	age := now.Sub(c.at) / maxDrift
	return wall.Add(c.low - age), wall.Add(c.high + age), true
}
