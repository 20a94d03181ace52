package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// How far the interval clock trusts what it hears (facts/table-state.md §3
// rules 1 and 2).
const (
	frontEnds  = 50 * time.Millisecond     // how far the clocks of the service's front ends are apart
	drift      = 5000                      // a local clock gains or loses at most 1/drift: 200 ppm
	suspension = 250 * time.Millisecond    // wall and monotonic clock moved apart: the process slept, or a clock was set
	widest     = time.Second + 2*frontEnds // what one answer leaves open, besides the time that it took
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
	wall      time.Duration // wall minus local clock at the last sample
	resets    uint64
}

// reading is one look at the local clocks.
type reading struct{ local, wall time.Duration }

// guess is a clock that nothing is known of but the machine's own.
func guess(r reading) clock {
	return clock{low: r.wall - r.local, high: r.wall - r.local, at: r.local, wall: r.wall - r.local}
}

// sample takes in an answer whose request left at sent and which came at got.
func (c *clock) sample(date time.Time, sent, got reading) {
	doubt, within := c.moved(got), got.apart(sent)
	if date.IsZero() || within > suspension {
		return // a clock was set while the exchange ran: it tells nothing
	}
	if c.known && doubt > suspension {
		c.known = false
		c.resets++
	}
	c.wall = got.wall - got.local
	stamp := time.Duration(date.UnixNano())
	low, high := stamp-got.local-frontEnds-within, stamp+time.Second-sent.local+frontEnds+within
	if c.known {
		doubt += (got.local - c.at) / drift
		narrowLow, narrowHigh := max(c.low-doubt, low), min(c.high+doubt, high)
		if narrowLow <= narrowHigh {
			c.low, c.high, c.at = narrowLow, narrowHigh, got.local
			return
		}
		c.resets++ // a clock was set: begin again
	}
	c.low, c.high, c.at, c.known = low, high, got.local, true
}

// moved is how far wall and monotonic clock have moved apart since the last
// sample. Up to suspension it is doubt about either; beyond, both are.
func (c *clock) moved(r reading) time.Duration { return (r.wall - r.local - c.wall).Abs() }

// apart is the same between two readings.
func (r reading) apart(o reading) time.Duration { return (r.wall - r.local - o.wall + o.local).Abs() }

// span is the service's clock now; false while nothing is known, or nothing
// any more.
func (c *clock) span(r reading) (health.Span, bool) {
	moved := c.moved(r)
	doubt := moved + (r.local-c.at)/drift
	return health.Span{
		Lo: floor(r.local + c.low - doubt),
		Hi: -floor(-(r.local + c.high + doubt)),
	}, c.known && moved <= suspension
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
