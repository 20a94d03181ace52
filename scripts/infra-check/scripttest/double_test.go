package scripttest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// The keys that the double knows.
const (
	consumerKey = "key-of-a-consumer"
	operatorKey = "key-of-operators"
)

// Double is a deployed Spillway as smoke.sh sees it: two backends, of which the first serves unless it is drained.
type Double struct {
	*httptest.Server
	mu      sync.Mutex
	drained map[string]bool
	journal []string

	Ignores bool // drains are accepted and not obeyed
	Broken  bool // callers get 503 while the first is drained
	Silent  bool // who served is not shown
	Late    int  // so many probes find it not ready
}

// NewDouble starts the double; with the keys above.
func NewDouble(t *testing.T) *Double {
	t.Helper()
	d := &Double{drained: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/ready", d.ready)
	mux.HandleFunc("POST /openai/v1/chat/completions", d.chat)
	mux.HandleFunc("POST /ops/api/backends/{name}/{act}", d.operate)
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

// Journal is what it was asked, in order.
func (d *Double) Journal() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.journal, " ")
}

func (d *Double) note(s string) { d.journal = append(d.journal, s) }

func (d *Double) ready(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Late > 0 {
		d.Late--
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (d *Double) chat(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var body struct {
		Model    string            `json:"model"`
		Messages []json.RawMessage `json:"messages"`
	}
	if r.Header.Get("api-key") != consumerKey || json.NewDecoder(r.Body).Decode(&body) != nil || body.Model != "gpt-4o" || len(body.Messages) == 0 {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	served := "first"
	if d.drained["first"] && !d.Ignores {
		served = "second"
	}
	if d.drained["first"] && d.Broken {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !d.Silent {
		w.Header().Set("x-spillway-backend", served)
	}
	d.note(served)
}

func (d *Double) operate(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+operatorKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	d.note(r.PathValue("act"))
	d.drained[r.PathValue("name")] = r.PathValue("act") == "drain"
	w.WriteHeader(http.StatusNoContent)
}
