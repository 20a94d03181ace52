package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
)

// call is a parsed request with the pools that may serve it.
type call struct {
	request *proxy.Request
	pools   []*balancer.Pool
}

// forward has a backend serve the request within the consumer's quota.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, rec *RequestRecord, c *call) *Error {
	admitted := &stateOf(r).admission
	reserved := admitted.reserved
	if admitted.pool == nil {
		var apiErr *Error
		if reserved, apiErr = s.reserve(w, r, c); apiErr != nil {
			return apiErr
		}
	}
	defer reserved.Refund() // after a panic; no-op once settled
	if s.Transcript != nil && c.request.Consumer != nil && c.request.Consumer.Transcripts {
		w = s.Transcript(w, c.request)
	}
	c.request.Another, c.request.Fallback = reserved.Another(), reserved.Fallback()
	c.request.Received, c.request.Deadline = rec.Start, clientDeadline(r, rec.Start)
	attempts, finished, cancel := callerContext(r.Context())
	defer cancel(nil)
	c.request.Cancel = cancel
	answer := s.Relay.Open(w, c.request)
	rec.Result = s.Forwarder.Do(attempts, c.pools, c.request, func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
		if c.request.StreamedBody != nil {
			drainBody(r) // the backend answered before the body ended
		}
		s.recordBackend(w, r, rec, a)
		s.rememberObjects(r.Context(), c.request, a, reserved)
		a.Hooks.Finished, a.Hooks.Progress = finished, reserved.Progress
		return answer.Deliver(ctx, a)
	})
	s.settle(w, rec, c, reserved)
	if rec.Result.Err == nil {
		return nil
	}
	apiErr := s.exhaustionError(rec.Result, c)
	body := apiErr.body(rec.ID, false)
	if apiErr.Status == statusClientClosed {
		body = nil // when the process stops, the caller is still there
	}
	if !answer.Fail(body) {
		return apiErr
	}
	rec.Code, rec.Cause, rec.Result.Delivery.Broken = apiErr.Code, apiErr.Cause, true
	return nil
}

// maxClientDeadline is the longest deadline of a caller that is honoured.
const maxClientDeadline = time.Hour

// clientDeadline is when the caller's SDK gives up waiting for the first byte
// (docs/azure-openai.md#sdk-retries); zero when it does not say.
func clientDeadline(r *http.Request, received time.Time) time.Time {
	limit := maxClientDeadline
	for _, name := range [...]string{"X-Stainless-Timeout", "X-Stainless-Read-Timeout"} {
		value := r.Header.Get(name)
		if value == "" {
			continue
		}
		if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds > 0 && seconds < maxClientDeadline.Seconds() {
			limit = min(limit, time.Duration(seconds*float64(time.Second)))
		}
	}
	if limit == maxClientDeadline {
		return time.Time{}
	}
	return received.Add(limit)
}

// recordBackend records the serving backend, and sets its headers, once the
// response may be committed: two attempts may compete for that.
func (s *Server) recordBackend(w http.ResponseWriter, r *http.Request, rec *RequestRecord, a *proxy.BackendResponse) {
	gate := a.Hooks.MayCommit
	a.Hooks.MayCommit = func() bool {
		if !gate() {
			return false
		}
		rec.Backend = a.Backend
		s.setBackendHeaders(w, r, a)
		return true
	}
}

// setBackendHeaders names the fallback model and, if configured, the backend and
// the decision.
func (s *Server) setBackendHeaders(w http.ResponseWriter, r *http.Request, a *proxy.BackendResponse) {
	h := w.Header()
	if len(a.Result.Attempts) > 0 && a.Result.Pool.Model != a.Result.Decision.Model {
		h.Set("X-Spillway-Model", a.Result.Pool.Model)
	}
	if !s.Expose {
		return
	}
	h.Set("X-Spillway-Backend", a.Backend.Name)
	if a.Backend.Region != "" {
		h.Set("X-Spillway-Region", a.Backend.Region)
	}
	if r.Header.Get("X-Spillway-Explain") != "" {
		h.Set("X-Spillway-Explain", Explain(a.Result, s.Now()))
	}
}

