package health

import "time"

// nextEpoch is the circuit one epoch later, in the given phase, with nothing else
// carried over but the count of trips.
func (c Circuit) nextEpoch(phase CircuitState, now TimeBounds) Circuit {
	n := Circuit{Incarnation: c.Incarnation, Epoch: c.Epoch + 1, State: phase, Since: now.Midpoint(), Trips: c.Trips}
	if n.Incarnation == 0 {
		// A row that was deleted and made anew must not be taken for an old epoch of the former one.
		n.Incarnation = uint64(max(now.Latest, 1))
	}
	return n
}

// openFor is the circuit opened for d from now.
func (c Circuit) openFor(now TimeBounds, d time.Duration) Circuit {
	n := c.nextEpoch(Open, now)
	n.Until = now.Latest + d.Milliseconds()
	return n
}

// Trip opens a closed circuit. A trip that follows a recovery closely is
// counted as a consecutive one and lasts twice as long as the last.
func (c Circuit) Trip(now TimeBounds, p BreakerPolicy) Circuit {
	if c.State != Closed {
		return c
	}
	trips := 1
	if c.Trips > 0 && now.Earliest < c.Since+2*max(p.RampStep, 0).Milliseconds()+p.Interval.Milliseconds() {
		trips = c.Trips + 1
	}
	n := c.openFor(now, p.OpenDuration(trips))
	n.Trips = trips
	return n
}

// TripMisconfigured opens the circuit for the longest time: its backend is misconfigured,
// and will be until somebody changes something.
func (c Circuit) TripMisconfigured(now TimeBounds, p BreakerPolicy) Circuit {
	if c.State == Open {
		return c
	}
	n := c.openFor(now, p.MaxTripDuration)
	n.Trips = max(c.Trips, 1)
	return n
}

// ProbeDue reports whether the one probe may be claimed: the trip is over, or
// the last probe's lease has ended without a word.
func (c Circuit) ProbeDue(now TimeBounds) bool { return c.State != Closed && now.Earliest >= c.Until }

// ClaimProbe gives the probe of a cooled circuit to owner, for one lease.
func (c Circuit) ClaimProbe(owner string, now TimeBounds, p BreakerPolicy) Circuit {
	n := c.nextEpoch(HalfOpen, now)
	n.Owner, n.Lease, n.Until, n.ProbeDueSince = owner, n.Epoch, now.Latest+p.ProbeLease.Milliseconds(), c.ProbeDueSince
	if c.State == HalfOpen || n.ProbeDueSince == 0 {
		n.ProbeDueSince = c.Until
	}
	return n
}

// RenewLease lets the owner's probe run for another lease. It never ends earlier
// than before, though the clock may since be known better: what was granted
// was granted (found by the model in state/model).
func (c Circuit) RenewLease(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.nextEpoch(HalfOpen, now)
	n.Since, n.Owner, n.Lease, n.Until = c.Since, c.Owner, c.Lease, max(c.Until, now.Latest+p.ProbeLease.Milliseconds())
	return n
}

// ReturnProbe frees a probe that no request came for: anyone may claim it at once.
func (c Circuit) ReturnProbe(now TimeBounds) Circuit {
	n := c.nextEpoch(Open, now)
	n.Until, n.ProbeDueSince = now.Earliest, c.ProbeDueSince
	return n
}

// unprobedLimit is how long a cooled circuit waits for a request that meets its
// probe, before it closes without one.
const unprobedLimit = 8 * time.Second

// UnprobedTooLong reports whether the circuit has cooled for so long, and its probe come
// back unused so often, that traffic must be too thin for a probe held ready
// to ever meet a request: instances hold it for a moment in turn, and requests
// come seldom and elsewhere.
func (c Circuit) UnprobedTooLong(now TimeBounds) bool {
	return c.State == Open && c.ProbeDueSince > 0 && now.Earliest >= max(c.Until, c.ProbeDueSince+unprobedLimit.Milliseconds())
}

// CloseUnprobed closes such a circuit. The ramp bounds what that can cost: a tenth of
// a traffic that is thin already.
func (c Circuit) CloseUnprobed(now TimeBounds) Circuit { return c.nextEpoch(Closed, now) }

// CloseAfterProbe closes the circuit after a successful probe; the ramp begins.
func (c Circuit) CloseAfterProbe(now TimeBounds) Circuit { return c.nextEpoch(Closed, now) }

// Reopen opens it again after a failed one, for longer than before.
func (c Circuit) Reopen(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.openFor(now, p.OpenDuration(c.Trips+1))
	n.Trips = c.Trips + 1
	return n
}

// Quarantine replaces a record that nobody can read: its phase is unknown and
// a probe may be under way, so it is open for one lease, in a new incarnation.
func (c Circuit) Quarantine(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.openFor(now, p.ProbeLease)
	n.Incarnation, n.Epoch = nextIncarnation(c.Incarnation, now), 1
	return n
}

// Reset closes the circuit at once, without a ramp, in a new incarnation: an
// operator knows better.
func (c Circuit) Reset(now TimeBounds) Circuit {
	n := c.nextEpoch(Closed, now)
	n.Incarnation, n.Epoch, n.Trips = nextIncarnation(c.Incarnation, now), 1, 0
	return n
}

// nextIncarnation is an incarnation after the given one.
func nextIncarnation(i uint64, now TimeBounds) uint64 { return max(i+1, uint64(max(now.Latest, 1))) }
