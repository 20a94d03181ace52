package health

import (
	"cmp"
	"slices"
	"time"
)

// CircuitState is the state of a circuit breaker.
type CircuitState uint8

// The states. The zero state is Closed, so a backend without a record is used.
const (
	Closed CircuitState = iota
	Open
	HalfOpen
)

func (s CircuitState) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "unknown"
}

// TimeBounds are the bounds of the present instant by the table service's
// clock, which no instance knows exactly. Whoever must give something up at a
// deadline does so when Latest reaches it, whoever may take it waits for
// Earliest: the two never overlap (docs/shared-state.md#the-tables-clock).
type TimeBounds struct{ Earliest, Latest int64 }

// Midpoint is the estimate for whatever needs no exclusion.
func (b TimeBounds) Midpoint() int64 { return b.Earliest + (b.Latest-b.Earliest)/2 }

// Circuit is the circuit breaker of one slot as all instances share it. The
// zero Circuit is closed and was never written.
//
// Circuits are ordered by (Incarnation, Epoch): every transition is the next
// epoch, written by compare-and-swap, so two instances that know the same epoch
// know the same circuit. A new incarnation begins when a record is created,
// replaces an unreadable one, or is reset by an operator.
type Circuit struct {
	Incarnation   uint64
	Epoch         uint64
	State         CircuitState
	Until         int64  // Open: earliest probe; HalfOpen: end of the probe's lease
	Since         int64  // start of the state; Closed: start of the ramp
	Trips         int    // consecutive trips, the present or last one included
	ProbeDueSince int64  // not Closed: since when a probe has been due without a request for it; 0 = it is not
	Owner         string // HalfOpen: the instance that holds the probe's lease
	Lease         uint64 // HalfOpen: the epoch in which the lease was taken; renewals keep it
	Nonce         string // of the write that made this epoch
	Reports       []FailureReport
	LastObjection int64 // when an instance was last served after a report; 0 = never
}

// Supersedes reports whether c is of a later epoch than d.
func (c Circuit) Supersedes(d Circuit) bool {
	return c.Incarnation > d.Incarnation || c.Incarnation == d.Incarnation && c.Epoch > d.Epoch
}

// SameEpoch reports whether results obtained under one hold for the other.
func (c Circuit) SameEpoch(d Circuit) bool {
	return c.Incarnation == d.Incarnation && c.Epoch == d.Epoch
}

// Merge returns the later epoch; of one epoch, the reports of both. It is
// commutative, associative and idempotent.
func (c Circuit) Merge(d Circuit) Circuit {
	switch {
	case c.Supersedes(d):
		return c
	case d.Supersedes(c):
		return d
	}
	if c.compare(d) < 0 {
		c, d = d, c
	}
	c.Reports = mergeReports(c.Reports, d.Reports)
	c.LastObjection = max(c.LastObjection, d.LastObjection)
	return c
}

// compare breaks ties that compare-and-swap rules out, so that Merge is a
// function even of circuits that no instance can have written.
func (c Circuit) compare(d Circuit) int {
	return cmp.Or(
		cmp.Compare(c.State, d.State), cmp.Compare(c.Until, d.Until), cmp.Compare(c.Since, d.Since),
		cmp.Compare(c.Trips, d.Trips), cmp.Compare(c.ProbeDueSince, d.ProbeDueSince), cmp.Compare(c.Owner, d.Owner), cmp.Compare(c.Lease, d.Lease),
		cmp.Compare(c.Nonce, d.Nonce),
	)
}

// Equal reports whether the two are the same in every field.
func (c Circuit) Equal(d Circuit) bool {
	return c.SameEpoch(d) && c.compare(d) == 0 && c.LastObjection == d.LastObjection && slices.Equal(c.Reports, d.Reports)
}

// nextEpoch returns the circuit of the next epoch in the given state. Only the
// count of trips is kept.
func (c Circuit) nextEpoch(state CircuitState, now TimeBounds) Circuit {
	n := Circuit{Incarnation: c.Incarnation, Epoch: c.Epoch + 1, State: state, Since: now.Midpoint(), Trips: c.Trips}
	if n.Incarnation == 0 {
		// A row that was deleted and created again must not pass for an old epoch of the deleted one.
		n.Incarnation = uint64(max(now.Latest, 1))
	}
	return n
}

func (c Circuit) openFor(now TimeBounds, d time.Duration) Circuit {
	n := c.nextEpoch(Open, now)
	n.Until = now.Latest + d.Milliseconds()
	return n
}

// Trip opens a closed circuit. A trip soon after a recovery counts as a
// consecutive one and lasts twice as long as the last.
func (c Circuit) Trip(now TimeBounds, p BreakerPolicy) Circuit {
	if c.State != Closed {
		return c
	}
	trips := 1
	if c.Trips > 0 && now.Earliest < c.Since+2*max(p.SlowStartStep, 0).Milliseconds()+p.Interval.Milliseconds() {
		trips = c.Trips + 1
	}
	n := c.openFor(now, p.OpenDuration(trips))
	n.Trips = trips
	return n
}