// exhaustionError returns the error for a request that no backend served.
func (s *Server) exhaustionError(result *proxy.Result, c *call) *Error {
	req := c.request
	switch ref, continues := continuedThread(req); {
	case continues && (errors.Is(result.Err, proxy.ErrThrottled) || errors.Is(result.Err, proxy.ErrUnavailable)):
		return threadNotFound(ref) // any other backend serves a new one
	case errors.Is(result.Err, proxy.ErrThrottled) && result.TooLarge:
		return requestTooLargeForPool(req.Model, s.throttleWait(result.RetryAt))
	case errors.Is(result.Err, proxy.ErrThrottled):
		return poolThrottled(req, result.Fence, s.throttleWait(result.RetryAt))
	case errors.Is(result.Err, proxy.ErrNotDeployed):
		return deploymentNotFound(req, s.Models.Names(req.Consumer))
	case errors.Is(result.Err, proxy.ErrRefused):
		return s.refusedByAll(req, result)
	case errors.Is(result.Err, overload.ErrOverloaded):
		return s.overloaded()
	case errors.Is(result.Err, proxy.ErrBody):
		return bodyError(req.StreamedBody.Err(), s.MaxBody)
	case errors.Is(result.Err, proxy.ErrConstrainedOut):
		return constrainedOut(req.Model, req.Consumer, result)
	case errors.Is(result.Err, proxy.ErrTimeout):
		return upstreamTimeout(req)
	case errors.Is(result.Err, proxy.ErrCallerLeft):
		return clientClosed()
	}
	return noBackendAvailable(req, result.Fence, s.outageWait(result.RetryAt))
}

// The longest waits that callers are asked for. Several SDKs sleep as long as they
// are told, others ignore more than 60 s (docs/azure-openai.md#sdk-retries). The end
// of a throttle is known; that of an outage is not.
const (
	longestThrottleWait = 59 * time.Second
	longestOutageWait   = 10 * time.Second
)

// throttleWait returns the Retry-After of a 429: until the instant at.
func (s *Server) throttleWait(at time.Time) time.Duration {
	if at.IsZero() {
		return time.Duration((1 + s.Rand()) * float64(5*time.Second))
	}
	return s.jittered(at, longestThrottleWait)
}

// outageWait returns the Retry-After of a 503: until the instant at, or soon.
func (s *Server) outageWait(at time.Time) time.Duration {
	if at.IsZero() {
		return time.Duration((1 + s.Rand()) * float64(time.Second))
	}
	return s.jittered(at, longestOutageWait)
}

// jittered is how long it is from now, when the answer is written, until the instant
// at: up to a tenth longer, so that callers do not return all at once, within 1 s and
// longest.
func (s *Server) jittered(at time.Time, longest time.Duration) time.Duration {
	d := max(at.Sub(s.Now()), 0)
	return min(max(d+time.Duration(s.Rand()*0.1*float64(d)), time.Second), longest)
}

// refusedByAll is the error for what every backend of the model refuses, without an
// answer that can be passed on: the operation is not there, or the gateway's own
// credential is not accepted.
func (s *Server) refusedByAll(req *proxy.Request, result *proxy.Result) *Error {
	all := func(is func(a *proxy.Attempt) bool) bool {
		return !slices.ContainsFunc(result.Attempts, func(a proxy.Attempt) bool { return !is(&a) })
	}
	switch status := result.Refusal; {
	case status < 400, classify.OfServerBetween(status), refusesCredential(status) && !all(func(a *proxy.Attempt) bool { return refusesCredential(a.Status) }):
		return noBackendAvailable(req, result.Fence, s.outageWait(result.RetryAt))
	case refusesCredential(status):
		return gatewayRefused(req, result, s.outageWait(result.RetryAt))
	case result.OurFault() && all(func(a *proxy.Attempt) bool {
		return a.Status == http.StatusGone || a.Outcome.Reason == proxy.NotDeployed
	}):
		return deploymentGone(req, status)
	case slices.ContainsFunc(result.Attempts, func(a proxy.Attempt) bool { return a.Outcome.Reason == strconv.Itoa(status) }):
		return refusedWithoutReason(req, status)
	default:
		return operationRefused(req, status)
	}
}

func refusesCredential(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusPaymentRequired || status == http.StatusForbidden
}
