package health

import (
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
// Every transition is an epoch of its own: the revision of the row that it was
// written in, which compare-and-swap makes unique.
type Circuit struct {
	Epoch         uint64
	State         CircuitState
	Until         int64  // Open: earliest probe; HalfOpen: end of the probe's lease; Closed: 0
	Leased        int64  // not HalfOpen: end of a lease that its holder did not end: no probe begins before; 0 = there is none
	Since         int64  // start of the state
	Trips         int    // consecutive trips, the present or last one included
	ProbeDueSince int64  // not Closed: since when a probe has been due without a request for it; 0 = it is not
	FailedBy      string // not Closed: the owner of the last probe, if it failed; "" = none did
	Owner         string // HalfOpen: the instance that holds the probe's lease
	Lease         uint64 // HalfOpen: the epoch in which the lease was taken; renewals keep it
	Nonce         string // of the write that made this epoch
	Suspicions    []Suspicion
	SuspectedAt   int64 // when the first of the suspicions that count was written
	LastObjection int64 // start of the last attempt that was served in spite of suspicions or of an opening; 0 = none
}

// Equal reports whether the two are the same in every field.
func (c Circuit) Equal(d Circuit) bool {
	same := slices.Equal(c.Suspicions, d.Suspicions)
	return same && c.scalars() == d.scalars()
}

// circuitScalars is a circuit without its list, comparable.
type circuitScalars struct {
	epoch, lease               uint64
	state                      CircuitState
	until, leased, since       int64
	probeDueSince              int64
	lastObjection, suspectedAt int64
	trips                      int
	failedBy, owner, nonce     string
}

func (c Circuit) scalars() circuitScalars {
	return circuitScalars{c.Epoch, c.Lease, c.State, c.Until, c.Leased, c.Since, c.ProbeDueSince, c.LastObjection, c.SuspectedAt, c.Trips, c.FailedBy, c.Owner, c.Nonce}
}

// unwritten is the epoch of a transition before its row's revision is known.
const unwritten = 1<<64 - 1

// next returns the circuit after a transition to the given state. The count of
// trips is kept.
func (c Circuit) next(state CircuitState, now TimeBounds) Circuit {
	return Circuit{Epoch: unwritten, State: state, Since: now.Midpoint(), Trips: c.Trips}
}

// WrittenIn returns the circuit with the row's revision as the epoch of a
// transition that has none yet. A lease that begins is named after it.
func (c Circuit) WrittenIn(revision uint64) Circuit {
	if c.Epoch != unwritten {
		return c
	}
	c.Epoch = revision
	if c.State == HalfOpen && c.Lease == 0 {
		c.Lease = revision
	}
	return c
}

func (c Circuit) openFor(now TimeBounds, d time.Duration) Circuit {
	n := c.next(Open, now)
	n.Until = now.Latest + d.Milliseconds()
	return n
}

// trip opens a closed circuit, for the duration of that consecutive trip.
func (c Circuit) trip(now TimeBounds, p BreakerPolicy, trips int) Circuit {
	n := c.openFor(now, p.OpenDuration(trips))
	n.Until, n.Leased = max(n.Until, c.Leased), c.Leased
	n.Trips = trips
	return n
}

// ProbeDue reports whether the one probe may be claimed: the trip is over, or
// the lease of the last probe ended without a result.
func (c Circuit) ProbeDue(now TimeBounds) bool { return c.State != Closed && now.Earliest >= c.Until }

// unfinished is the end of a lease whose probe may be under way, if somebody else
// closes the circuit now: its holder may not know yet that the probe is needless.
func (c Circuit) unfinished() int64 {
	if c.State == HalfOpen {
		return c.Until
	}
	return c.Leased
}

// claimProbe gives the probe to owner for one lease.
func (c Circuit) claimProbe(owner string, now TimeBounds, p BreakerPolicy) Circuit {
	n := c.next(HalfOpen, now)
	n.Owner, n.Until, n.ProbeDueSince, n.FailedBy = owner, now.Latest+p.ProbeLease.Milliseconds(), c.ProbeDueSince, c.FailedBy
	if c.State == HalfOpen || n.ProbeDueSince == 0 {
		n.ProbeDueSince = c.Until
	}
	return n
}

// renewLease extends the owner's lease. It never ends earlier than before, even
// if the clock is known better by now: the owner may rely on what was granted.
// The model in fleet/model found this rule.
func (c Circuit) renewLease(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.next(HalfOpen, now)
	n.Since, n.Owner, n.Lease, n.FailedBy = c.Since, c.Owner, c.Lease, c.FailedBy
	n.Until = max(c.Until, now.Latest+p.ProbeLease.Milliseconds())
	return n
}

// returnProbe frees a probe that no request used: any instance may claim it at
// once.
func (c Circuit) returnProbe(now TimeBounds) Circuit {
	n := c.next(Open, now)
	n.Until, n.ProbeDueSince, n.FailedBy = now.Earliest, c.ProbeDueSince, c.FailedBy
	return n
}

// unprobedLimit is how long a probe may be due before the circuit closes
// without one.
const unprobedLimit = 8 * time.Second

// probeStarved reports whether a probe has been due and come back unused for
// so long that traffic must be too thin for it: each instance holds the probe
// for a moment only, and requests are rare and arrive at other instances.
func (c Circuit) probeStarved(now TimeBounds) bool {
	return c.State == Open && c.ProbeDueSince > 0 && now.Earliest >= max(c.Until, c.ProbeDueSince+unprobedLimit.Milliseconds())
}

// closeForRamp closes the circuit after a served probe, or for want of traffic to
// probe with: each instance lets its traffic grow from then on.
func (c Circuit) closeForRamp(now TimeBounds) Circuit { return c.next(Closed, now) }

// reopen opens the circuit after owner's probe failed, for longer than before.
func (c Circuit) reopen(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.trip(now, p, c.Trips+1)
	n.FailedBy = c.Owner
	return n
}

// Quarantine replaces an unreadable record: its state is unknown and a probe may
// be in flight, so the circuit is open for one lease.
func (c Circuit) Quarantine(now TimeBounds, p BreakerPolicy) Circuit {
	n := c.openFor(now, p.ProbeLease)
	n.Trips, n.Leased = max(c.Trips, 1), n.Until
	return n
}

// Reset closes the circuit without a ramp.
func (c Circuit) Reset(now TimeBounds) Circuit {
	n := c.next(Closed, now)
	n.Trips, n.Leased = 0, c.unfinished()
	return n
}
