package health

import "time"

// next is the circuit one epoch later, in the given phase, with nothing else
// carried over but the count of trips.
func (c Circuit) next(phase Phase, now Span) Circuit {
	n := Circuit{Incarnation: c.Incarnation, Epoch: c.Epoch + 1, Phase: phase, Since: now.Mid(), Trips: c.Trips}
	if n.Incarnation == 0 {
		// A row that was deleted and made anew must not be taken for an old epoch of the former one.
		n.Incarnation = uint64(max(now.Hi, 1))
	}
	return n
}

// open is the circuit opened for d from now.
func (c Circuit) open(now Span, d time.Duration) Circuit {
	n := c.next(Open, now)
	n.Until = now.Hi + d.Milliseconds()
	return n
}

// Trip opens a closed circuit. A trip that follows a recovery closely is
// counted as a consecutive one and lasts twice as long as the last.
func (c Circuit) Trip(now Span, p BreakerPolicy) Circuit {
	if c.Phase != Closed {
		return c
	}
	trips := 1
	if c.Trips > 0 && now.Lo < c.Since+2*max(p.Ramp, 0).Milliseconds()+p.Interval.Milliseconds() {
		trips = c.Trips + 1
	}
	n := c.open(now, p.Lasts(trips))
	n.Trips = trips
	return n
}

// Condemn opens the circuit for the longest time: its backend is misconfigured,
// and will be until somebody changes something.
func (c Circuit) Condemn(now Span, p BreakerPolicy) Circuit {
	if c.Phase == Open {
		return c
	}
	n := c.open(now, p.MaxTripDuration)
	n.Trips = max(c.Trips, 1)
	return n
}

// Cooled reports whether the one probe may be claimed: the trip is over, or
// the last probe's lease has ended without a word.
func (c Circuit) Cooled(now Span) bool { return c.Phase != Closed && now.Lo >= c.Until }

// Claim gives the probe of a cooled circuit to owner, for one lease.
func (c Circuit) Claim(owner string, now Span, p BreakerPolicy) Circuit {
	n := c.next(HalfOpen, now)
	n.Owner, n.Lease, n.Until, n.Ready = owner, n.Epoch, now.Hi+p.Lease.Milliseconds(), c.Ready
	if c.Phase == HalfOpen || n.Ready == 0 {
		n.Ready = c.Until
	}
	return n
}

// Renew lets the owner's probe run for another lease. It never ends earlier
// than before, though the clock may since be known better: what was granted
// was granted (found by the model in state/model).
func (c Circuit) Renew(now Span, p BreakerPolicy) Circuit {
	n := c.next(HalfOpen, now)
	n.Since, n.Owner, n.Lease, n.Until = c.Since, c.Owner, c.Lease, max(c.Until, now.Hi+p.Lease.Milliseconds())
	return n
}

// GiveBack frees a probe that no request came for: anyone may claim it at once.
func (c Circuit) GiveBack(now Span) Circuit {
	n := c.next(Open, now)
	n.Until, n.Ready = now.Lo, c.Ready
	return n
}

// patience is how long a cooled circuit waits for a request that meets its
// probe, before it closes without one.
const patience = 8 * time.Second

// Lapsed reports whether the circuit has cooled for so long, and its probe come
// back unused so often, that traffic must be too thin for a probe held ready
// to ever meet a request: instances hold it for a moment in turn, and requests
// come seldom and elsewhere.
func (c Circuit) Lapsed(now Span) bool {
	return c.Phase == Open && c.Ready > 0 && now.Lo >= max(c.Until, c.Ready+patience.Milliseconds())
}

// Lapse closes such a circuit. The ramp bounds what that can cost: a tenth of
// a traffic that is thin already.
func (c Circuit) Lapse(now Span) Circuit { return c.next(Closed, now) }

// Heal closes the circuit after a successful probe; the ramp begins.
func (c Circuit) Heal(now Span) Circuit { return c.next(Closed, now) }

// Relapse opens it again after a failed one, for longer than before.
func (c Circuit) Relapse(now Span, p BreakerPolicy) Circuit {
	n := c.open(now, p.Lasts(c.Trips+1))
	n.Trips = c.Trips + 1
	return n
}

// Quarantine replaces a record that nobody can read: its phase is unknown and
// a probe may be under way, so it is open for one lease, in a new incarnation.
func (c Circuit) Quarantine(now Span, p BreakerPolicy) Circuit {
	n := c.open(now, p.Lease)
	n.Incarnation, n.Epoch = later(c.Incarnation, now), 1
	return n
}

// Reset closes the circuit at once, without a ramp, in a new incarnation: an
// operator knows better.
func (c Circuit) Reset(now Span) Circuit {
	n := c.next(Closed, now)
	n.Incarnation, n.Epoch, n.Trips = later(c.Incarnation, now), 1, 0
	return n
}

// later is an incarnation after the given one.
func later(i uint64, now Span) uint64 { return max(i+1, uint64(max(now.Hi, 1))) }
