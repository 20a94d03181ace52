package health

import (
	"cmp"
	"time"
)

// BreakerPolicy is the pool document's "circuitBreaker". The zero value of a
// field means its default.
type BreakerPolicy struct {
	Failures        int           // failures of one instance within Interval that open the circuit, if they are Percentage of its outcomes; 0 = 5
	Interval        time.Duration // the window in which outcomes count; 0 = 10 s
	Percentage      int           // of an instance's outcomes within Interval; 0 = 50
	TripDuration    time.Duration // how long the first trip lasts; 0 = 10 s
	MaxTripDuration time.Duration // consecutive trips double, up to this; 0 = 5 min
	ProbeLease      time.Duration // how long a probe holds the half-open circuit before it must be renewed; 0 = 10 s
	SlowStartStep   time.Duration // how long each of the two steps to full traffic takes; 0 = half of TripDuration, < 0 = no ramp
}

// WithDefaults returns the policy with its zero fields filled in.
func (p BreakerPolicy) WithDefaults() BreakerPolicy {
	p.Failures = cmp.Or(max(p.Failures, 0), 5)
	p.Percentage = cmp.Or(min(max(p.Percentage, 0), 100), 50)
	p.Interval = cmp.Or(p.Interval, 10*time.Second)
	p.TripDuration = cmp.Or(p.TripDuration, 10*time.Second)
	p.MaxTripDuration = max(cmp.Or(p.MaxTripDuration, 5*time.Minute), p.TripDuration)
	p.ProbeLease = cmp.Or(p.ProbeLease, 10*time.Second)
	p.SlowStartStep = cmp.Or(p.SlowStartStep, p.TripDuration/2)
	return p
}

// doubtfulTrip is how long a circuit is open at first when the last outcomes all
// failed and yet most lately did not: among very many, that happens by chance.
const doubtfulTrip = time.Second

// OpenDuration is how long that consecutive trip lasts: the first TripDuration,
// each further one twice as long, at most MaxTripDuration. Trip 0 is a doubtful
// one, of a second at most.
func (p BreakerPolicy) OpenDuration(trip int) time.Duration {
	if trip == 0 {
		return min(doubtfulTrip, p.TripDuration)
	}
	d := p.TripDuration
	for n := 1; n < trip && d < p.MaxTripDuration; n++ {
		d *= 2
	}
	return min(d, p.MaxTripDuration)
}

// The share of normal traffic in the two steps of a recovery, in percent.
const (
	firstRampShare  = 10
	secondRampShare = 30
)

// RampShare is how much of its normal traffic a backend gets that long after its
// circuit was closed by a probe, in percent; 0 = all of it.
func (p BreakerPolicy) RampShare(closedFor time.Duration) uint8 {
	switch {
	case p.SlowStartStep <= 0:
		return 0
	case closedFor < p.SlowStartStep:
		return firstRampShare
	case closedFor < 2*p.SlowStartStep:
		return secondRampShare
	}
	return 0
}

// ConsecutiveFor is how long after a recovery a trip counts as a consecutive one.
func (p BreakerPolicy) ConsecutiveFor() time.Duration {
	return 2*max(p.SlowStartStep, 0) + p.Interval
}

// ThrottlePolicy is the pool document's "throttle". The zero value of a field
// means its default.
type ThrottlePolicy struct {
	DefaultWait time.Duration // after a 429 without a wait; 0 = 10 s
	MaxWait     time.Duration // no wait is longer; 0 = 5 min
	LeaveAt     LeaveAt
}

// LeaveAt is the saturation at which a backend's traffic is lowered before it
// answers 429. The zero LeaveAt is off: a backend gets its full share until it
// refuses.
type LeaveAt struct {
	Utilization     float64 // of a provisioned deployment, in percent; 0 = off
	RemainingTokens float64 // share of the token limit that is left; 0 = off
}

// WithDefaults returns the policy with its zero fields filled in.
func (p ThrottlePolicy) WithDefaults() ThrottlePolicy {
	p.DefaultWait = cmp.Or(max(p.DefaultWait, 0), 10*time.Second)
	p.MaxWait = cmp.Or(max(p.MaxWait, 0), 5*time.Minute)
	return p
}

// A request limit is judged over windows of 1 or 10 seconds, whatever wait the
// response names (docs/azure-openai.md#how-limits-count).
const (
	minRequestWait = time.Second
	maxRequestWait = 10 * time.Second
)

// WaitFor is how long a backend is not used after a 429 of this kind that asked
// for wait; wait <= 0 means that it named none. A provisioned deployment's wait
// is exact and is not rounded (docs/azure-openai.md#retry-after).
func (p ThrottlePolicy) WaitFor(kind LimitKind, wait time.Duration) time.Duration {
	if wait <= 0 {
		wait = p.DefaultWait
	}
	if kind == LimitRequests {
		wait = min(max(wait, minRequestWait), maxRequestWait)
	}
	return min(wait, p.MaxWait)
}
