// Package breaker is the circuit breaker as arithmetic: a state, a policy and
// the instant, and out comes the next state. It never reads the clock.
//
// Instants are Unix milliseconds of the table service's clock, the only clock
// that all instances share (facts/table-state.md §0). Nobody knows that clock
// exactly, so the instant of "now" is a [TimeBounds].
package health

import "time"

// CircuitState is the position of the circuit.
type CircuitState uint8

// The phases. The zero Phase is Closed, so a backend never heard of is usable.
const (
	Closed CircuitState = iota
	Open
	HalfOpen
)

func (p CircuitState) String() string {
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

// BreakerPolicy says how eager the circuit is. It is what the pool document's
// "circuitBreaker" says; the zero value of a field means its default.
type BreakerPolicy struct {
	Failures        int           // failures within Interval, summed over the fleet, that trip it; 0 = 5
	Interval        time.Duration // the window in which failures are counted; 0 = 10 s
	Percentage      int           // or: this share of an instance's requests of the window, in percent …; 0 = off
	MinimumRequests int           // … once there were this many; 0 = 20
	TripDuration    time.Duration // how long the first trip lasts; 0 = 10 s
	MaxTripDuration time.Duration // consecutive trips last twice as long, up to this; 0 = 5 min
	ProbeLease      time.Duration // how long one probe may own the half-open circuit before it must be renewed; 0 = 10 s
	RampStep        time.Duration // how long each of the two steps back to full traffic takes; 0 = half of TripDuration, < 0 = none
	ObjectionPeriod time.Duration // how long a lone accuser waits to be contradicted before it trips the fleet; 0 = 1.5 s
}

// WithDefaults is the policy with its zero fields filled in.
func (p BreakerPolicy) WithDefaults() BreakerPolicy {
	setInt(&p.Failures, 5)
	setInt(&p.MinimumRequests, 20)
	set(&p.Interval, 10*time.Second)
	set(&p.TripDuration, 10*time.Second)
	set(&p.MaxTripDuration, 5*time.Minute)
	set(&p.ProbeLease, 10*time.Second)
	set(&p.RampStep, p.TripDuration/2)
	set(&p.ObjectionPeriod, 1500*time.Millisecond)
	p.MaxTripDuration = max(p.MaxTripDuration, p.TripDuration)
	return p
}

func set(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}

func setInt(n *int, to int) {
	if *n <= 0 {
		*n = to
	}
}

// OpenDuration is how long the given consecutive trip lasts: the first TripDuration,
// each further one twice as long, at most MaxTripDuration.
func (p BreakerPolicy) OpenDuration(trip int) time.Duration {
	d := p.TripDuration
	for n := 1; n < trip && d < p.MaxTripDuration; n++ {
		d *= 2
	}
	return min(d, p.MaxTripDuration)
}

// TimeBounds is what is known of the instant: the table service's clock stands
// somewhere in it. Whoever must give something up acts at Hi reaching the
// deadline, whoever may take it at Lo reaching it: they never overlap.
type TimeBounds struct{ Earliest, Latest int64 }

// Midpoint is the best guess, for what needs no exclusion.
func (s TimeBounds) Midpoint() int64 { return s.Earliest + (s.Latest-s.Earliest)/2 }
