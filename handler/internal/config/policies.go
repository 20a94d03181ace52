package config

import (
	"time"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/health"
)

// ThrottlePolicy is what is done when a backend answers 429.
type ThrottlePolicy struct {
	AcceptRetryAfter bool
	DefaultWait      time.Duration
	MaxWait          time.Duration
	Utilization      float64 // leave at this percentage of a provisioned deployment; 0 = never
	RemainingTokens  float64 // leave when this share of the tokens per minute is left; 0 = never
}

func breakerPolicy(b *document.CircuitBreaker) health.BreakerPolicy {
	return health.BreakerPolicy{
		Failures: b.Failures, Interval: time.Duration(b.Interval),
		Percentage: b.Percentage, MinimumRequests: b.MinimumRequests,
		TripDuration: time.Duration(b.TripDuration), MaxTripDuration: time.Duration(b.MaxTripDuration),
	}
}

func throttlePolicy(t *document.Throttle) ThrottlePolicy {
	out := ThrottlePolicy{
		AcceptRetryAfter: t.AcceptRetryAfter,
		DefaultWait:      time.Duration(t.DefaultWait), MaxWait: time.Duration(t.MaxWait),
	}
	if t.LeaveAt != nil && t.LeaveAt.Enabled {
		out.Utilization, out.RemainingTokens = t.LeaveAt.Utilization, t.LeaveAt.RemainingTokens
	}
	return out
}
