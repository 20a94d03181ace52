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

// aside is a refusal that other backends may not share: by a provisioned
// deployment with a shorter context than pay-as-you-go
// (facts/azure-openai.md §3.6), or by one that does not hold what the request
// refers to. It is the caller's answer when nobody serves.
type aside struct {
	backend *balancer.Backend
	group   bool // its whole priority group would say the same
	res     *http.Response
}

// maxAside is how much of such an answer is kept.
const maxAside = 64 << 10

// covers reports whether the backend would say the same.
func (a *aside) covers(b *balancer.Backend) bool {
	return a != nil && a.group && a.backend.Priority == b.Priority
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

// setAside keeps an answer that another backend may better, and reports
// whether it did: once when the prompt is too long for a provisioned backend,
// and whenever nobody knows which backend holds what the request refers to.
func (r *run) setAside(b *balancer.Backend, res *http.Response, o health.Outcome) bool {
	if o.Why != ContextLength && o.Why != NotHeld {
		return false
	}
	r.mu.Lock() // a second attempt may be under way
	defer r.mu.Unlock()
	tooLong := b.Provisioned && o.Why == ContextLength && r.aside == nil
	searching := o.Why == NotHeld && r.request.Leans != nil && r.request.holder() == ""
	if !tooLong && !searching {
		return false
	}
	if searching {
		r.failed = append(r.failed, b.Slot)
		if r.aside != nil {
			return true
		}
	}
	kept, err := io.ReadAll(io.LimitReader(res.Body, maxAside))
	if err != nil {
		return false
	}
	answer := *res
	answer.Body = io.NopCloser(bytes.NewReader(kept))
	r.aside = &aside{backend: b, group: tooLong, res: &answer}
	return true
}

// A response that a backend has just made may be unknown to it for a moment
// (facts/azure-openai.md §1.2): then it is asked once more.
const (
	justMade = 30 * time.Second
	moment   = 300 * time.Millisecond
)

// tooEarly reports whether the answer should be given another moment.
func (r *run) tooEarly(res *http.Response, o health.Outcome) bool {
	unknown := o.Why == NotHeld || res.StatusCode == http.StatusNotFound && r.stored()
	lean := r.request.Leans
	if r.waited || !unknown || lean == nil || lean.Backend == "" || r.Now().Sub(lean.Made) > justMade {
		return false
	}
	r.early, r.waited = true, true
	return true
}

// again waits the moment, once, and reports whether to ask the same backend
// again.
func (r *run) again(ctx context.Context) bool {
	if !r.early {
		return false
	}
	r.early = false
	_ = r.Wait(ctx, r.class(), moment) // without a seat it is asked at once
	return ctx.Err() == nil
}

// relayAside gives the caller the answer that was set aside, if there is one.
// What nobody asked so far may hold, nobody denies.
func (r *run) relayAside(ctx context.Context) bool {
	if r.aside == nil || ctx.Err() != nil || !r.aside.group && r.unasked() {
		return false
	}
	r.result.Delivery = r.deliver(ctx, &Answer{
		Backend: r.aside.backend, Model: r.result.Pool.Model, Response: r.aside.res, Story: r.result, Began: r.Now(),
		Cancel: func(error) {}, Gate: func() bool { return true }, Committed: func() {},
	})
	r.result.Served = r.aside.backend
	return r.result.Delivery.Committed
}

// unasked reports whether a backend that may hold what the request refers to
// was throttled or failing, and so could not say.
func (r *run) unasked() bool {
	for i := range r.result.Pool.Backends {
		b := &r.result.Pool.Backends[i]
		if b.Weight > 0 && !slices.Contains(r.failed, b.Slot) && b.Within(r.request.Consumer) {
			return true
		}
	}
	return slices.ContainsFunc(r.result.Attempts, func(a Attempt) bool { return a.Outcome.Verdict == health.Failed })
}
