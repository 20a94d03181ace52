package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// deferredResponse is an error that other backends may not return: of a provisioned
// deployment with a shorter context than pay-as-you-go
// (docs/azure-openai.md#provisioned-throughput), or of a backend that does not hold
// what the request refers to. The caller gets it when no backend serves.
type deferredResponse struct {
	backend    *balancer.Backend
	wholeGroup bool // its whole priority group would return it
	response   *http.Response
}

// maxDeferredBody is how much of its body is kept.
const maxDeferredBody = 64 << 10

// appliesTo reports whether the backend would return the same error.
func (d *deferredResponse) appliesTo(b *balancer.Backend) bool {
	return d != nil && d.wholeGroup && d.backend.Priority == b.Priority
}

// Values of Reason in outcomes of class Served to which another backend
// may answer differently.
const (
	// ContextLength: the prompt is too long for the deployment.
	ContextLength = "context length"
	// NotHeld: the request refers to what the backend does not hold
	// (docs/azure-openai.md#stateful-operations).
	NotHeld = "not held here"
)

// deferResponse keeps a response to which another backend may answer differently, and reports
// whether it did: once when the prompt is too long for a provisioned backend, and
// always while the backend that holds what the request refers to is unknown.
func (r *run) deferResponse(b *balancer.Backend, res *http.Response, o health.Outcome) bool {
	if o.Reason != ContextLength && o.Reason != NotHeld {
		return false
	}
	r.mu.Lock() // a hedge may be under way
	defer r.mu.Unlock()
	tooLong := b.Provisioned && o.Reason == ContextLength && r.deferred == nil
	searching := o.Reason == NotHeld && r.request.PinnedTo != nil && r.request.pinnedBackend() == ""
	if !tooLong && !searching {
		return false
	}
	if searching {
		r.failed = append(r.failed, b.Slot)
		if r.deferred != nil {
			return true
		}
	}
	kept, err := io.ReadAll(io.LimitReader(res.Body, maxDeferredBody))
	if err != nil {
		return false
	}
	response := *res
	response.Body = io.NopCloser(bytes.NewReader(kept))
	r.deferred = &deferredResponse{backend: b, wholeGroup: tooLong, response: &response}
	return true
}

// A backend may not find what it just created
// (docs/azure-openai.md#stateful-operations): then it is asked once more.
const (
	recentlyCreated = 30 * time.Second
	visibilityDelay = 300 * time.Millisecond
)

// scheduleSameBackendRetry reports whether the same backend is to be asked again.
func (r *run) scheduleSameBackendRetry(res *http.Response, o health.Outcome) bool {
	unknown := o.Reason == NotHeld || res.StatusCode == http.StatusNotFound && r.readsStored()
	pin := r.request.PinnedTo
	if r.retriedSame || !unknown || pin == nil || pin.Backend == "" || r.Now().Sub(pin.CreatedAt) > recentlyCreated {
		return false
	}
	r.retryPending, r.retriedSame = true, true
	return true
}

// retrySame waits before the same backend is asked again, and reports whether it is
// to be.
func (r *run) retrySame(ctx context.Context) bool {
	if !r.retryPending {
		return false
	}
	r.retryPending = false
	_ = r.Queue.Wait(ctx, r.priorityClass(), visibilityDelay) // without a slot it is asked at once
	return ctx.Err() == nil
}

// deliverDeferred delivers the deferred response, if there is one. It does not when a
// backend that was not asked may hold what the request refers to.
func (r *run) deliverDeferred(ctx context.Context) bool {
	if r.deferred == nil || ctx.Err() != nil || !r.deferred.wholeGroup && r.someHolderUnasked() {
		return false
	}
	r.result.Delivery = r.deliver(ctx, &BackendResponse{
		Backend: r.deferred.backend, Model: r.result.Pool.Model, Response: r.deferred.response, Result: r.result, Start: r.Now(),
		Cancel: func(error) {}, Hooks: CommitHooks{MayCommit: r.meetsDeadline, Committed: func() {}},
	})
	r.result.ServedBy = r.deferred.backend
	return r.result.Delivery.Committed
}

// someHolderUnasked reports whether a backend that may hold what the request refers to
// was throttled or failed, and so could not answer.
func (r *run) someHolderUnasked() bool {
	for i := range r.result.Pool.Backends {
		b := &r.result.Pool.Backends[i]
		if b.Weight > 0 && !slices.Contains(r.failed, b.Slot) && b.Permits(r.request.Consumer.Bounds()) {
			return true
		}
	}
	return slices.ContainsFunc(r.result.Attempts, func(a Attempt) bool { return a.Outcome.Class == health.Failed })
}
