package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/telemetry/condition"
)

func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	writeHealth(w, http.StatusOK, map[string]any{"status": "live"})
}

// ready answers probes of front ends: 503 when no model has an available backend, or
// not the one that ?model= names. Who may not name that model learns nothing of it:
// without a credential the answer is about all models, and a consumer's own are the
// only ones that exist for it.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.Draining != nil && s.Draining() {
		writeHealth(w, http.StatusServiceUnavailable, map[string]any{"status": "draining"})
		return
	}
	query := r.URL.Query()
	operator := query.Has("verbose") && s.Operator != nil && s.Operator(r)
	caller, err := s.Authenticator.Authenticate(r.Context(), r.Header, "")
	known, asked := err == nil, query.Get("model")
	if !known && !operator {
		asked = ""
	}
	ready, models := s.Readiness.Ready(asked)
	status, body := http.StatusOK, map[string]any{"status": "ready"}
	if known && !operator && asked != "" && !caller.Consumer.MayUse(asked) {
		ready = false
	}
	if ready && s.CredentialsReady != nil && s.CredentialsReady() != nil {
		ready = false // every caller would get 503
	}
	if !ready {
		status, body["status"] = http.StatusServiceUnavailable, "unavailable"
	}
	s.addConfig(body)
	switch {
	case operator:
		body["models"], body["parts"] = models, s.parts(true)
	case known:
		if body["models"] = ownModels(caller.Consumer, models); query.Has("verbose") {
			body["parts"] = s.parts(false)
		}
	}
	writeHealth(w, status, body)
}

// addConfig adds how the pool document agrees with the table's.
func (s *Server) addConfig(body map[string]any) {
	if s.ConfigStatus == nil {
		return
	}
	if status, version := s.ConfigStatus(); status != "" {
		body["config"], body["configVersion"] = status, version
	}
}

// parts returns how the parts of this instance are. The reasons, which name
// resources, are for operators.
func (s *Server) parts(reasons bool) []condition.JSON {
	all := []condition.JSON{}
	if s.Conditions == nil {
		return all
	}
	for _, c := range s.Conditions.All() {
		if !reasons {
			c.Why = ""
		}
		all = append(all, c.JSON())
	}
	return all
}

// ownModels returns those of the models that the consumer may use.
func ownModels(c *consumer.Consumer, models map[string]string) map[string]string {
	own := map[string]string{}
	for name, state := range models {
		if c.MayUse(name) {
			own[name] = state
		}
	}
	return own
}

func writeHealth(w http.ResponseWriter, status int, body map[string]any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

// PoolReadiness is ready when some model has an available backend.
type PoolReadiness struct {
	Pools    []balancer.Pool
	Snapshot func() *health.Snapshot // no side effect
	Refresh  func() *health.Snapshot // keeps the shared state fresh, as a request does
	Now      func() time.Time
}

// Ready evaluates one model, or all of them when it is "". Polls of a ready
// instance do not count as traffic, so that probes alone keep no instance
// reading the table. An instance that is not ready gets no other requests, and
// would not learn that a backend is available again: its polls do count.
func (r *PoolReadiness) Ready(model string) (bool, map[string]string) {
	ready, models := r.evaluate(model, r.Snapshot())
	if !ready {
		r.Refresh()
	}
	return ready, models
}

func (r *PoolReadiness) evaluate(model string, snapshot *health.Snapshot) (bool, map[string]string) {
	now := r.Now()
	ready, models := false, map[string]string{}
	for i := range r.Pools {
		p := &r.Pools[i]
		if model != "" && !strings.EqualFold(model, p.Model) {
			continue
		}
		models[p.Model] = availability(p, snapshot, now)
		ready = ready || models[p.Model] == available
	}
	if model != "" && len(models) == 0 {
		models[model] = "unknown model"
	}
	return ready, models
}

const available = "available"

// availability returns available, or why no backend of the pool is.
func availability(p *balancer.Pool, s *health.Snapshot, now time.Time) string {
	why := "no backend with a weight"
	for i := range p.Backends {
		b := &p.Backends[i]
		if b.Weight == 0 {
			continue
		}
		h := s.Of(b.Slot)
		skip := h.SkipReason(now, 0)
		if skip == health.NotSkipped || mayServe(h, now) {
			return available
		}
		why = string(skip)
	}
	return why
}

// failureAge is for how long a failure makes a backend with an open circuit
// unavailable. A front end that stopped sending when this instance was not ready
// learns after that time at the latest that it may send again.
const failureAge = 10 * time.Second

// mayServe reports whether a backend whose circuit is not closed may serve the next
// request: that would be its probe, or nothing has failed there lately. No request
// would reach an instance that is not ready for want of one.
func mayServe(h *health.Health, now time.Time) bool {
	tried := (h.Bound(now) || now.Before(h.Until)) && now.Sub(h.FailedAt) < failureAge
	return h.SkipReason(now, 0).CircuitAlone() && !h.Throttle.Blocks(now, 0) && !tried
}

// Misconfigured returns the handler of a process whose configuration is invalid.
// The Functions host does not restart a process after its third exit
// (docs/functions-host.md#crashes), so the process listens and reports the
// faults on /health/ready. The faults must not contain secrets. newID names a
// request.
func Misconfigured(faults []string, newID func() string) http.Handler {
	refuse := func(w http.ResponseWriter, r *http.Request) {
		apiErr := Error{
			Status: http.StatusServiceUnavailable, Type: serverError, Code: "config_invalid",
			Message: "Spillway is not configured and serves nothing. An operator finds the reasons on /health/ready and in the log.",
		}
		apiErr.write(w, r)
	}
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", newID())
			if path, err := canonical(r.URL.EscapedPath()); err == nil {
				chi.RouteContext(r.Context()).RoutePath = strings.ToLower(path)
			}
			next.ServeHTTP(w, r)
		})
	}, middleware.GetHead)
	r.NotFound(refuse)
	r.MethodNotAllowed(refuse)
	r.Get("/", (*Server)(nil).root)
	r.Get("/health/live", (*Server)(nil).live)
	r.Get("/health/ready", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, http.StatusServiceUnavailable, map[string]any{"status": "config_invalid", "faults": faults})
	})
	return r
}
