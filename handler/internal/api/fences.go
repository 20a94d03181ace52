package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/proxy"
)

// Limits of single requests.
const (
	concurrency      = "concurrency"
	maxRequestTokens = "maxRequestTokens"
)

// constrainedOut is the error for a model without a backend that the consumer may
// use.
func constrainedOut(model string, c *consumer.Consumer, result *proxy.Result) *Error {
	f := &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "geography_not_allowed", Param: "model", Final: true,
		Rule: fences(result.Decision.Candidates),
	}
	if result.Fence == proxy.FenceMinPriority {
		f.Code = "priority_not_allowed"
	}
	f.Cause = fmt.Errorf("no backend of the model %q is within%s", printable(model), boundsOf(c))
	f.Message = fmt.Sprintf("No backend of the model %q is within%s, which is all that your key may use. Ask your platform team for one.", printable(model), boundsOf(c))
	return f
}

// boundsOf describes what bounds the consumer's choice of backends.
func boundsOf(c *consumer.Consumer) string {
	geographies, minPriority := c.Bounds()
	var bounds []string
	if len(geographies) > 0 {
		bounds = append(bounds, " the geographies "+strings.Join(geographies, ", "))
	}
	if minPriority > 0 {
		bounds = append(bounds, fmt.Sprintf(" the priority groups from %d on", minPriority))
	}
	return strings.Join(bounds, " and")
}

// backendsFor names the backends that did not serve: not all, where a fence keeps
// the consumer from some.
func backendsFor(model string, c *consumer.Consumer, fence proxy.Fence) string {
	if fence == proxy.NoFence {
		return fmt.Sprintf("Azure OpenAI backends for %q", printable(model))
	}
	return fmt.Sprintf("Azure OpenAI backends for %q within%s, which is all that your key may use,", printable(model), boundsOf(c))
}

// withFence is the rule of a refusal, and the fence that keeps the consumer from
// backends that might serve.
func withFence(rule string, fence proxy.Fence) string {
	if fence == proxy.NoFence {
		return rule
	}
	return rule + "," + string(fence)
}

func poolThrottled(req *proxy.Request, fence proxy.Fence, wait time.Duration) *Error {
	f := &Error{Status: http.StatusTooManyRequests, Type: "too_many_requests", Code: "rate_limit_exceeded", RetryAfter: wait}
	if req.PinnedTo != nil && req.PinnedTo.Backend != "" {
		f.Message = fmt.Sprintf("The Azure OpenAI backend that holds what this request refers to is throttled, and no other can serve it. Please retry after %d seconds.", wholeSeconds(wait))
		return f
	}
	f.Rule = withFence("throttle", fence)
	f.Message = fmt.Sprintf("All %s are throttled. Please retry after %d seconds.", backendsFor(req.Model, req.Consumer, fence), wholeSeconds(wait))
	return f
}

// gatewayRefused is the error for a request that every backend refuses for the
// gateway's own credential: nothing that its caller can mend.
func gatewayRefused(req *proxy.Request, result *proxy.Result, wait time.Duration) *Error {
	f := &Error{
		Status: http.StatusServiceUnavailable, Type: serverError, Code: "no_backend_available", RetryAfter: wait, Rule: withFence("backends", result.Fence),
		Cause: fmt.Errorf("every backend refuses the gateway's own credential: %d", result.Refusal),
	}
	f.Message = fmt.Sprintf("The %s refuse the gateway's own credential; yours is accepted. Give your platform team the x-request-id of this answer. Please retry after %d seconds.",
		backendsFor(req.Model, req.Consumer, result.Fence), wholeSeconds(wait))
	return f
}

func noBackendAvailable(req *proxy.Request, fence proxy.Fence, wait time.Duration) *Error {
	f := &Error{Status: http.StatusServiceUnavailable, Type: serverError, Code: "no_backend_available", RetryAfter: wait}
	if req.PinnedTo != nil && req.PinnedTo.Backend != "" {
		f.Message = fmt.Sprintf("The Azure OpenAI backend that holds what this request refers to is not available, and no other can serve it. Please retry after %d seconds.", wholeSeconds(wait))
		return f
	}
	f.Rule = withFence("health", fence)
	f.Message = fmt.Sprintf("None of the %s is available. Please retry after %d seconds; if this lasts, give your platform team the x-request-id of this answer.", backendsFor(req.Model, req.Consumer, fence), wholeSeconds(wait))
	return f
}
