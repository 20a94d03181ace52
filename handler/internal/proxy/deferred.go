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

// deferredResponse is a refusal that other backends may not share: by a provisioned
// deployment with a shorter context than pay-as-you-go
// (facts/azure-openai.md §3.6), or by one that does not hold what the request
// refers to. It is the caller's answer when nobody serves.
type deferredResponse struct {
	backend    *balancer.Backend
	wholeGroup bool // its whole priority group would say the same
	response   *http.Response
}

// maxDeferredBody is how much of such an answer is kept.
const maxDeferredBody = 64 << 10

// appliesTo reports whether the backend would say the same.
func (a *deferredResponse) appliesTo(b *balancer.Backend) bool {
	return a != nil && a.wholeGroup && a.backend.Priority == b.Priority
}

// What an outcome of a served answer may say of it besides.
const (
	// ContextLength is the Why of an outcome whose prompt was too long for the
	// deployment, though nothing is wrong with the backend.
	ContextLength = "context length"
	// NotHeld is the Why of one whose request refers to what the backend does
	// not hold (facts/azure-openai.md §1.2).
	NotHeld = "not held here"
)

// deferResponse keeps an answer that another backend may better, and reports
// whether it did: once when the prompt is too long for a provisioned backend,
// and whenever nobody knows which backend holds what the request refers to.
func (r *run) deferResponse(b *balancer.Backend, res *http.Response, o health.Outcome) bool {
	if o.Reason != ContextLength && o.Reason != NotHeld {
		return false
	}
	r.mu.Lock() // a second attempt may be under way
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
	answer := *res
	answer.Body = io.NopCloser(bytes.NewReader(kept))
	r.deferred = &deferredResponse{backend: b, wholeGroup: tooLong, response: &answer}
	return true
}

// A response that a backend has just made may be unknown to it for a visibilityDelay
// (facts/azure-openai.md §1.2): then it is asked once more.
const (
	recentlyCreated = 30 * time.Second
	visibilityDelay = 300 * time.Millisecond
)

// notYetVisible reports whether the answer should be given another moment.
func (r *run) notYetVisible(res *http.Response, o health.Outcome) bool {
	unknown := o.Reason == NotHeld || res.StatusCode == http.StatusNotFound && r.readsStored()
	lean := r.request.PinnedTo
	if r.retriedSame || !unknown || lean == nil || lean.Backend == "" || r.Now().Sub(lean.CreatedAt) > recentlyCreated {
		return false
	}
	r.retryPending, r.retriedSame = true, true
	return true
}

// retrySame waits the moment, once, and reports whether to ask the same backend
// retrySame.
func (r *run) retrySame(ctx context.Context) bool {
	if !r.retryPending {
		return false
	}
	r.retryPending = false
	_ = r.Queue.Wait(ctx, r.class(), visibilityDelay) // without a seat it is asked at once
	return ctx.Err() == nil
}

// deliverDeferred gives the caller the answer that was set aside, if there is one.
// What nobody asked so far may hold, nobody denies.
func (r *run) deliverDeferred(ctx context.Context) bool {
	if r.deferred == nil || ctx.Err() != nil || !r.deferred.wholeGroup && r.unansweredLeft() {
		return false
	}
	r.result.Delivery = r.deliver(ctx, &BackendResponse{
		Backend: r.deferred.backend, Model: r.result.Pool.Model, Response: r.deferred.response, Result: r.result, Began: r.Now(),
		Cancel: func(error) {}, Hooks: CommitHooks{MayCommit: func() bool { return true }, Committed: func() {}},
	})
	r.result.ServedBy = r.deferred.backend
	return r.result.Delivery.Committed
}

// unansweredLeft reports whether a backend that may hold what the request refers to
// was throttled or failing, and so could not say.
func (r *run) unansweredLeft() bool {
	for i := range r.result.Pool.Backends {
		b := &r.result.Pool.Backends[i]
		if b.Weight > 0 && !slices.Contains(r.failed, b.Slot) && b.Permits(r.request.Consumer.Bounds()) {
			return true
		}
	}
	return slices.ContainsFunc(r.result.Attempts, func(a Attempt) bool { return a.Outcome.Class == health.Failed })
}
