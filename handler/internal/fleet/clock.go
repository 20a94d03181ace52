package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// How far the clock's inputs are trusted (docs/shared-state.md#the-tables-clock).
const (
	frontEndSkew   = 50 * time.Millisecond        // how far apart the clocks of the service's front ends may be
	driftDivisor   = 5000                         // a local clock gains or loses at most 1/driftDivisor: 200 ppm
	maxClockShift  = 250 * time.Millisecond       // beyond it the process was suspended, or a clock was set
	maxSampleWidth = time.Second + 2*frontEndSkew // width of the bounds of one response, besides the time that it took
)

// serviceClock bounds the table service's clock by the Date of its responses, in
// whole seconds, and this process's monotonic clock. Each response gives bounds;
// their intersection narrows to about a tenth of a second. A local instant is the
// time since the replica began, a service instant the time since 1970. The zero
// serviceClock knows nothing.
type serviceClock struct {
	low, high time.Duration // bounds of service minus local, at the instant at
	at        time.Duration
	known     bool
	wall      time.Duration // wall minus local clock at the last sample
	resets    uint64
}

// clockReading is one reading of the local clocks.
type clockReading struct{ local, wall time.Duration }

// assumeLocalClock is the service's clock before the first response: the machine's
// own.
func assumeLocalClock(r clockReading) serviceClock {
	return serviceClock{low: r.wall - r.local, high: r.wall - r.local, at: r.local, wall: r.wall - r.local}
}

// addSample narrows the bounds by a response whose request was sent at sent and
// which was received at got.
func (c *serviceClock) addSample(date time.Time, sent, got clockReading) {
	slack, shift := c.wallClockShift(got), got.shiftSince(sent)
	if date.IsZero() || shift > maxClockShift {
		return // a clock was set during the exchange
	}
	if c.known && slack > maxClockShift {
		c.known = false
		c.resets++
	}
	c.wall = got.wall - got.local
	serviceTime := time.Duration(date.UnixNano())
	low, high := serviceTime-got.local-frontEndSkew-shift, serviceTime+time.Second-sent.local+frontEndSkew+shift
	if c.known {
		slack += (got.local - c.at) / driftDivisor
		narrowLow, narrowHigh := max(c.low-slack, low), min(c.high+slack, high)
		if narrowLow <= narrowHigh {
			c.low, c.high, c.at = narrowLow, narrowHigh, got.local
			return
		}
		c.resets++ // a clock was set: begin again
	}
	c.low, c.high, c.at, c.known = low, high, got.local, true
}

// wallClockShift is how far wall and monotonic clock have moved apart since the
// last sample. Up to maxClockShift it widens the bounds; beyond, they are void.
func (c *serviceClock) wallClockShift(r clockReading) time.Duration {
	return (r.wall - r.local - c.wall).Abs()
}

// shiftSince is how far wall and monotonic clock moved apart between two readings.
func (r clockReading) shiftSince(o clockReading) time.Duration {
	return (r.wall - r.local - o.wall + o.local).Abs()
}

// bounds are those of the service's clock now; false while it is unknown.
func (c *serviceClock) bounds(r clockReading) (health.TimeBounds, bool) {
	shift := c.wallClockShift(r)
	slack := shift + (r.local-c.at)/driftDivisor
	return health.TimeBounds{
		Earliest: floorMillis(r.local + c.low - slack),
		Latest:   -floorMillis(-(r.local + c.high + slack)),
	}, c.known && shift <= maxClockShift
}

// toLocal estimates the local instant of a service instant.
func (c *serviceClock) toLocal(ms int64) time.Duration {
	return time.Duration(ms)*time.Millisecond - (c.low + (c.high-c.low)/2)
}

// toService estimates the service instant of a local one.
func (c *serviceClock) toService(local time.Duration) int64 {
	return floorMillis(local + c.low + (c.high-c.low)/2)
}

// uncertainty is the width of the bounds.
func (c *serviceClock) uncertainty() time.Duration { return c.high - c.low }

// floorMillis returns whole milliseconds, rounded down also below zero.
func floorMillis(d time.Duration) int64 {
	ms := d / time.Millisecond
	if d%time.Millisecond < 0 {
		ms--
	}
	return int64(ms)
}
