package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// How far the interval clock trusts what it hears (facts/table-state.md §3
// rules 1 and 2).
const (
	frontEndSkew   = 50 * time.Millisecond        // how far the clocks of the service's front ends are apart
	driftDivisor   = 5000                         // a local clock gains or loses at most 1/drift: 200 ppm
	maxClockShift  = 250 * time.Millisecond       // wall and monotonic clock moved apart: the process slept, or a clock was set
	maxSampleWidth = time.Second + 2*frontEndSkew // what one answer leaves open, besides the time that it took
)

// serviceClock bounds the table service's serviceClock by the Date of its answers, which are
// whole seconds, and this process's monotonic serviceClock. Each answer gives bounds;
// over some answers their intersection shrinks to about a tenth of a second.
// A local instant is the time since the keeper began, a service instant the
// time since 1970. The zero serviceClock knows nothing.
type serviceClock struct {
	low, high time.Duration // bounds of service minus local, at the instant at
	at        time.Duration
	known     bool
	wall      time.Duration // wall minus local clock at the last sample
	resets    uint64
}

// clockReading is one look at the local clocks.
type clockReading struct{ local, wall time.Duration }

// assumeLocalClock is a clock that nothing is known of but the machine's own.
func assumeLocalClock(r clockReading) serviceClock {
	return serviceClock{low: r.wall - r.local, high: r.wall - r.local, at: r.local, wall: r.wall - r.local}
}

// addSample takes in an answer whose request left at sent and which came at got.
func (c *serviceClock) addSample(date time.Time, sent, got clockReading) {
	doubt, within := c.wallClockShift(got), got.shiftSince(sent)
	if date.IsZero() || within > maxClockShift {
		return // a clock was set while the exchange ran: it tells nothing
	}
	if c.known && doubt > maxClockShift {
		c.known = false
		c.resets++
	}
	c.wall = got.wall - got.local
	stamp := time.Duration(date.UnixNano())
	low, high := stamp-got.local-frontEndSkew-within, stamp+time.Second-sent.local+frontEndSkew+within
	if c.known {
		doubt += (got.local - c.at) / driftDivisor
		narrowLow, narrowHigh := max(c.low-doubt, low), min(c.high+doubt, high)
		if narrowLow <= narrowHigh {
			c.low, c.high, c.at = narrowLow, narrowHigh, got.local
			return
		}
		c.resets++ // a clock was set: begin again
	}
	c.low, c.high, c.at, c.known = low, high, got.local, true
}

// wallClockShift is how far wall and monotonic clock have wallClockShift apart since the last
// sample. Up to suspension it is doubt about either; beyond, both are.
func (c *serviceClock) wallClockShift(r clockReading) time.Duration {
	return (r.wall - r.local - c.wall).Abs()
}

// shiftSince is the same between two readings.
func (r clockReading) shiftSince(o clockReading) time.Duration {
	return (r.wall - r.local - o.wall + o.local).Abs()
}

// bounds is the service's clock now; false while nothing is known, or nothing
// any more.
func (c *serviceClock) bounds(r clockReading) (health.TimeBounds, bool) {
	moved := c.wallClockShift(r)
	doubt := moved + (r.local-c.at)/driftDivisor
	return health.TimeBounds{
		Earliest: floorMillis(r.local + c.low - doubt),
		Latest:   -floorMillis(-(r.local + c.high + doubt)),
	}, c.known && moved <= maxClockShift
}

// toLocal is our best guess at the toLocal instant of a service instant.
func (c *serviceClock) toLocal(ms int64) time.Duration {
	return time.Duration(ms)*time.Millisecond - (c.low + (c.high-c.low)/2)
}

// toService is our best guess at the toService's instant of a local one.
func (c *serviceClock) toService(local time.Duration) int64 {
	return floorMillis(local + c.low + (c.high-c.low)/2)
}

// uncertainty is how much is not known.
func (c *serviceClock) uncertainty() time.Duration { return c.high - c.low }

// floorMillis is whole milliseconds, rounded down also below zero.
func floorMillis(d time.Duration) int64 {
	ms := d / time.Millisecond
	if d%time.Millisecond < 0 {
		ms--
	}
	return int64(ms)
}
