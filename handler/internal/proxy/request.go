// Package proxy forwards a request to the backends of its pools, in the order
// that the balancer decides, until one serves it: failover, hedging, waiting for
// a throttled pool, and the deadline of the whole request.
//
// It does not know HTTP towards backends or callers, nor where health is shared:
// those are behind the interfaces [Sender], [Deliver] and [Health].
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
	"spillway/handler/internal/overload"
)

// Request is a caller's request. It is immutable during [Proxy.Do].
type Request struct {
	ID           string // of ours, in x-request-id
	Operation    operations.Operation
	Family       operations.Family // of the path that the caller used
	Method       string
	Subpath      string // of the path below the operation, checked: "resp_123/cancel"; "" = none
	Query        string // raw
	Header       http.Header
	Body         []byte                // what is buffered of the body: all of it without StreamedBody
	StreamedBody *StreamedBody         // the rest of the body, which can be sent once; nil = none
	Parsed       request.ParsedRequest // from Body; of a form only Model, Stream, Choices and PromptBytes
	Form         *request.Form         // nil unless the body is a multipart form
	Model        string                // as the pool names it
	Consumer     *consumer.Consumer
	Fenced       bool   // its consumer may not do all that the backends' credentials may: only what is known goes to a backend
	Caller       string // the subject of its Entra token; "" for keys
	Tokens       int64  // estimated: prompt bytes / 4 + largest output
	Affinity     uint64 // requests with the same number share a prompt cache; 0 = none
	CacheKey     string // for the backend, in place of the caller's prompt_cache_key; "" = the caller's
	AnswerBound  request.Bound
	PinnedTo     *Pin                 // nil = any backend can serve
	MadeBefore   map[string]time.Time // by backend: what was made there later is not found by Locate; nil = all is
	Received     time.Time            // when it arrived: ResponseTimeout counts from here; zero = when Do is called
	Deadline     time.Time            // of the caller, for the first byte; zero = none

	// Another asks for one more attempt at the same time as the first: the
	// consumer's concurrency counts what its requests have under way at backends.
	// Unless it is granted, release is nil. nil = any number is granted.
	Another func() (release func(), ok bool)

	// Fallback asks whether a fallback may serve, before it is tried, and again each time
	// that the plan comes to it. It may wait for the table. nil = each may.
	Fallback func(ctx context.Context, p *balancer.Pool) bool

	// Cancel ends the context that Do is called with; nil = Do makes one that it can
	// end.
	Cancel context.CancelCauseFunc

	// Memory is what the request holds: what grows while it is served is counted
	// there. nil = it is not counted.
	Memory *overload.Memory

	// LatePurpose is the purpose of an upload once it was read behind the file, while
	// that was sent.
	LatePurpose atomic.Pointer[string]

	// ActiveWrites counts the transports that may still be writing Body. Its
	// memory may be reused only at 0.
	ActiveWrites atomic.Int32
}

// Pin is the backend that holds what a request refers to, such as an earlier
// response or a file.
type Pin struct {
	Backend   string    // its name; "" = unknown: each may be asked
	CreatedAt time.Time // of what is referred to; zero = unknown
}

// pinnedBackend is the only backend that can serve the request; "" = any can.
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
	// once, to one instance of the fleet, and not first to the consumer whose request
	// failed the last one.
	Acquire(slot health.Slot, consumer string) (health.Permit, bool)
	// AcquireTrial asks for an attempt at a slot that its circuit alone refuses (it is
	// neither drained nor throttled), because nobody else is left. It is granted
	// always then; that only one request at a time tries is [Trials]'s business. A
	// served trial closes the circuit for this instance at once.
	AcquireTrial(slot health.Slot) (health.Permit, bool)
	// AwaitRefresh returns when a view of the table that is older than 5 s has been
	// read anew, after at most 100 ms, and at once when it is younger.
	AwaitRefresh(ctx context.Context)
	// RenewProbe reports whether a probe is still this instance's, and for how
	// long.
	RenewProbe(t health.Permit) (time.Duration, bool)
	// Release returns a permit whose attempt was never sent.
	Release(t health.Permit)
}

// HealthReporter takes what attempts showed.
type HealthReporter interface {
	// ReportSignals takes the signals of a response's headers, before its body
	// is read.
	ReportSignals(slot health.Slot, s health.Signals)
	// ReportAnswered takes that the first content of a response that serves was
	// delivered: the attempt counts as served now, once. A later outcome of class
	// Failed (the stream broke) still counts as a failure.
	ReportAnswered(t health.Permit)
	// ReportSilent takes that an attempt has no content past its threshold: it counts
	// as a failure until ReportAnswered or an outcome of class Served. It also ends
	// the exclusivity of a probe.
	ReportSilent(t health.Permit)
	// ReportOutcome takes how an attempt ended: exactly once for each permit that was
	// not released. Class Served counts as served, unless o.Answered says that it has
	// been counted; class Misconfigured counts for nothing and only ends a probe.
	ReportOutcome(t health.Permit, o health.Outcome)
	// TakeBack takes that a request failed at every backend at which it was tried: its
	// failures are taken back where somebody else is served.
	TakeBack(failed []health.Permit)
}

