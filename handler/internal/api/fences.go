package api

import (
	"fmt"
	"net/http"
	"slices"
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

// checkGeographies refuses a request that asks to be processed outside the geographies
// of its consumer: some services let a body choose.
func checkGeographies(req *proxy.Request) *Error {
	inside, _ := req.Consumer.Bounds()
	if len(inside) == 0 {
		return nil
	}
	for _, asked := range req.Parsed.Geographies {
		if !slices.ContainsFunc(inside, func(g string) bool { return strings.EqualFold(g, asked) }) {
			return &Error{
				Status: http.StatusForbidden, Type: invalidRequest, Code: "geography_not_allowed", Param: "inference_geo", Final: true,
				Message: fmt.Sprintf("Your key may use%s only, not %q. Leave inference_geo out.", boundsOf(req.Consumer), printable(asked)),
			}
		}
	}
	return nil
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
	backends := "Azure OpenAI backends of this request"
	if model != "" {
		backends = fmt.Sprintf("Azure OpenAI backends for %q", printable(model))
	}
	if fence == proxy.NoFence {
		return backends
	}
	return fmt.Sprintf("%s within%s, which is all that your key may use,", backends, boundsOf(c))
}

// theOnlyBackend is the backend of a request that no other can serve: what it names is
// there, or what it makes is kept there.
const theOnlyBackend = "The Azure OpenAI backend that keeps what this request is about"

func isPinned(req *proxy.Request) bool { return req.PinnedTo != nil && req.PinnedTo.Backend != "" }

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
	if isPinned(req) {
		f.Message = fmt.Sprintf("%s is throttled, and no other can serve it. Please retry after %d seconds.", theOnlyBackend, wholeSeconds(wait))
		return f
	}
	f.Rule = withFence("throttle", fence)
	f.Message = fmt.Sprintf("All %s are throttled. Please retry after %d seconds.", backendsFor(req.Model, req.Consumer, fence), wholeSeconds(wait))
	return f
}

// gatewayRefused is the error for a request that every backend refuses for the
// gateway's own credential, or since its account pays for no more: nothing that its
// caller can mend.
func gatewayRefused(req *proxy.Request, result *proxy.Result, wait time.Duration) *Error {
	f := &Error{
		Status: http.StatusServiceUnavailable, Type: serverError, Code: "no_backend_available", RetryAfter: wait, Rule: withFence("backends", result.Fence),
		Cause: fmt.Errorf("every backend refuses the gateway's own credential: %d", result.Refusal),
	}
	why := "refuse the gateway's own credential; yours is accepted"
	if result.Refusal == http.StatusPaymentRequired && !slices.ContainsFunc(result.Attempts, func(a proxy.Attempt) bool { return a.Status != result.Refusal }) {
		why = "say that the gateway's own account has no credit or quota left; your key is accepted"
		f.Cause = fmt.Errorf("every backend is out of quota: %d", result.Refusal)
	}
	f.Message = fmt.Sprintf("The %s %s. Give your platform team the x-request-id of this answer. Please retry after %d seconds.",
		backendsFor(req.Model, req.Consumer, result.Fence), why, wholeSeconds(wait))
	return f
}

func noBackendAvailable(req *proxy.Request, fence proxy.Fence, wait time.Duration) *Error {
	f := &Error{Status: http.StatusServiceUnavailable, Type: serverError, Code: "no_backend_available", RetryAfter: wait}
	if isPinned(req) {
		f.Message = fmt.Sprintf("%s is not available, and no other can serve it. Please retry after %d seconds.", theOnlyBackend, wholeSeconds(wait))
		return f
	}
	f.Rule = withFence("health", fence)
	f.Message = fmt.Sprintf("None of the %s is available. Please retry after %d seconds; if this lasts, give your platform team the x-request-id of this answer.", backendsFor(req.Model, req.Consumer, fence), wholeSeconds(wait))
	return f
}
