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
	ID           string // ours, x-request-id
	Operation    operations.Operation
	Family       operations.Family // how the caller spelt it
	Method       string
	Subpath      string // path below the operation, already checked: "resp_123/cancel"; "" mostly
	Query        string // raw, without code=
	Header       http.Header
	Body         []byte                // what is held of the body: all of it, unless there is a Tail
	StreamedBody *StreamedBody         // the rest, which can be sent once; nil mostly
	Parsed       request.ParsedRequest // what the scan found in Body; of a form only Model, Stream, Choices and PromptChars
	Form         *request.Form         // nil unless the body is a multipart form
	Model        string                // the pool's name for it
	Consumer     *consumer.Consumer
	Caller       string // who its Entra token is of; "" for keys
	Tokens       int64  // estimate: prompt characters / 4 + largest output
	Affinity     uint64 // requests with the same number share a prompt cache; 0 = none
	PinnedTo     *Pin   // on what a backend holds; nil mostly
	Deadline     time.Time

	// ActiveWrites is how many transports may still be writing Body: whoever hands
	// it to a transport adds one, and takes it off when the write is surely
	// over. Body's memory may be used again only at 0.
	ActiveWrites atomic.Int32
}

// Pin says that a request needs what a backend holds: an earlier response, a
// file (design.md §7.2).
type Pin struct {
	Backend   string    // the name of the one that holds it; "" = not known: each may be asked
	CreatedAt time.Time // when it was made; zero = unknown. A backend may not know yet what it just made
}

// pinnedBackend is the backend that alone can serve the request; "" is any.
func (r *Request) pinnedBackend() string {
	if r.PinnedTo == nil {
		return ""
	}
	return r.PinnedTo.Backend
}

// Health is the shared state of the circuits, as far as the proxy needs it. No
// method waits for the table.
type Health interface {
	HealthSource
	HealthReporter
}

// HealthSource admits attempts.
type HealthSource interface {
	// Snapshot returns the latest snapshot, and records that there is traffic.
	Snapshot() *health.Snapshot
	// RequestProbe records that a request would have used this slot: only slots
	// that are in demand are probed.
	RequestProbe(slot health.Slot)
	// Acquire asks for one attempt. The probe of a half-open circuit is granted
	// once, to one instance of the fleet.
	Acquire(slot health.Slot) (health.Permit, bool)
	// RenewProbe reports whether a probe is still this instance's, and for how
	// long.
	RenewProbe(t health.Permit) (time.Duration, bool)
	// Release returns a ticket whose attempt was never sent.
	Release(t health.Permit)
}

// HealthReporter takes what attempts showed.
type HealthReporter interface {
	// ReportSignals takes the signals of a response's headers, before its body
	// is read.
	ReportSignals(slot health.Slot, s health.Signals)
	// ReportOutcome takes how an attempt ended: exactly once for each ticket
	// that was not released.
	ReportOutcome(t health.Permit, o health.Outcome)
}

// Sender makes one attempt at one backend: it returns the response with its
// body unread when the status line promises service, else nil and the outcome.
// The caller of Send closes the body.
type Sender interface {
	Send(ctx context.Context, b *balancer.Backend, r *Request, before func() error) (*http.Response, health.Outcome)
}

// BackendResponse is a response whose status line promises service, before it
// is delivered to the caller.
type BackendResponse struct {
	Backend  *balancer.Backend
	Model    string // of the pool that serves, which may be a fallback of the one asked for
	Response *http.Response
	Result   *Result                 // of the request so far; read-only
	Began    time.Time               // when the attempt began
	Cancel   context.CancelCauseFunc // ends the attempt and closes its connection
	Hooks    CommitHooks
}

// CommitHooks are called while a response is delivered. MayCommit and Committed
// must be set.
type CommitHooks struct {
	MayCommit func() bool        // called once, before the first byte is sent; false: another attempt won
	Committed func()             // called once, after MayCommit has returned true
	Created   func(ids []string) // receives Delivery.CreatedIDs as soon as they are known, after Committed; nil = not wanted
}

// Delivery is what became of an answer that was carried to the caller.
type Delivery struct {
	Committed    bool // bytes reached the caller: no second attempt
	Broken       bool // bytes reached the caller and the rest never will: the door must abort the connection
	Outcome      health.Outcome
	Usage        usage.Tokens
	FirstToken   time.Time // when the first meaningful event came; zero = none
	FinishReason string    // finish reason, as the backend said it
	ServiceTier  string    // the service tier that served, as the backend said it
	Spillover    Spillover // of a provisioned deployment, inside its resource
	CreatedIDs   []string  // the ids of the answer and its parts that callers may come back with; of operations that learn
	Bytes        int64
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
