package admin

import (
	"cmp"
	"fmt"
	"slices"
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
	case c == Open && h.Evidence != "":
		return "failed: " + h.Evidence
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
