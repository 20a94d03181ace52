package proxy

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/jsonscan"
)

// keptResponse is an error that other backends may not return: of a provisioned
// deployment with a shorter context than pay-as-you-go
// (docs/azure-openai.md#provisioned-throughput), of a backend that does not hold
// what the request refers to, or of one that lacks the operation. The caller gets it
// when no backend serves.
type keptResponse struct {
	try      int
	backend  *balancer.Backend
	model    string
	response *http.Response
}

// maxKeptBody is how much of its body is kept.
const maxKeptBody = 64 << 10

// Values of Reason in outcomes of class Served to which another backend
// may answer differently.
const (
	// ContextLength: the prompt is too long for the deployment.
	ContextLength = "context length"
	// ContentFilter: the content filter refused the prompt. Every backend of the model
	// does; a fallback model may have another filter.
	ContentFilter = "content filter"
	// NotHeld: the request refers to what the backend does not hold
	// (docs/azure-openai.md#stateful-operations).
	NotHeld = "not held here"
)

// A backend may not find what it just created
// (docs/azure-openai.md#stateful-operations): then it is asked once more.
const (
	recentlyCreated = 30 * time.Second
	visibilityDelay = 300 * time.Millisecond
)

// keep keeps a response of an attempt. One that breaks off is kept without a body.
func (r *run) keep(t *attempt, res *http.Response) {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxKeptBody))
	response := *res
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, keptResponse{t.try, t.backend, t.pool.Model, &response})
}

// deliverKept delivers the response that was kept of an attempt, and reports whether
// the caller has it. It does not when a backend that was not asked may hold what the
// request refers to.
func (r *run) deliverKept(try int) bool {
	for _, k := range r.kept {
		if k.try != try {
			continue
		}
		r.result.Delivery = r.deliver(r.ctx, &BackendResponse{
			Backend: k.backend, Model: k.model, Response: k.response, Result: r.result, Start: r.Now(),
			Cancel: func(error) {}, Hooks: CommitHooks{MayCommit: r.meetsDeadline, Committed: func() {}},
		})
		r.result.ServedBy = k.backend
		return r.result.Delivery.Committed
	}
	return false
}

// refuse ends a request that every backend refuses: the caller gets the first
// refusal, if that is an error object about the request. What is about our own
// credential, or names a deployment, is not passed on.
func (r *run) refuse(try int) {
	for _, k := range r.kept {
		if k.try == try && k.relayable() && r.deliverKept(try) {
			return
		}
		if k.try == try {
			r.result.Refusal = k.response.StatusCode
		}
	}
	r.result.ServedBy, r.result.Delivery = nil, Delivery{}
	r.result.Err = ErrRefused
}

func (k *keptResponse) relayable() bool {
	if unauthorized(k.response.StatusCode) {
		return false
	}
	body, err := io.ReadAll(k.response.Body)
	k.response.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil || !hasErrorObject(body) {
		return false
	}
	return k.backend.Deployment == "" || k.backend.Deployment == k.model || !bytes.Contains(body, []byte(k.backend.Deployment))
}

// hasErrorObject reports whether a body is an error that every SDK can read: a JSON
// object with an error object.
func hasErrorObject(body []byte) bool {
	at := jsonscan.SkipSpace(body, 0)
	if at == len(body) || body[at] != '{' {
		return false
	}
	found := false
	it := jsonscan.Iterate(body, at)
	for it.Next() {
		found = found || string(it.Key) == "error" && it.Data[it.Offset] == '{'
	}
	return found && it.Reason == jsonscan.OK && jsonscan.SkipSpace(body, it.Offset) == len(body)
}
