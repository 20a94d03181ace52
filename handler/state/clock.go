package state

import (
	"time"

	"spillway/handler/breaker"
)

// How far the interval clock trusts what it hears (facts/table-state.md §3
// rules 1 and 2).
const (
	frontEnds  = 50 * time.Millisecond  // how far the clocks of the service's front ends are apart
	drift      = 5000                   // a local clock gains or loses at most 1/drift: 200 ppm
	suspension = 250 * time.Millisecond // wall and monotonic clock moved apart: the process slept, or a clock was set
)

// clock bounds the table service's clock by the Date of its answers, which are
// whole seconds, and this process's monotonic clock. Each answer gives bounds;
// over some answers their intersection shrinks to about a tenth of a second.
// A local instant is the time since the keeper began, a service instant the
// time since 1970. The zero clock knows nothing.
type clock struct {
	low, high time.Duration // bounds of service minus local, at the instant at
	at        time.Duration
	known     bool
	apart     time.Duration // wall minus local at the last sample
	resets    uint64
}

// reading is one look at the local clocks.
type reading struct{ local, wall time.Duration }

// guess is a clock that nothing is known of but the machine's own.
func guess(r reading) clock {
	return clock{low: r.wall - r.local, high: r.wall - r.local, at: r.local}
}

// sample takes in an answer whose request left at sent and which came at got.
func (c *clock) sample(date time.Time, sent time.Duration, got reading) {
	if date.IsZero() {
		return
	}
	if c.known && !c.together(got) {
		c.known = false
		c.resets++
	}
	c.apart = got.wall - got.local
	stamp := time.Duration(date.UnixNano())
	low, high := stamp-got.local-frontEnds, stamp+time.Second-sent+frontEnds
	if c.known {
		age := (got.local - c.at) / drift
		narrowLow, narrowHigh := max(c.low-age, low), min(c.high+age, high)
		if narrowLow <= narrowHigh {
			c.low, c.high, c.at = narrowLow, narrowHigh, got.local
			return
		}
		c.resets++ // a clock was set: begin again
	}
	c.low, c.high, c.at, c.known = low, high, got.local, true
}

func (c *clock) together(r reading) bool {
	moved := r.wall - r.local - c.apart
	return moved <= suspension && moved >= -suspension
}

// span is the service's clock now; false while nothing is known, or nothing
// any more.
func (c *clock) span(r reading) (breaker.Span, bool) {
	age := (r.local - c.at) / drift
	return breaker.Span{
		Lo: floor(r.local + c.low - age),
		Hi: -floor(-(r.local + c.high + age)),
	}, c.known && c.together(r)
}

// local is our best guess at the local instant of a service instant.
func (c *clock) local(ms int64) time.Duration {
	return time.Duration(ms)*time.Millisecond - (c.low + (c.high-c.low)/2)
}

// service is our best guess at the service's instant of a local one.
func (c *clock) service(local time.Duration) int64 {
	return floor(local + c.low + (c.high-c.low)/2)
}

// width is how much is not known.
func (c *clock) width() time.Duration { return c.high - c.low }

// floor is whole milliseconds, rounded down also below zero.
func floor(d time.Duration) int64 {
	ms := d / time.Millisecond
	if d%time.Millisecond < 0 {
		ms--
	}
	return int64(ms)
}
