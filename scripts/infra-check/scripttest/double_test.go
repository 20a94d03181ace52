package scripttest

import (
	"encoding/json"
	"fmt"
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
	drained map[string]string // by backend/model, with who did it
	served  map[string]string // backends by the id of the request
	journal []string

	Ignores bool            // drains are accepted and not obeyed
	Broken  bool            // callers get 503 while the first is drained
	Silent  bool            // answers do not name the backend
	Blind   bool            // nor do the operators know it
	Lone    bool            // there is one backend only
	Drainer func(d *Double) // called when a drain was ordered
	Reader  func()          // called when the status is read while something is drained
	Late    int             // so many probes find it not ready
	Others  string          // backends of the status before these
	Version string          // of the package that runs
	Quota   int             // tokens that each backend grants; 0 = no end
	Shares  int             // with a quota, the second backend gets the last two of so many calls

	spent     map[string]int // tokens that were asked for, by backend
	throttled map[string]int // by backend, for so many reads of the status
	calls     int
}

// NewDouble starts the double; with the keys above.
func NewDouble(t *testing.T) *Double {
	t.Helper()
	d := &Double{drained: map[string]string{}, served: map[string]string{}, Version: "1.2.3", spent: map[string]int{}, throttled: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/ready", d.ready)
	mux.HandleFunc("POST /openai/v1/chat/completions", d.chat)
	mux.HandleFunc("GET /openai/v1/models", d.models)
	mux.HandleFunc("GET /ops/api/status", d.operators(d.status))
	mux.HandleFunc("GET /ops/api/requests", d.operators(d.request))
	mux.HandleFunc("POST /ops/api/backends/{name}/{model}/{act}", d.operators(d.operate))
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
		Tokens   int               `json:"max_completion_tokens"`
	}
	if r.Header.Get("api-key") != consumerKey || json.NewDecoder(r.Body).Decode(&body) != nil || body.Model != "gpt-4o" || len(body.Messages) == 0 {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	served := "first"
	if d.drained["first/gpt-4o"] != "" && !d.Ignores {
		served = "second"
	}
	if served = d.within(served, body.Tokens); served == "" {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if d.drained["first/gpt-4o"] != "" && d.Broken {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !d.Silent {
		w.Header().Set("x-spillway-backend", served)
	}
	id := fmt.Sprintf("req_%d", len(d.served)+1)
	w.Header().Set("x-request-id", id)
	d.served[id] = served
	d.note(served)
}

// within is who serves a call of so many tokens within the quotas, "" when nobody does.
func (d *Double) within(first string, tokens int) string {
	if d.Quota == 0 {
		return first
	}
	order := []string{"first", "second"}
	if d.calls++; d.calls%d.Shares >= d.Shares-2 {
		order = []string{"second", "first"}
	}
	for _, name := range order {
		if d.throttled[name] == 0 && d.spent[name]+tokens <= d.Quota {
			d.spent[name] += tokens
			return name
		}
		if d.throttled[name] == 0 {
			d.throttled[name] = 5
		}
	}
	return ""
}

// elapse brings the end of throttles nearer.
func (d *Double) elapse() {
	for name := range d.throttled {
		if d.throttled[name]--; d.throttled[name] <= 0 {
			delete(d.throttled, name)
			d.spent[name] = 0
		}
	}
}

func (d *Double) models(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("api-key") != consumerKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = fmt.Fprint(w, `{"object":"list","data":[{"id":"text-embedding-3-large","object":"model"},{"id":"gpt-4o","object":"model"}]}`)
}

// operators lets those through who have the operators' key.
func (d *Double) operators(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+operatorKey {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

func (d *Double) status(w http.ResponseWriter, _ *http.Request) {
	if d.Reader != nil && len(d.drained) > 0 {
		d.Reader()
	}
	var backends []string
	for i, name := range []string{"first", "second"} {
		if d.Lone && i > 0 {
			break
		}
		condition, drain := "available", ""
		if d.throttled[name] > 0 {
			condition = "throttled"
		}
		if by := d.drained[name+"/gpt-4o"]; by != "" {
			condition, drain = "drained", fmt.Sprintf(`"drained":{"by":%q},`, by)
		}
		backends = append(backends, fmt.Sprintf(`{"name":%q,"slot":"%s/gpt-4o","weight":1,"condition":%q,"phase":"closed",%s"lastMinute":{"requests":1,"served":1}}`, name, name, condition, drain))
	}
	d.elapse()
	_, _ = fmt.Fprintf(w, `{"instance":"i","version":%q,"pools":[{"model":"gpt-4o","sentence":"Two backends.","groups":[{"priority":1,"backends":[%s%s]}]}]}`, d.Version, d.Others, strings.Join(backends, ","))
}

func (d *Double) request(w http.ResponseWriter, r *http.Request) {
	served, ok := d.served[r.URL.Query().Get("id")]
	if !ok || d.Blind {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = fmt.Fprintf(w, `{"id":"x","status":200,"backend":%q,"totalMs":1,"candidates":[{"backend":"second","priority":1}]}`, served)
}

func (d *Double) operate(w http.ResponseWriter, r *http.Request) {
	slot := r.PathValue("name") + "/" + r.PathValue("model")
	d.note(r.PathValue("act"))
	if r.PathValue("act") != "drain" {
		delete(d.drained, slot)
		return
	}
	d.drained[slot] = r.Header.Get("x-spillway-operator")
	if d.Drainer != nil {
		d.Drainer(d)
	}
}
