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
	Refusing  BackendState = "refusing"  // an operation that others serve, and takes other requests
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

// takesRequests reports whether requests other than probes are sent: of a backend
// that refuses some, whether it serves others.
func (b *BackendStatus) takesRequests() bool {
	return b.State.acceptsRequests() || b.State == Refusing && b.Minute.Served > 0
}

// label is the state as shown on the page.
func (c BackendState) label(h *health.Health) string {
	switch c {
	case Partial:
		return fmt.Sprintf("%d\u00a0%% of its usual traffic", h.TrafficPercent)
	case Throttled:
		return fmt.Sprintf("throttled (%s)", h.Throttle.Kind)
	case Open:
		if h.Own {
			return "circuit open on this instance alone"
		}
		return "circuit open"
	case Unused:
		return "weight 0"
	case Available, HalfOpen, Drained, Refusing:
	}
	return string(c)
}

// detail explains the state; "" = there is nothing to explain.
func (c BackendState) detail(h *health.Health, now time.Time) string {
	if models := h.ThrottledModels(now); c.acceptsRequests() && len(models) > 0 {
		return "throttled for " + nameSome(models)
	}
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
	case Available, Partial, Drained, Refusing, Unused:
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

// summarizePool sets the state of the pool, a sentence about it, and since when.
// Backends of weight 0 do not count.
func summarizePool(s *PoolStatus) {
	first, taking, out := surveyPool(s)
	throttled := slices.ContainsFunc(out, func(b *BackendStatus) bool { return b.State == Throttled })
	switch {
	case first < 0:
		s.State, s.Summary = Down, "no backend has a weight above 0"
	case taking < 0 && throttled:
		s.State, s.Summary, s.Since = Exhausted, "no backend takes requests: "+listBackends(out), latestSince(out)
		s.LeftMS = soonest(out)
	case taking < 0:
		s.State, s.Summary, s.Since = Down, "no backend takes requests: "+listBackends(out), latestSince(out)
	case taking != first:
		higher := slices.DeleteFunc(slices.Clone(out), func(b *BackendStatus) bool { return b.Priority >= s.Groups[taking].Priority })
		s.State, s.Summary, s.Since = Spilling, fmt.Sprintf("priority %d serves: %s", s.Groups[taking].Priority, listBackends(out)), latestSince(higher)
	case len(out) > 0:
		s.State, s.Summary, s.Since = Reduced, listBackends(out), earliestSince(out)
	default:
		s.State, s.Summary = Healthy, fmt.Sprintf("priority %d serves all requests", s.Groups[taking].Priority)
	}
}

// surveyPool is the first group with a backend that may get traffic, the first one
// that takes requests, below 0 when there is none, and the backends that do not
// serve as usual.
func surveyPool(s *PoolStatus) (first, taking int, out []*BackendStatus) {
	first, taking = -1, -1
	for i := range s.Groups {
		for j := range s.Groups[i].Backends {
			b := &s.Groups[i].Backends[j]
			if b.State == Unused {
				continue
			}
			if first < 0 {
				first = i
			}
			if taking < 0 && b.takesRequests() {
				taking = i
			}
			if b.State != Available {
				out = append(out, b)
			}
		}
	}
	return first, taking, out
}

// latestSince is when the last of them stopped; nil = unknown.
func latestSince(out []*BackendStatus) (at *time.Time) {
	for _, b := range out {
		if b.Since != nil && (at == nil || b.Since.After(*at)) {
			at = b.Since
		}
	}
	return at
}

// earliestSince is when the first of them stopped; nil = unknown.
func earliestSince(out []*BackendStatus) (at *time.Time) {
	for _, b := range out {
		if b.Since != nil && (at == nil || b.Since.Before(*at)) {
			at = b.Since
		}
	}
	return at
}

// soonest is the time until the first of the throttled ones takes requests again.
func soonest(out []*BackendStatus) int64 {
	var left int64
	for _, b := range out {
		if b.State == Throttled && (left == 0 || b.LeftMS < left) {
			left = b.LeftMS
		}
	}
	return left
}

// listBackends names backends with their states, those with the same reason
// together, and the first few reasons.
func listBackends(out []*BackendStatus) string {
	const most = 3
	var reasons []string
	by := map[string][]string{}
	for _, b := range out {
		reason := b.reason()
		if by[reason] == nil {
			reasons = append(reasons, reason)
		}
		by[reason] = append(by[reason], b.Name)
	}
	var parts []string
	others := len(out)
	for _, reason := range reasons[:min(len(reasons), most)] {
		names := by[reason]
		others -= len(names)
		if len(names) > most {
			parts = append(parts, fmt.Sprintf("%d backends: %s", len(names), reason))
			continue
		}
		parts = append(parts, strings.Join(names, ", ")+": "+reason)
	}
	if others > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", others))
	}
	return strings.Join(parts, "; ")
}

// reason is why the backend does not serve as usual.
func (b *BackendStatus) reason() string {
	switch {
	case b.State == Drained && b.Drained != nil && b.Drained.By != "":
		return "drained by " + b.Drained.By
	case b.State == Throttled, b.State == Drained, b.Why == "":
		return b.Label
	}
	return b.Label + " (" + b.Why + ")"
}
