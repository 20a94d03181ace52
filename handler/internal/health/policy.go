package health

import "time"

// ThrottlePolicy is what the pool document's "throttle" says of waiting; the zero
// value of a field means its default.
type ThrottlePolicy struct {
	DefaultWait time.Duration // when a 429 names no wait; 0 = 10 s
	MaxWait     time.Duration // no wait is longer; 0 = 5 min
	LeaveAt     LeaveAt
}

// LeaveAt says when a backend is so nearly full that its traffic should be
// lowered before it answers 429. The zero LeaveAt is off: an open backend gets
// its full share until it refuses.
type LeaveAt struct {
	Utilization     float64 // of a provisioned deployment, in percent; 0 = off
	RemainingTokens float64 // share of the token limit that is left; 0 = off
}

// WithDefaults is the policy with its zero fields filled in.
func (p ThrottlePolicy) WithDefaults() ThrottlePolicy {
	if p.DefaultWait <= 0 {
		p.DefaultWait = 10 * time.Second
	}
	if p.MaxWait <= 0 {
		p.MaxWait = 5 * time.Minute
	}
	return p
}

// A request-rate limit is judged over windows of 1 or 10 seconds
// (facts/azure-openai.md §3.1), whatever the answer says.
const (
	minRequestWait = time.Second
	maxRequestWait = 10 * time.Second
)

// WaitFor is how long a backend is left alone after a 429 of this kind that asked
// for wait; wait <= 0 is an answer that named none. A provisioned deployment's
// wait is exact and is not rounded (facts/azure-openai.md §3.5).
func (p ThrottlePolicy) WaitFor(kind LimitKind, wait time.Duration) time.Duration {
	if wait <= 0 {
		wait = p.DefaultWait
	}
	if kind == LimitRequests {
		wait = min(max(wait, minRequestWait), maxRequestWait)
	}
	return min(wait, p.MaxWait)
}
