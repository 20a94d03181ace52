// Package proxy carries one request to the first backend that serves it.
package proxy

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/openai/usage"
)

// Request is a caller's request with its body held, so that it can be sent
// again. It is immutable while attempts are made.
type Request struct {
	ID        string // ours, x-request-id
	Operation operations.Operation
	Family    operations.Family // how the caller spelt it
	Method    string
	Subpath      string // path below the operation, already checked: "resp_123/cancel"; "" mostly
	Query     string // raw, without code=
	Header    http.Header
	Body      []byte        // what is held of the body: all of it, unless there is a Tail
	StreamedBody      *StreamedBody         // the rest, which can be sent once; nil mostly
	Parsed     request.Facts // what the scan found in Body; of a form only Model, Stream, Choices and PromptChars
	Form      *request.Form // nil unless the body is a multipart form
	Model     string        // the pool's name for it
	Consumer  *consumer.Consumer
	Caller    string // who its Entra token is of; "" for keys
	Tokens    int64  // estimate: prompt characters / 4 + largest output
	Affinity  uint64 // requests with the same number share a prompt cache; 0 = none
	PinnedTo     *Pin  // on what a backend holds; nil mostly
	Deadline  time.Time

	// ActiveWrites is how many transports may still be writing Body: whoever hands
	// it to a transport adds one, and takes it off when the write is surely
	// over. Body's memory may be used again only at 0.
	ActiveWrites atomic.Int32
}

// Pin says that a request needs what a backend holds: an earlier response, a
// file (design.md §7.2).
type Pin struct {
	Backend string    // the name of the one that holds it; "" = not known: each may be asked
	CreatedAt    time.Time // when it was made; zero = unknown. A backend may not know yet what it just made
}

// pinnedBackend is the backend that alone can serve the request; "" is any.
func (r *Request) pinnedBackend() string {
	if r.PinnedTo == nil {
		return ""
	}
	return r.PinnedTo.Backend
}

// HealthSource is what the proxy needs of the shared state. No method waits for the
// table.
type HealthSource interface {
	// Snapshot is the latest snapshot; it also notes that there is traffic.
	Snapshot() *health.Snapshot
	// RequestProbe notes that a request would have used this slot, were it open: only
	// wanted circuits are probed.
	RequestProbe(slot health.Slot)
	// Acquire asks leave for one attempt. A half-open circuit's probe is given
	// once, to one instance of the fleet.
	Acquire(slot health.Slot) (health.Ticket, bool)
	// RenewProbe asks, just before a probe's bytes leave, whether it is still
	// ours, and how long.
	RenewProbe(t health.Ticket) (time.Duration, bool)
	// Release gives back a ticket whose attempt was never sent.
	Release(t health.Ticket)
	// ReportSignals folds in what the headers of an answer said, ahead of its end.
	ReportSignals(slot health.Slot, s health.Signals)
	// ReportOutcome folds in how the attempt ended. It is called exactly once for a
	// ticket that was used.
	ReportOutcome(t health.Ticket, o health.Outcome)
}

// Sender makes one attempt at one backend: it returns the response with its
// body unread when the status line promises service, else nil and the outcome.
// The caller of Send closes the body.
type Sender interface {
	Send(ctx context.Context, b *balancer.Backend, r *Request, before func() error) (*http.Response, health.Outcome)
}

// BackendResponse is a response that promises service, on its way to the caller.
type BackendResponse struct {
	Backend   *balancer.Backend
	Model     string // the pool that served, which may be a fallback of the one asked for
	Response  *http.Response
	Result     *Result                 // what happened so far; not to be written to
	Began     time.Time               // when the attempt began
	Cancel    context.CancelCauseFunc // ends the attempt: its upstream connection is closed
	MayCommit      func() bool             // asked once, right before the first byte leaves; false: another attempt won
	Committed func()                  // called once, right after the first byte was allowed to leave
	Created   func(ids []string)      // told of Delivery.Made as it is known, behind Committed; nil = nobody listens
}

// Delivery is what became of an answer that was carried to the caller.
type Delivery struct {
	Committed  bool // bytes reached the caller: no second attempt
	Broken     bool // bytes reached the caller and the rest never will: the door must abort the connection
	Outcome    health.Outcome
	Usage      usage.Tokens
	FirstToken time.Time // when the first meaningful event came; zero = none
	FinishReason     string    // finish reason, as the backend said it
	ServiceTier       string    // the service tier that served, as the backend said it
	Spillover      Spillover     // of a provisioned deployment, inside its resource
	CreatedIDs       []string  // the ids of the answer and its parts that callers may come back with; of operations that learn
	Bytes      int64
}

// Spillover is what Azure itself did when a provisioned deployment was full or
// failing: another deployment of the same resource served
// (facts/azure-openai.md §3.6). The zero Spillover is that it did nothing.
type Spillover struct {
	From  string // the provisioned deployment
	To    string // the one that served, and is billed
	Error string // the status that the first one ended in
}

// Deliver carries an answer to the caller. It returns with Committed false
// when the answer turned out to be a refusal before anything was sent.
type Deliver func(ctx context.Context, a *BackendResponse) Delivery
