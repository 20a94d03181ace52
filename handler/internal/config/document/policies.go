package document

import (
	"cmp"
	"fmt"
	"time"

	"spillway/handler/internal/config/jsondoc"
)

// BreakerOf is the circuitBreaker that holds for the backend: its own members,
// and the pool's for those that it has not.
func (d *Document) BreakerOf(b *Backend) CircuitBreaker {
	out := d.CircuitBreaker
	if own := b.CircuitBreaker; own != nil {
		out.Failures = cmp.Or(own.Failures, out.Failures)
		out.Interval = cmp.Or(own.Interval, out.Interval)
		out.Percentage = cmp.Or(own.Percentage, out.Percentage)
		out.TripDuration = cmp.Or(own.TripDuration, out.TripDuration)
		out.MaxTripDuration = cmp.Or(own.MaxTripDuration, out.MaxTripDuration)
	}
	return out
}

// Override is the members of other that differ from the pool's, nil when none
// does.
func (b *CircuitBreaker) Override(other *CircuitBreaker) *BackendBreaker {
	own := BackendBreaker{
		Failures: differing(other.Failures, b.Failures), Interval: differing(other.Interval, b.Interval),
		Percentage:   differing(other.Percentage, b.Percentage),
		TripDuration: differing(other.TripDuration, b.TripDuration), MaxTripDuration: differing(other.MaxTripDuration, b.MaxTripDuration),
	}
	if own == (BackendBreaker{}) {
		return nil
	}
	return &own
}

// differing is the value, or zero when it is the pool's.
func differing[T comparable](value, pools T) (own T) {
	if value != pools {
		own = value
	}
	return own
}

// ThrottleOf is the throttle that holds for the backend: its own members, and
// the pool's for those that it has not.
func (d *Document) ThrottleOf(b *Backend) Throttle {
	out := d.Throttle
	own := b.Throttle
	if own == nil {
		return out
	}
	if own.AcceptRetryAfter != nil {
		out.AcceptRetryAfter = *own.AcceptRetryAfter
	}
	if own.LeaveAt != nil {
		out.LeaveAt = own.LeaveAt
	}
	out.DefaultWait = cmp.Or(own.DefaultWait, out.DefaultWait)
	out.MaxWait = cmp.Or(own.MaxWait, out.MaxWait)
	return out
}

// Override is the members of other that differ from the pool's, nil when none
// does.
func (t *Throttle) Override(other *Throttle) *BackendThrottle {
	own := BackendThrottle{
		DefaultWait: differing(other.DefaultWait, t.DefaultWait), MaxWait: differing(other.MaxWait, t.MaxWait),
		LeaveAt: differing(other.LeaveAt, t.LeaveAt),
	}
	if other.AcceptRetryAfter != t.AcceptRetryAfter {
		own.AcceptRetryAfter = &other.AcceptRetryAfter
	}
	if own == (BackendThrottle{}) {
		return nil
	}
	return &own
}

// String is the policy in a sentence.
func (b CircuitBreaker) String() string {
	return fmt.Sprintf("%d failures in %v that are at least %d %% of the answers; open %v, doubling up to %v",
		b.Failures, b.Interval, b.Percentage, b.TripDuration, b.MaxTripDuration)
}

// String is the policy in a sentence.
func (t Throttle) String() string {
	text := fmt.Sprintf("as long as the answer asks, else %v, at most %v", t.DefaultWait, t.MaxWait)
	if !t.AcceptRetryAfter {
		text = fmt.Sprintf("always %v", t.DefaultWait)
	}
	if t.LeaveAt != nil && t.LeaveAt.Enabled {
		text += fmt.Sprintf("; less traffic from %v %% utilization or %v of the tokens left", t.LeaveAt.Utilization, t.LeaveAt.RemainingTokens)
	}
	return text
}

// checkPolicies looks at the pool's circuitBreaker and throttle and, where a
// backend has its own, at what holds for it.
func (r *Report) checkPolicies(d *Document) {
	r.checkBreaker("circuitBreaker", &d.CircuitBreaker)
	r.checkThrottle("throttle", &d.Throttle)
	for i := range d.Backends {
		b, at := &d.Backends[i], jsondoc.Index("backends", i)
		if b.CircuitBreaker != nil {
			breaker := d.BreakerOf(b)
			r.checkBreaker(jsondoc.Join(at, "circuitBreaker"), &breaker)
		}
		if b.Throttle != nil {
			throttle := d.ThrottleOf(b)
			r.checkThrottle(jsondoc.Join(at, "throttle"), &throttle)
		}
	}
	const fix = "Remove it."
	if d.CircuitBreaker.MinimumRequests != 0 {
		r.Warn("circuitBreaker.minimumRequests", "is ignored: failures must be percentage of the answers and at least as many as failures says", fix)
	}
	if d.CircuitBreaker.StatusCodes != nil {
		r.Warn("circuitBreaker.statusCodes", "is ignored: 408, 500 to 599, redirects, connection errors and timeouts are failures", fix)
	}
}

func (r *Report) checkBreaker(at string, b *CircuitBreaker) {
	r.checkInterval(at, b)
	if b.MaxTripDuration < b.TripDuration {
		r.Fault(jsondoc.Join(at, "maxTripDuration"), b.MaxTripDuration.String()+" is shorter than tripDuration, which is "+b.TripDuration.String(), "Make it as long or longer.")
	}
}

// How many failures a second one instance would have to see until the first rule
// opens a circuit: no instance sees so many, and few do.
const (
	impossibleFailures = 10_000
	rareFailures       = 100
)

// checkInterval looks whether an instance can see the failures within the interval.
func (r *Report) checkInterval(at string, b *CircuitBreaker) {
	rate := float64(b.Failures) / time.Duration(b.Interval).Seconds()
	text := fmt.Sprintf("%s is too short for %d failures: an instance would have to see %.0f a second", b.Interval, b.Failures, rate)
	fix := fmt.Sprintf("Make it at least %s, or failures less.", jsondoc.Duration(time.Duration(float64(b.Failures)/rareFailures*float64(time.Second)).Round(time.Millisecond)))
	switch at = jsondoc.Join(at, "interval"); {
	case rate > impossibleFailures:
		r.Fault(at, text, fix)
	case rate > rareFailures:
		r.Warn(at, text, fix)
	}
}

func (r *Report) checkThrottle(at string, t *Throttle) {
	if t.MaxWait < t.DefaultWait {
		r.Fault(jsondoc.Join(at, "maxWait"), t.MaxWait.String()+" is shorter than defaultWait, which is "+t.DefaultWait.String(), "Make it as long or longer.")
	}
}
