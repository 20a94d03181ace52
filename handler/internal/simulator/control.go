package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The control endpoint offers the methods of Service over HTTP. It is served only
// with Config.Control.

const (
	controlSegment = "_control"
	controlHelp    = `Simulated Azure OpenAI: control

Throttle a resource for ten seconds, by one line:
  curl -X POST 'HERE/_control/resources/NAME/throttle?for=10s'

POST   /_control/resources/NAME/throttle?for=10s   answer 429 (without for: until restore)
POST   /_control/resources/NAME/fail?for=10s       answer 503
POST   /_control/resources/NAME/hang?for=10s       accept, and never answer
       ...?probability=0.5                         only some requests; also of throttle, fail and slow
POST   /_control/resources/NAME/slow?by=2s&for=10s answer late
POST   /_control/resources/NAME/brownout?for=10s   ten times slower, three of ten fail
POST   /_control/resources/NAME/down?for=10s       drop connections (without for: refuse them until up)
POST   /_control/resources/NAME/up                 bring it back
POST   /_control/resources/NAME/restore            clear all faults
GET    /_control/resources                         configuration, limits left, PTU use, faults
PATCH  /_control/resources/NAME/deployments/NAME   change limits or pace, e.g. {"tokensPerMinute":1000}
GET    /_control/resources/NAME/faults             the rules set
POST   /_control/resources/NAME/faults             set one, e.g. {"action":"500","probability":0.3}
DELETE /_control/resources/NAME/faults             clear them
DELETE /_control/faults/ID                         clear one
GET    /_control/actions                           what a fault can do
GET    /_control/journal?limit=20&resource=NAME    requests, newest last; &body=true for bodies
GET    /_control/violations                        rules broken by the client
GET    /_control/metrics                           counters, as Prometheus reads them
POST   /_control/reset                             remove everything but the configuration
`
)

func isControl(path string) bool {
	return path == "/"+controlSegment || strings.HasPrefix(path, "/"+controlSegment+"/")
}

func (s *Service) controlMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_control/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, strings.ReplaceAll(controlHelp, "HERE", "http://"+r.Host)) //nolint:gosec // plain text, not a page
	})
	mux.HandleFunc("GET /_control/resources", func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, s.State()) })
	mux.HandleFunc("GET /_control/actions", func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, Actions()) })
	mux.HandleFunc("GET /_control/violations", func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, s.Violations()) })
	mux.HandleFunc("GET /_control/metrics", s.controlMetrics)
	mux.HandleFunc("GET /_control/journal", s.controlJournal)
	mux.HandleFunc("POST /_control/reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /_control/resources/{name}/{verb}", s.requireResource(s.controlVerb))
	mux.HandleFunc("GET /_control/resources/{name}/faults", s.requireResource(func(w http.ResponseWriter, r *http.Request) {
		sendJSON(w, s.Faults(r.PathValue("name")))
	}))
	mux.HandleFunc("POST /_control/resources/{name}/faults", s.requireResource(s.controlAddFault))
	mux.HandleFunc("DELETE /_control/resources/{name}/faults", s.requireResource(func(w http.ResponseWriter, r *http.Request) {
		s.Clear(r.PathValue("name"))
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("DELETE /_control/faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !s.ClearFault(r.PathValue("id")) {
			http.Error(w, "no fault "+quote(r.PathValue("id")), http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PATCH /_control/resources/{name}/deployments/{deployment}", s.requireResource(s.controlPatch))
	return mux
}

// serveControl answers the control endpoint.
func (s *Service) serveControl(w http.ResponseWriter, r *http.Request) { s.control.ServeHTTP(w, r) }

// requireResource answers 404 unless the request names a resource.
func (s *Service) requireResource(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.resources[r.PathValue("name")] == nil {
			http.Error(w, "no resource "+quote(r.PathValue("name"))+"; there are "+quoteAll(s.order), http.StatusNotFound)
			return
		}
		next(w, r)
	}
}

func (s *Service) controlAddFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
		http.Error(w, "read fault: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := f.validate(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.ID = s.Fault(r.PathValue("name"), f)
	sendJSON(w, f)
}

func (s *Service) controlPatch(w http.ResponseWriter, r *http.Request) {
	change, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, "read change: "+err.Error(), http.StatusBadRequest)
		return
	}
	var bad error
	err = s.SetDeployment(r.PathValue("name"), r.PathValue("deployment"), func(d *Deployment) {
		bad = json.Unmarshal(change, d)
	})
	if bad != nil || err != nil {
		http.Error(w, "change deployment: "+firstOf(bad, err).Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) controlJournal(w http.ResponseWriter, r *http.Request) {
	entries := s.JournalOf(r.URL.Query().Get("resource"))
	if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && limit >= 0 && limit < len(entries) {
		entries = entries[len(entries)-limit:]
	}
	if r.URL.Query().Get("body") != "true" {
		for i := range entries {
			entries[i].Body = nil
		}
	}
	sendJSON(w, entries)
}

func sendJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // it fails when the client has left
}

var errUnknownVerb = errors.New("no such verb; use throttle, fail, hang, slow, brownout, down, up or restore")

// verb is a command of the control endpoint: a fault for a resource and its
// duration.
type verb struct {
	name       string
	resource   string
	deployment string
	length, by time.Duration

	probability float64 // 0 = every request
}

// controlVerb sets or clears the usual faults by a short URL.
func (s *Service) controlVerb(w http.ResponseWriter, r *http.Request) {
	v, err := readVerb(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch err := s.apply(v); {
	case errors.Is(err, errUnknownVerb):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func readVerb(r *http.Request) (verb, error) {
	v := verb{name: r.PathValue("verb"), resource: r.PathValue("name"), deployment: r.URL.Query().Get("deployment")}
	for name, into := range map[string]*time.Duration{"for": &v.length, "by": &v.by} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return v, fmt.Errorf("%s=%q is no duration; write it like 10s", name, text)
		}
		*into = d
	}
	if text := r.URL.Query().Get("probability"); text != "" {
		p, err := strconv.ParseFloat(text, 64)
		if err != nil || !(p > 0 && p <= 1) {
			return v, fmt.Errorf("probability=%q is no share of requests; write it like 0.5", text)
		}
		v.probability = p
	}
	return v, nil
}

func (s *Service) apply(v verb) error {
	rule := Fault{For: v.length, Deployment: v.deployment, Probability: v.probability}
	switch v.name {
	case "up":
		return s.Up(v.resource)
	case "restore":
		s.Clear(v.resource)
		return nil
	case "brownout":
		s.BrownOut(v.resource, v.length)
		return nil
	case "throttle":
		rule.Action = "429"
	case "fail":
		rule.Action = "503"
	case "hang":
		rule.Action = "hang-before-headers"
	case "slow":
		rule.Action, rule.Latency = "slow", v.by
	case "down":
		if v.length == 0 && v.deployment == "" {
			s.Down(v.resource)
			return nil
		}
		rule.Action = "refuse"
	default:
		return errUnknownVerb
	}
	s.Fault(v.resource, rule)
	return nil
}
