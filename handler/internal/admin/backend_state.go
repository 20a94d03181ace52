package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// BackendState is a backend's state in one word, the one that decides whether it
// is offered requests.
type BackendState string

// The conditions.
const (
	Available BackendState = "available"
	Partial   BackendState = "partial"   // takes a share of its traffic: recovering, or nearly full
	Throttled BackendState = "throttled" // asked to be left alone
	HalfOpen  BackendState = "half-open" // one probe of the fleet
	Open      BackendState = "open"      // its breaker is open
	Drained   BackendState = "drained"   // an operator's word
	Unused    BackendState = "unused"    // weight 0
)

// backendState follows the order in which requests are refused.
func backendState(b *balancer.Backend, h *health.Health, now time.Time) BackendState {
	switch {
	case b.Weight <= 0:
		return Unused
	case h.Drained:
		return Drained
	case h.State == health.Open:
		return Open
	case h.State == health.HalfOpen:
		return HalfOpen
	case h.Throttle.Blocks(now, 1<<62):
		return Throttled
	case h.Share > 0:
		return Partial
	}
	return Available
}

// acceptsRequests reports whether ordinary requests are offered.
func (c BackendState) acceptsRequests() bool { return c == Available || c == Partial }

// label says it for people, in few label.
func (c BackendState) label(h *health.Health) string {
	switch c {
	case Partial:
		return fmt.Sprintf("takes %d\u00a0%% of its share", h.Share)
	case Throttled:
		return fmt.Sprintf("throttled (%s)", h.Throttle.Kind)
	case Open:
		return "breaker open"
	case Unused:
		return "weight 0"
	case Available, HalfOpen, Drained:
	}
	return string(c)
}

// detail is what else is worth knowing; "" for nothing.
func (c BackendState) detail(h *health.Health, now time.Time) string {
	switch {
	case c == Throttled && h.Throttle.MaxTokens > 0:
		return "requests of up to " + formatCount(h.Throttle.MaxTokens) + " tokens still fit"
	case c == HalfOpen && h.Probe:
		return "the next request is the probe"
	case c == HalfOpen:
		return "one probe is under way"
	case c == Open && !now.Before(h.Until):
		return "cooled down: the next request that wants it brings the probe"
	}
	return ""
}

// until is when the condition may change by itself; zero when it does not.
func (c BackendState) until(h *health.Health) time.Time {
	switch c {
	case Open, HalfOpen:
		return h.Until
	case Throttled:
		return h.Throttle.Until
	case Available, Partial, Drained, Unused:
	}
	return time.Time{}
}

// byPriority is the backends, lowest number first, else as configured.
func byPriority(backends []balancer.Backend) []*balancer.Backend {
	order := make([]*balancer.Backend, len(backends))
	for i := range backends {
		order[i] = &backends[i]
	}
	slices.SortStableFunc(order, func(a, b *balancer.Backend) int { return cmp.Compare(a.Priority, b.Priority) })
	return order
}

// summarizePool says how the pool does as a whole. Backends of weight 0 do not count.
func summarizePool(s *PoolStatus) (PoolState, string) {
	const none = -1
	first, taking, out := none, none, []*BackendStatus{}
	for i := range s.Groups {
		for j := range s.Groups[i].Backends {
			b := &s.Groups[i].Backends[j]
			if b.State == Unused {
				continue
			}
			if first == none {
				first = i
			}
			if taking == none && b.State.acceptsRequests() {
				taking = i
			}
			if b.State != Available {
				out = append(out, b)
			}
		}
	}
	switch {
	case first == none:
		return Down, "No backend has a weight: no request can be served."
	case taking == none:
		return Down, "No backend takes requests: " + listBackends(out) + "."
	case taking != first:
		return Spilling, fmt.Sprintf("Requests spill to priority %d: %s.", s.Groups[taking].Priority, listBackends(out))
	case len(out) > 0:
		return Reduced, fmt.Sprintf("Priority %d takes requests, but %s.", s.Groups[taking].Priority, listBackends(out))
	}
	return Healthy, fmt.Sprintf("Priority %d takes all requests.", s.Groups[taking].Priority)
}

// listBackends names the backends with what is the matter, the first few of them.
func listBackends(out []*BackendStatus) string {
	const most = 3
	var parts []string
	for _, b := range out[:min(len(out), most)] {
		text := b.Name + " is " + b.Label
		switch b.State {
		case Open:
			text = b.Name + " has its breaker open"
		case Partial:
			text = b.Name + " " + b.Label
		case Available, Throttled, HalfOpen, Drained, Unused:
		}
		if b.Why != "" && b.State != Throttled {
			text += " (" + b.Why + ")"
		}
		parts = append(parts, text)
	}
	if more := len(out) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}
