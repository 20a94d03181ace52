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

// BackendState is what decides whether a backend gets requests.
type BackendState string

// The states.
const (
	Available BackendState = "available"
	Partial   BackendState = "partial"   // gets a share of its traffic: recovering, or nearly full
	Throttled BackendState = "throttled" // until its throttle window ends
	HalfOpen  BackendState = "half-open" // one probe across all instances, or of this one when its circuit binds it alone
	Open      BackendState = "open"      // its circuit is open
	Drained   BackendState = "drained"   // by an operator
	Unused    BackendState = "unused"    // weight 0
)

// backendState checks in the order in which the balancer skips backends.
func backendState(b *balancer.Backend, h *health.Health, now time.Time) BackendState {
	switch {
	case b.Weight <= 0:
		return Unused
	case h.Drained:
		return Drained
	case h.StateAt(now) == health.Open:
		return Open
	case h.State == health.HalfOpen:
		return HalfOpen
	case h.Throttle.Blocks(now, 1<<62):
		return Throttled
	case h.TrafficPercent > 0:
		return Partial
	}
	return Available
}

// acceptsRequests reports whether requests other than probes are sent.
func (c BackendState) acceptsRequests() bool { return c == Available || c == Partial }

// label is the state as shown on the page.
func (c BackendState) label(h *health.Health) string {
	switch c {
	case Partial:
		return fmt.Sprintf("gets %d\u00a0%% of its share", h.TrafficPercent)
	case Throttled:
		return fmt.Sprintf("throttled (%s)", h.Throttle.Kind)
	case Open:
		if h.Own {
			return "circuit open on this instance alone"
		}
		return "circuit open"
	case Unused:
		return "weight 0"
	case Available, HalfOpen, Drained:
	}
	return string(c)
}

// detail explains the state; "" = there is nothing to explain.
func (c BackendState) detail(h *health.Health, now time.Time) string {
	switch {
	case c == Throttled && h.Throttle.MaxTokens > 0:
		return "requests of up to " + formatCount(h.Throttle.MaxTokens) + " tokens are still sent"
	case c == HalfOpen && h.Probe:
		return "the next request is the probe"
	case c == HalfOpen:
		return "one probe is running"
	case c == Open && !now.Before(h.Until):
		return "the open time is over: the next request is the probe"
	}
	return ""
}

// until is when the state may change by itself; zero = it does not.
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

// byPriority is the backends by ascending priority, and in their configured order.
func byPriority(backends []balancer.Backend) []*balancer.Backend {
	order := make([]*balancer.Backend, len(backends))
	for i := range backends {
		order[i] = &backends[i]
	}
	slices.SortStableFunc(order, func(a, b *balancer.Backend) int { return cmp.Compare(a.Priority, b.Priority) })
	return order
}

// summarizePool is the state of the pool and a sentence about it. Backends of
// weight 0 do not count.
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
		return Down, "No backend has a weight above 0: no request can be served."
	case taking == none:
		return Down, "No backend accepts requests: " + listBackends(out) + "."
	case taking != first:
		return Spilling, fmt.Sprintf("Requests spill to priority %d: %s.", s.Groups[taking].Priority, listBackends(out))
	case len(out) > 0:
		return Reduced, fmt.Sprintf("Priority %d serves, but %s.", s.Groups[taking].Priority, listBackends(out))
	}
	return Healthy, fmt.Sprintf("Priority %d serves all requests.", s.Groups[taking].Priority)
}

// listBackends names the first few backends with their states.
func listBackends(out []*BackendStatus) string {
	const most = 3
	var parts []string
	for _, b := range out[:min(len(out), most)] {
		text := b.Name + " is " + b.Label
		switch b.State {
		case Open:
			text = b.Name + " has an open circuit"
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
