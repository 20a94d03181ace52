// Package server is the door to the callers: routes, limits, and how answers
// and errors look on the wire. It knows nothing of backends' URLs or
// credentials, and nothing of the table.
package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

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
}

// Observer is told of every request once it is over.
type Observer interface{ RequestDone(x *RequestRecord) }

// Server answers callers. The fields of the last group are optional.
type Server struct {
	Routes        *operations.Routes
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
	Draining func() bool   // readiness turns red ahead of the end; nil = never

	// Transcript keeps what is said to a consumer that wants it so (package
	// transcript); nil = nothing is kept.
	Transcript func(w http.ResponseWriter, r *proxy.Request) http.ResponseWriter
}

// Handler is the routes. The host pings GET / at any time and waits for the
// end of the answer (facts/azure-functions-host.md §2.2), so it asks nobody.
func (s *Server) Handler() http.Handler {
	r := chi.NewRouter()
	r.Get("/", s.root)
	r.Get("/health/live", s.live)
	r.Get("/health/ready", s.ready)
	if s.Admin != nil {
		r.Mount("/ops", s.Admin)
	}
	r.NotFound(s.inference)
	r.MethodNotAllowed(s.inference)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if path := req.URL.Path; strings.HasPrefix(path, "/openai/") || strings.HasPrefix(path, "/v1/") {
			s.inference(w, req) // it takes its path apart by itself, and is nearly every request
			return
		}
		r.ServeHTTP(w, req)
	})
}

func (s *Server) root(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("spillway\n"))
}

// inference is every request that is not about Spillway itself.
func (s *Server) inference(w http.ResponseWriter, r *http.Request) {
	rec := &RequestRecord{ID: s.NewID(), Start: s.Now(), Method: r.Method, Traceparent: r.Header.Get("Traceparent")}
	w.Header().Set("X-Request-Id", rec.ID)
	defer func() {
		rec.Duration = s.Now().Sub(rec.Start)
		s.Observer.RequestDone(rec)
	}()
	if apiErr := s.serve(w, r, rec); apiErr != nil {
		apiErr.write(w, r)
		rec.Status, rec.Code, rec.Cause = apiErr.Status, apiErr.Code, apiErr.Cause
		return
	}
	if rec.Result == nil {
		rec.Status = http.StatusOK // an answer of our own
		return
	}
	rec.Status = rec.Result.Status()
	if rec.Result.Delivery.Broken {
		panic(http.ErrAbortHandler) // the one end that every client sees as an error
	}
}

// serve serves the request, or says why not before a byte was sent.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, rec *RequestRecord) *Error {
	id, err := s.Authenticator.Authenticate(r.Context(), r.Header, r.URL.RawQuery)
	if err != nil {
		return unauthorized(err)
	}
	rec.Consumer, rec.Caller, rec.KeyID = id.Consumer, id.Caller, id.KeyID
	route, apiErr := s.route(w, r)
	if apiErr != nil {
		return apiErr
	}
	rec.Operation, rec.Family = route.Operation.Name, route.Family.String()
	if route.Operation.State == operations.Local {
		return s.models(w, &route, id.Consumer)
	}
	req, buf, apiErr := s.readRequest(r, route)
	defer buf.release(req)
	if apiErr != nil {
		return apiErr
	}
	req.ID, req.Consumer, req.Caller = rec.ID, id.Consumer, id.Caller
	pools, apiErr := s.findPools(r.Context(), req)
	if apiErr != nil {
		return apiErr
	}
	rec.Model, rec.Stream = pools[0].Model, req.Parsed.Stream
	return s.forward(w, r, rec, &call{request: req, pools: pools})
}

// route finds what the path asks for.
func (s *Server) route(w http.ResponseWriter, r *http.Request) (operations.Route, *Error) {
	route, err := s.Routes.Parse(r.URL.EscapedPath())
	if err != nil {
		return route, notFound(r, err)
	}
	if !route.Operation.Allows(r.Method) {
		for _, m := range route.Operation.Methods {
			w.Header().Add("Allow", m)
		}
		return route, methodNotAllowed(r.Method, route.Operation)
	}
	route.Family = familyOf(&route, r)
	return route, nil
}

// familyOf is the family that backends are to be called in. Azure would answer
// 404 to a classic call without a version, as one SDK makes it for addresses
// that are not Azure's, and to a form that names its model inside, as another
// makes it.
func familyOf(route *operations.Route, r *http.Request) operations.Family {
	switch {
	case route.Family != operations.Unscoped:
		return route.Family
	case !r.URL.Query().Has("api-version"):
		return operations.V1
	case route.Operation.Body == operations.Multipart:
		return operations.Deployments
	}
	return route.Family
}
