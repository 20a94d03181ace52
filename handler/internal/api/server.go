// Package api is the inbound HTTP API: routes, middleware, limits, and errors in
// OpenAI's shape. It does not know URLs or credentials of backends, nor the
// table.
package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/telemetry/condition"
)

// Forwarder serves a request with a backend of its pools (package proxy).
type Forwarder interface {
	Do(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result
}

// Models resolves the names that callers use to pools.
type Models interface {
	// Resolve returns the pool of a name or alias, followed by its fallbacks.
	Resolve(name string) ([]*balancer.Pool, bool)
	// Names returns the models that a consumer may use; nil is anonymous.
	Names(c *consumer.Consumer) []string
	// All returns every pool. The caller must not change them.
	All() []*balancer.Pool
}

// Authenticator identifies the caller (package auth). Its error is logged; the
// caller gets 503 for [auth.ErrUnavailable] and 401 for any other.
type Authenticator interface {
	Authenticate(ctx context.Context, h http.Header, rawQuery string) (auth.Identity, error)
}

// Readiness reports which models have an available backend, and the reason for
// each that has none.
type Readiness interface {
	Ready(model string) (ready bool, models map[string]string)
}

// Relay delivers a backend's response to the caller (package relay).
type Relay interface {
	// Open returns the answer to a request.
	Open(w http.ResponseWriter, r *proxy.Request) proxy.Answer
	// Abort ends the connection of a broken response by a panic.
	Abort(ctx context.Context)
}

// Observer receives the record of every inference request once it is over.
type Observer interface{ RequestDone(rec *RequestRecord) }

// Server serves the API. The fields of the last group are optional.
type Server struct {
	Forwarder      Forwarder
	Models         Models
	Authenticator  Authenticator
	Readiness      Readiness
	Relay          Relay
	Observer       Observer
	Now            func() time.Time
	Rand           func() float64 // in [0, 1)
	NewID          func() string  // of a request
	MaxBody        int64
	BufferedUpload int64 // so much of a body other than JSON is buffered; 0 = 25 MiB

	Memory      *overload.Budget // of all requests; nil = unbounded
	Meter       Meter            // nil = no quotas, and no records of usage
	Affinity    AffinityStore    // nil = ids are not remembered
	Locator     Locator          // nil = backends are not asked for unknown ids
	BodyTimeout time.Duration    // how long a body may send nothing; 0 = a minute
	// StrictIDs: there are several consumers, so an id that is not known to be the
	// caller's is not served.
	StrictIDs bool
	// Secret returns a secret that all instances have, and no caller; nil = none.
	Secret func() []byte
	Expose bool         // name the backend in response headers
	Admin  http.Handler // serves /ops; nil = 404
	// ExtractTrace returns the trace that a request belongs to; nil = none.
	ExtractTrace func(h http.Header, requestID string) trace.SpanContext
	// CredentialsReady returns why no caller can be authenticated; nil, or nil
	// returned = they can.
	CredentialsReady func() error
	Conditions       *condition.Set             // for /health/ready?verbose; nil = none
	Operator         func(r *http.Request) bool // whether an operator asks; nil = never
	// ConfigStatus is how the pool document agrees with the table's, and its version;
	// nil, or "" = there is none in a table.
	ConfigStatus func() (status string, version int)
	Draining     func() bool // true from SIGTERM on: readiness is 503; nil = never

	// Transcript wraps the writer of a consumer with transcripts (package
	// transcript); nil = none are kept.
	Transcript func(w http.ResponseWriter, r *proxy.Request) http.ResponseWriter

	// Corrected receives charges that were corrected after the request that saw why
	// was over. It is needed with Meter and Affinity.
	Corrected func(rec *RequestRecord)

	late lateDues
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
		if rec.Result.Err != nil {
			rec.Status = http.StatusOK // the error came after the status line
		}
	}
}

// serve serves the request, or returns why not before a byte was sent.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, state *requestState, t target) *Error {
	rec := &state.record
	family, query := familyOf(t, r)
	t.family = family
	rec.Operation, rec.Family = t.operation.Name, t.family.String()
	if asksForWebSocket(r) {
		return webSocketRefused()
	}
	if t.operation.State == operations.Local {
		return s.models(w, t.subpath, rec.Consumer)
	}
	if apiErr := s.enter(w, r, state, t); apiErr != nil {
		return apiErr
	}
	defer s.leave(state)
	fenced := s.fenced(rec.Consumer)
	req, buf, apiErr := s.readRequest(r, t, fenced)
	defer buf.release(req)
	if apiErr != nil {
		return apiErr
	}
	req.Query, req.Fenced = query, fenced
	req.ID, req.Consumer, req.Caller = rec.ID, rec.Consumer, rec.Caller
	req.Affinity = promptCacheHash(req.Header, req)
	if s.StrictIDs {
		s.isolate(req)
	}
	state.admission.begin(s, w, r, req)
	rec.Stream = req.Parsed.Stream
	c := &call{request: req}
	c.pools, apiErr = s.findPools(r.Context(), req)
	rec.Model = s.modelOf(c)
	if apiErr == nil && req.Model != rec.Model { // an unknown one may be anything, a secret too
		rec.Requested = strings.Clone(req.Model[:min(len(req.Model), maxRequested)]) // the body's memory is used again
	}
	if apiErr == nil {
		apiErr = s.boundAnswer(c)
	}
	if apiErr != nil {
		state.admission.refused(s, req)
		return apiErr
	}
	return s.forward(w, r, rec, c)
}

// maxRequested bounds the name of a model in the log.
const maxRequested = 128

// modelOf is the name of the model, as it is configured, that serves the request or
// that a request which is refused asked for; "" when there is none such.
func (s *Server) modelOf(c *call) string {
	if len(c.pools) > 0 {
		return c.pools[0].Model
	}
	if pools, ok := s.Models.Resolve(c.request.Model); ok && c.request.Model != "" {
		return pools[0].Model
	}
	return ""
}

// familyOf is the URL family to call backends in, with the query for it. Azure
// answers 404 to a classic path without a version, which SDKs send to addresses that
// are not Azure's, and to one without a deployment, which others send although the
// body names the model (docs/azure-openai.md#addresses). The paths of
// Azure.AI.Inference have versions of their own, which v1 does not know.
func familyOf(t target, r *http.Request) (operations.Family, string) {
	if t.family != operations.Unscoped && t.family != operations.Foundry {
		return t.family, r.URL.RawQuery
	}
	version, rest := cutAPIVersion(r.URL.RawQuery)
	switch {
	case t.family == operations.Foundry, version == "":
		return operations.V1, rest
	case t.operation.State == operations.Stateless:
		return operations.Deployments, r.URL.RawQuery
	}
	return t.family, r.URL.RawQuery
}

// cutAPIVersion returns the api-version of a query, whose name may be in any case,
// and the query without it.
func cutAPIVersion(raw string) (version, rest string) {
	var kept []string
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(name, "api-version") {
			version = value
		} else if pair != "" {
			kept = append(kept, pair)
		}
	}
	return version, strings.Join(kept, "&")
}
