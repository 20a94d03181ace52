package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"spillway/handler/health"
	"spillway/handler/pool"
)

// aside is a refusal by one priority group that another may not share: a
// provisioned deployment with a shorter context than pay-as-you-go
// (facts/azure-openai.md §3.6). It is the caller's answer when nobody serves.
type aside struct {
	backend *pool.Backend
	res     *http.Response
}

// maxAside is how much of such an answer is kept.
const maxAside = 64 << 10

// covers reports whether the backend belongs to the group that refused.
func (a *aside) covers(b *pool.Backend) bool { return a != nil && a.backend.Priority == b.Priority }

// ContextLength is the Why of an outcome whose prompt was too long for the
// deployment, though nothing is wrong with the backend.
const ContextLength = "context length"

// setAside keeps a too-long-for-this-deployment answer of a provisioned
// backend, once, and reports whether it did.
func (r *run) setAside(b *pool.Backend, res *http.Response, o health.Outcome) bool {
	if !b.Provisioned || o.Why != ContextLength || r.aside != nil {
		return false
	}
	kept, err := io.ReadAll(io.LimitReader(res.Body, maxAside))
	if err != nil {
		return false
	}
	answer := *res
	answer.Body = io.NopCloser(bytes.NewReader(kept))
	r.aside = &aside{backend: b, res: &answer}
	return true
}

// relayAside gives the caller the answer that was set aside, if there is one.
func (r *run) relayAside(ctx context.Context) bool {
	if r.aside == nil || ctx.Err() != nil {
		return false
	}
	r.result.Delivery = r.deliver(ctx, &Answer{
		Backend: r.aside.backend, Model: r.result.Pool.Model, Response: r.aside.res, Story: r.result, Began: r.Now(),
		Cancel: func(error) {}, Gate: func() bool { return true }, Committed: func() {},
	})
	r.result.Served = r.aside.backend
	return r.result.Delivery.Committed
}
