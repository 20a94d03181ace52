// Package breaker is the circuit breaker as arithmetic: a state, a policy and
// the instant, and out comes the next state. It never reads the clock.
package breaker

import "time"

// Phase is the position of the circuit.
type Phase uint8

// The phases. The zero Phase is Closed, so a backend never heard of is usable.
const (
	Closed Phase = iota
	Open
	HalfOpen
)

func (p Phase) String() string {
	switch p {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "unknown"
}

// Policy says how eager the circuit is. It is what the pool document's
// "circuitBreaker" says; the zero value of a field means its default.
type Policy struct {
	Failures        int           // failures within Interval, summed over the fleet, that trip it
	Interval        time.Duration // the window in which failures are counted
	Percentage      int           // or: this share of the requests of the window, in percent …
	MinimumRequests int           // … once there were this many
	TripDuration    time.Duration // how long the first trip lasts
	MaxTripDuration time.Duration // consecutive trips last twice as long, up to this
	Lease           time.Duration // how long one probe may own the half-open circuit before it must be renewed
}