// TripMisconfigured opens the circuit for the longest time: a wrong credential
// or a missing deployment stays until an operator changes something.
func (c Circuit) TripMisconfigured(now TimeBounds, p BreakerPolicy) Circuit {
	if c.State == Open {
		return c
	}
	n := c.openFor(now, p.MaxTripDuration)
	n.Trips = max(c.Trips, 1)
	return n
}

// ProbeDue reports whether the one probe may be claimed: the trip is over, or
// the lease of the last probe ended without a result.
func (c Circuit) ProbeDue(now TimeBounds) bool { return c.State != Closed && now.Earliest >= c.Until }

// ClaimProbe gives the probe to owner for one lease.
func (c Circuit) ClaimProbe(owner string, now TimeBounds, p BreakerPolicy) Circuit {
	n := c.nextEpoch(HalfOpen, now)
	n.Owner, n.Lease, n.Until, n.ProbeDueSince = owner, n.Epoch, now.Latest+p.ProbeLease.Milliseconds(), c.ProbeDueSince
	if c.State == HalfOpen || n.ProbeDueSince == 0 {
		n.ProbeDueSince = c.Until
	}
	return n
}

// RenewLease extends the owner's lease. It never ends earlier than before, even
// if the clock is known better by now: the owner may rely on what was granted.
// The model in fleet/model found this rule.
func (c Circuit) RenewLease(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.nextEpoch(HalfOpen, now)
	n.Since, n.Owner, n.Lease, n.Until = c.Since, c.Owner, c.Lease, max(c.Until, now.Latest+p.ProbeLease.Milliseconds())
	return n
}

// ReturnProbe frees a probe that no request used: any instance may claim it at
// once.
func (c Circuit) ReturnProbe(now TimeBounds) Circuit {
	n := c.nextEpoch(Open, now)
	n.Until, n.ProbeDueSince = now.Earliest, c.ProbeDueSince
	return n
}

// unprobedLimit is how long a probe may be due before the circuit closes
// without one.
const unprobedLimit = 8 * time.Second

// ProbeStarved reports whether a probe has been due and come back unused for
// so long that traffic must be too thin for it: each instance holds the probe
// for a moment only, and requests are rare and arrive at other instances.
func (c Circuit) ProbeStarved(now TimeBounds) bool {
	return c.State == Open && c.ProbeDueSince > 0 && now.Earliest >= max(c.Until, c.ProbeDueSince+unprobedLimit.Milliseconds())
}

// CloseWithoutProbe closes such a circuit. The ramp bounds the damage to a tenth of
// traffic that is thin already.
func (c Circuit) CloseWithoutProbe(now TimeBounds) Circuit { return c.nextEpoch(Closed, now) }

// CloseAfterProbe closes the circuit after a successful probe; the ramp begins.
func (c Circuit) CloseAfterProbe(now TimeBounds) Circuit { return c.nextEpoch(Closed, now) }

// Reopen opens the circuit after a failed probe, for longer than before.
func (c Circuit) Reopen(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.openFor(now, p.OpenDuration(c.Trips+1))
	n.Trips = c.Trips + 1
	return n
}

// Quarantine replaces an unreadable record: its state is unknown and a probe may
// be in flight, so the circuit is open for one lease, in a new incarnation.
func (c Circuit) Quarantine(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.openFor(now, p.ProbeLease)
	n.Incarnation, n.Epoch = nextIncarnation(c.Incarnation, now), 1
	return n
}

// Reset closes the circuit by an operator's command, without a ramp, in a new
// incarnation.
func (c Circuit) Reset(now TimeBounds) Circuit {
	n := c.nextEpoch(Closed, now)
	n.Incarnation, n.Epoch, n.Trips = nextIncarnation(c.Incarnation, now), 1, 0
	return n
}

func nextIncarnation(i uint64, now TimeBounds) uint64 { return max(i+1, uint64(max(now.Latest, 1))) }

// The share of normal traffic in the two steps of a recovery, in percent.
const (
	firstRampShare  = 10
	secondRampShare = 30
)

// Share is how much of its normal traffic a recovering backend gets at now, in
// percent; 0 = all of it. It depends on the record and the instant only, so
// that all instances ramp up together without a write.
func (c Circuit) Share(now int64, p BreakerPolicy) uint8 {
	if c.State != Closed || c.Trips == 0 || p.SlowStartStep <= 0 {
		return 0
	}
	switch step := p.SlowStartStep.Milliseconds(); {
	case now < c.Since+step:
		return firstRampShare
	case now < c.Since+2*step:
		return secondRampShare
	}
	return 0
}
