package balancer

import (
	"slices"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
)

// Reasons for which a candidate is passed over that are not its health.
const (
	OutsideGeographies health.Refusal = "outside the consumer's geographies"
	ReservedPriority     health.Refusal = "priority group reserved for other consumers"
	ZeroWeight     health.Refusal = "weight 0"
	NotPinned    health.Refusal = "does not hold what the request refers to"
	UnsupportedOperation       health.Refusal = "no OpenAI-compatible backend, which alone may know this operation"
	Recovering   health.Refusal = "recovering, takes a share only" // placed last, not skipped
)

// Candidate is a backend with the reason it was placed or passed over.
type Candidate struct {
	Backend *Backend
	Reason  health.Refusal // "" = placed by priority and strategy
	Until   time.Time      // when a health reason ends; zero = unknown or none
	rank    float64        // inside its group, lowest first
	probe   bool           // this request may be its probe
}

// Eligible reports whether the candidate is in the line at all.
func (c *Candidate) Eligible() bool { return c.Reason == health.Admitted || c.Reason == Recovering }

// Within reports whether the consumer's own bounds leave the backend to it: its
// geographies, and the groups that are not kept for others. A nil consumer has
// none.
func (b *Backend) Within(c *consumer.Consumer) bool {
	return c == nil || (len(c.Geographies) == 0 || slices.Contains(c.Geographies, b.Geography)) && b.Priority >= c.MinPriority
}

// Decision is who is tried in which order, and why. The log, the explain
// header and the status page print this same value.
type Decision struct {
	Model      string
	Version    uint64      // of the snapshot it was made on
	Candidates []Candidate // the line first, then those passed over
	Eligible       int         // how many are in the line
}

// ConstrainedOut reports whether every backend that could serve was passed over for
// the consumer's own rules, so that neither waiting nor retrying can help.
func (d *Decision) ConstrainedOut() bool {
	return !slices.ContainsFunc(d.Candidates, func(c Candidate) bool {
		return !slices.Contains([]health.Refusal{OutsideGeographies, ReservedPriority, NotPinned, UnsupportedOperation}, c.Reason)
	})
}

// ReopensAt is the soonest instant at which a passed-over candidate may be worth
// another look; zero when none is known. throttledOnly looks at those alone
// that asked to be left alone.
func (d *Decision) ReopensAt(throttledOnly bool) time.Time {
	var soonest time.Time
	for i := range d.Candidates {
		c := &d.Candidates[i]
		if c.Until.IsZero() || throttledOnly && c.Reason != health.RefusedThrottled {
			continue
		}
		if soonest.IsZero() || c.Until.Before(soonest) {
			soonest = c.Until
		}
	}
	return soonest
}
