// Package server is the door to the callers: routes, limits, and how answers
// and errors look on the wire. It knows nothing of backends' URLs or
// credentials, and nothing of the table.
package api

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// Forwarder finds an answer for a request among the backends of its pools.
type Forwarder interface {
	Do(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result
}

// Models knows the pools by the names that callers use.
type Models interface {
	// Resolve finds the pool of a name or alias, followed by its fallbacks.
	Resolve(name string) ([]*balancer.Pool, bool)
	// Names lists what a consumer may ask for; nil means anybody.
	Names(c *consumer.Consumer) []string
	// All is every pool there is.
	All() []*balancer.Pool
}

// Authenticator turns a credential into a consumer, a nil one where everybody is let
// in. Its error is told to the log, and to the caller only as refused or, when
// it is consumer.ErrUnavailable, as not to be checked now.
type Authenticator interface {
	Authenticate(ctx context.Context, h http.Header, rawQuery string) (auth.Identity, error)
}

// Readiness says which models have an available backend, and for the others
// why not.
type Readiness interface {
	Ready(model string) (ready bool, models map[string]string)
}

// Relay takes an answer to the caller (package relay).
type Relay interface {
	Deliver(ctx context.Context, w http.ResponseWriter, r *proxy.Request, a *proxy.BackendResponse) proxy.Delivery
	// Abort ends the connection of a broken response by a panic.
	Abort(ctx context.Context)
}

// Observer is told of every request once it is over.
type Observer interface{ RequestDone(x *RequestRecord) }

// Server answers callers. The fields of the last group are optional.
type Server struct {
	Forwarder     Forwarder
	Models        Models
	Authenticator Authenticator
	Readiness     Readiness
	Relay         Relay
	Observer      Observer
	Now           func() time.Time
	Rand          func() float64 // in [0, 1)
	NewID         func() string  // of a request
	MaxBody       int64

	Quotas   Quotas        // nil = no quotas
	Affinity AffinityStore // which backend holds what; nil = nobody knows
	Locator  Locator       // asks backends for what nobody knows; nil = none is asked
	Expose   bool          // tell callers which backend served
	Admin    http.Handler  // below /ops; nil = closed
	// ExtractTrace returns the trace that a request belongs to; nil = none.
	ExtractTrace func(h http.Header, requestID string) trace.SpanContext
	Draining     func() bool // readiness turns red ahead of the end; nil = never

	// Transcript keeps what is said to a consumer that wants it so (package
	// transcript); nil = nothing is kept.
	Transcript func(w http.ResponseWriter, r *proxy.Request) http.ResponseWriter
}

// inference answers a request for one operation.
func (s *Server) inference(t target) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		state := stateOf(r)
		rec := &state.record
		if apiErr := s.serve(w, r, state, t.named(r)); apiErr != nil {
			state.fail(w, r, apiErr)
			return
		}
		if rec.Result == nil {
			rec.Status = http.StatusOK // answered without a backend
			return
		}
		rec.Status = rec.Result.Status()
	}
}

// serve serves the request, or returns why not before a byte was sent.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, state *requestState, t target) *Error {
	rec := &state.record
	t.family = familyOf(t, r)
	rec.Operation, rec.Family = t.operation.Name, t.family.String()
	if t.operation.State == operations.Local {
		return s.models(w, t.subpath, rec.Consumer)
	}
	req, buf, apiErr := s.readRequest(r, t)
	defer buf.release(req)
	if apiErr != nil {
		return apiErr
	}
	req.ID, req.Consumer, req.Caller = rec.ID, rec.Consumer, rec.Caller
	pools, apiErr := s.findPools(r.Context(), req)
	if apiErr != nil {
		return apiErr
	}
	rec.Model, rec.Stream = pools[0].Model, req.Parsed.Stream
	return s.forward(w, r, rec, &call{request: req, pools: pools})
}

// familyOf is the URL family to call backends in. Azure answers 404 to a
// classic path without a version, which one SDK sends to addresses that are not
// Azure's, and to a form that names its model in the body, which another sends
// (docs/azure-openai.md#addresses).
func familyOf(t target, r *http.Request) operations.Family {
	switch {
	case t.family != operations.Unscoped:
		return t.family
	case !r.URL.Query().Has("api-version"):
		return operations.V1
	case t.operation.Body == operations.Multipart:
		return operations.Deployments
	}
	return t.family
}