// Sender makes attempts.
type Sender interface {
	// Send makes one attempt. It returns the response with its body unread when
	// the caller gets it (a success, or an error of the caller's), and with a short
	// body in memory when it is of class Misconfigured, which the caller gets when
	// every backend says the same; else nil and the outcome. beforeSend is
	// nil unless the attempt is a probe; it is called just before the first byte
	// is sent, and its error stops the attempt. The caller closes the body.
	Send(ctx context.Context, b *balancer.Backend, r *Request, beforeSend func() error) (*http.Response, health.Outcome)
}

// BackendResponse is a response that the caller gets (a success, or an error of
// the caller's), before it is delivered.
type BackendResponse struct {
	Backend  *balancer.Backend
	Model    string // of the pool that serves, which may be a fallback of the one asked for
	Response *http.Response
	Result   *Result                 // of the request so far; read-only
	Start    time.Time               // when the attempt began
	Cancel   context.CancelCauseFunc // ends the attempt and closes its connection
	Hooks    CommitHooks
}

// CommitHooks are called while a response is delivered. MayCommit and Committed
// must be set, and MayStart of a stream.
type CommitHooks struct {
	// MayStart is called before a stream's status line is sent ahead of its content;
	// false: the time is spent, or another attempt won. It ends the deadline.
	MayStart  func() bool
	MayCommit func() bool       // called once, before the first content is sent; false: another attempt won
	Committed func()            // called once, after MayCommit has returned true
	Finished  func()            // called once, when only the usage of a stream is missing: the caller's leaving should end the attempt later; nil = not wanted
	Progress  func(bytes int64) // receives how much text was relayed so far, between reads; nil = not wanted
	// Created receives what the answer says the service made, each object once,
	// before the caller sees its id; perhaps of an answer that is not delivered.
	// nil = not wanted.
	Created func(objects []operations.Object)
}

// Delivery is what became of a response.
type Delivery struct {
	Committed    bool // content was sent, or an error: no other attempt can be made
	Broken       bool // Committed, but incomplete: the connection must be aborted
	CallerLeft   bool // Broken because the caller closed its connection
	Outcome      health.Outcome
	Usage        usage.Tokens // as the backend reported it; zero = it did not
	TextBytes    int64        // of the generated text, without base64 and padding; 0 = not counted
	LaterText    int64        // of TextBytes, what came behind the usage, which then is that of a part
	FirstToken   time.Time    // when the first meaningful event arrived; zero = none
	Stored       Stored       // what a response of the Responses API says of itself
	FinishReason string       // as the backend names it
	ServiceTier  string       // as the backend names it
	Spillover    Spillover    // within the Azure resource
	Bytes        int64

	// Refusal is what the error that came inside a success means as a response of its
	// own, with Outcome: one that is the caller's, or about the backend. Nothing was
	// sent. nil = there was none.
	Refusal *http.Response
}

// Stored is a response that its resource keeps. The zero Stored is none.
type Stored struct {
	ID         string
	Background bool         // it goes on without its caller
	Ended      bool         // it is in its last state
	Reported   bool         // it reports its usage
	Usage      usage.Tokens // of the request that made it, which may be an earlier one
}

// Spillover records that Azure itself served a request of a provisioned deployment by
// another deployment of the same resource (docs/azure-openai.md#spillover). The
// zero Spillover means that it did not.
type Spillover struct {
	From  string // the provisioned deployment
	To    string // the one that served and is billed
	Error string // the status of the first one
}

// Answer is the answer to one request, to which its attempts deliver.
type Answer interface {
	// Deliver sends a response to the caller. It returns with Committed false when
	// the response turned out to be an error before anything of it was sent. Two
	// attempts may deliver at a time, of which one commits.
	Deliver(ctx context.Context, response *BackendResponse) Delivery
	// Fail ends an answer of which only the status line was sent with an error: body is
	// that of an error response, nil when the stream was interrupted. It reports false,
	// and does nothing, when the status line was not sent. The connection must then be
	// aborted.
	Fail(body []byte) bool
}

// Deliver sends a response to the caller. It returns with Committed false when
// the response turned out to be an error before anything was sent.
type Deliver func(ctx context.Context, response *BackendResponse) Delivery
