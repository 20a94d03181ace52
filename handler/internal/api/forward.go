package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
)

// call is a request that was understood, with the pools that may serve it.
type call struct {
	request *proxy.Request
	pools   []*balancer.Pool
}

// forward lets the loop find a backend and the carrier take its answer to the
// caller.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, x *Exchange, c *call) *Refusal {
	reserved, refusal := s.reserve(w, r, c)
	if refusal != nil {
		return refusal
	}
	defer reserved.Refund() // of what a panic left open
	if s.Record != nil && c.request.Consumer != nil && c.request.Consumer.Transcripts {
		w = s.Record(w, c.request)
	}
	ctx, committed, end := patience(r)
	defer end()
	x.Result = s.Forward.Do(ctx, c.pools, c.request, func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
		if c.request.StreamedBody != nil {
			drain(r) // the backend has answered early, and the host writes before it reads
		}
		s.announce(w, r, x, a)
		s.remember(c.request, a)
		if committed != nil {
			settled := a.Hooks.Committed
			a.Hooks.Committed = func() { committed(); settled() }
		}
		return s.Carrier.Deliver(ctx, w, c.request, a)
	})
	settle(reserved, x.Result)
	if x.Result.Err != nil {
		return s.exhausted(x.Result, c)
	}
	return nil
}

// longest is how long a caller's own deadline is believed.
const longest = time.Hour

// patience ends the request when the caller's SDK said it would have given up
// (facts/azure-openai.md §7.1), unless the answer was committed by then: the
// SDKs' time-outs end at the first byte. Without such a header there is no end
// but the caller's own, and no cost; committed is nil.
func patience(r *http.Request) (ctx context.Context, committed, end func()) {
	limit := longest
	for _, name := range [...]string{"X-Stainless-Timeout", "X-Stainless-Read-Timeout"} {
		said := r.Header.Get(name)
		if said == "" {
			continue
		}
		if seconds, err := strconv.ParseFloat(said, 64); err == nil && seconds > 0 && seconds < longest.Seconds() {
			limit = min(limit, time.Duration(seconds*float64(time.Second)))
		}
	}
	if limit == longest {
		return r.Context(), nil, func() {}
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() { timer.Stop() }, func() { timer.Stop(); cancel(nil) }
}

// announce tells the caller who serves it once that is certain: two attempts
// may be on their way to the caller at once.
func (s *Server) announce(w http.ResponseWriter, r *http.Request, x *Exchange, a *proxy.BackendResponse) {
	won := a.Hooks.MayCommit
	a.Hooks.MayCommit = func() bool {
		if !won() {
			return false
		}
		x.Serving = a.Backend
		s.expose(w, r, a)
		return true
	}
}

// expose tells the caller who served and why, where configuration allows it.
func (s *Server) expose(w http.ResponseWriter, r *http.Request, a *proxy.BackendResponse) {
	h := w.Header()
	if len(a.Result.Attempts) > 0 && a.Result.Pool.Model != a.Result.Decision.Model {
		h.Set("X-Spillway-Model", a.Result.Pool.Model)
	}
	if !s.Expose {
		return
	}
	h.Set("X-Spillway-Backend", a.Backend.Name)
	h.Set("X-Spillway-Region", a.Backend.Region)
	if r.Header.Get("X-Spillway-Explain") != "" {
		h.Set("X-Spillway-Explain", Explain(a.Result, s.Now()))
	}
}

// exhausted says why nobody served.
func (s *Server) exhausted(result *proxy.Result, c *call) *Refusal {
	req := c.request
	leaning := req.PinnedTo != nil && req.PinnedTo.Backend != ""
	switch {
	case errors.Is(result.Err, proxy.ErrThrottled):
		return throttled(req.Model, s.wait(result.RetryAt), leaning)
	case errors.Is(result.Err, proxy.ErrNotDeployed):
		return modelNotFound(req.Model, s.Models.Names(req.Consumer))
	case errors.Is(result.Err, proxy.ErrBody):
		return unreadable(req.StreamedBody.Err(), s.MaxBody)
	case errors.Is(result.Err, proxy.ErrConstrainedOut):
		return fenced(req.Model)
	case errors.Is(result.Err, proxy.ErrTimeout):
		return timedOut(req.Model)
	case errors.Is(result.Err, proxy.ErrCallerLeft):
		return callerLeft()
	}
	return unavailable(req.Model, s.wait(result.RetryAt), leaning)
}

// wait is how long a caller is told to wait: until the soonest reopening,
// jittered so that callers do not return in one herd, never less than one
// second nor more than 59. Several SDKs sleep whatever they are told, others
// ignore more than 60 (facts/reliability.md rule 3).
func (s *Server) wait(at time.Time) time.Duration {
	if at.IsZero() {
		return time.Duration((1 + s.Chance()) * float64(5*time.Second))
	}
	d := max(at.Sub(s.Now()), 0)
	return min(max(d+time.Duration(s.Chance()*0.1*float64(d)), time.Second), 59*time.Second)
}
