package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

func TestCompletionComesFromTheHighestPriority(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	r.wantServedBy("ptu")
	a := r.post(chatPath, helloSSE)
	if a.status != 200 || a.err != nil || !strings.HasSuffix(a.body, "data: [DONE]\n\n") {
		t.Errorf("stream: %d, %v, ends in %q", a.status, a.err, a.body[max(0, len(a.body)-40):])
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("content type %q", a.header.Get("Content-Type"))
	}
}

func TestThrottledBackendIsSkippedUntilItReopens(t *testing.T) {
	t.Parallel()
	const wait = 1500 * time.Millisecond
	r := start(t, setup{})
	r.wantServedBy("ptu")
	r.sim.Next("ptu", simulator.Fault{Action: "429-token", RetryAfter: wait})
	if a := r.post(chatPath, hello); a.status != 200 || !strings.HasPrefix(a.backend(), "payg") {
		t.Fatalf("%d by %s, want 200 by pay-as-you-go", a.status, a.backend())
	}
	for end := time.Now().Add(time.Minute); ; {
		a := r.post(chatPath, hello)
		if a.status != 200 || time.Now().After(end) {
			t.Fatalf("%d by %s: the PTU was not used again", a.status, a.backend())
		}
		if a.backend() == "ptu" {
			break
		}
	}
	journal := r.sim.JournalOf("ptu")
	refused, next := journal[1], journal[2]
	const clocks = 50 * time.Millisecond // the journal is written while the answer is sent
	if since := next.Time.Sub(refused.End); since < wait-clocks {
		t.Errorf("the PTU was asked again after %v, want %v", since, wait)
	}
}

// A backend without a list of deployments serves models that share nothing: the limit
// of one is no reason to leave it with another.
func TestThrottleOfOneModelLeavesTheOthers(t *testing.T) {
	t.Parallel()
	models := []string{"gpt-4o", "gpt-4o-mini"}
	r := start(t, setup{backends: []backend{{name: "a", priority: 1, models: models, unlisted: true}, {name: "b", priority: 2, models: models, unlisted: true}}})
	ofMini := strings.Replace(hello, "gpt-4o", "gpt-4o-mini", 1)
	r.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: time.Minute})
	for i, want := range []struct{ body, backend string }{
		{hello, "b"}, {hello, "b"}, {ofMini, "a"},
	} {
		if a := r.post(chatPath, want.body); a.status != 200 || a.backend() != want.backend {
			t.Errorf("request %d: %d by %q, want 200 by %q: %s", i, a.status, a.backend(), want.backend, a.body)
		}
	}
	if n := len(r.sim.JournalOf("a")); n != 2 {
		t.Errorf("%d requests at the throttled backend, want the refused one and that of the other model", n)
	}
}

// Every row of the classification table, plain and streamed: silent failover
// or the right answer.
func TestBackendErrorsAreClassified(t *testing.T) {
	t.Parallel()
	for _, action := range []string{
		"429-token", "429-call", "429-2025", "429-short", "429-capacity", "429-v1", "401-key", "401-token", "401-permission", "403-network",
		"404-deployment", "408", "500", "502-html", "503", "503-envoy", "504-html", "424", "empty-200", "error-200", "truncated-200", "wrong-type-200",
		"reset-before-headers", "reset-after-headers",
	} {
		for _, body := range []string{hello, helloSSE} {
			t.Run(action, func(t *testing.T) {
				t.Parallel()
				r := start(t, setup{})
				r.sim.Next("ptu", simulator.Fault{Action: action, RetryAfter: time.Second})
				a := r.post(chatPath, body)
				if a.status != 200 || a.err != nil || !strings.HasPrefix(a.backend(), "payg") {
					t.Errorf("%d by %q, %v: want a silent failover\n%s", a.status, a.backend(), a.err, a.body)
				}
			})
		}
	}
}

func TestClientErrorsAreRelayedUnchanged(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]struct {
		status int
		code   string
	}{"400-filter": {400, "content_filter"}, "400-context": {400, "context_length_exceeded"}, "409": {409, ""}, "413": {413, ""}} {
		t.Run(action, func(t *testing.T) {
			r := start(t, setup{backends: []backend{{name: "a", priority: 1}, {name: "b", priority: 2}}})
			r.sim.Next("a", simulator.Fault{Action: action})
			a := r.post(chatPath, hello)
			if a.status != want.status || a.backend() != "a" || !strings.Contains(a.body, want.code) {
				t.Errorf("%d by %s, want %d by a: %s", a.status, a.backend(), want.status, a.body)
			}
			if n := len(r.sim.Journal()); n != 1 {
				t.Errorf("%d attempts, want 1", n)
			}
		})
	}
}

func TestContextLengthErrorOfPTUGoesToTheNextPriority(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	r.sim.Next("ptu", simulator.Fault{Action: "400-context"})
	a := r.post(chatPath, hello)
	if a.status != 200 || !strings.HasPrefix(a.backend(), "payg") {
		t.Errorf("%d by %s, want 200 by pay-as-you-go: %s", a.status, a.backend(), a.body)
	}
}

func TestAllThrottledIsA429WithTheSoonestReopening(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_MAX_WAIT=0"}})
	for name, wait := range map[string]time.Duration{"ptu": 20 * time.Second, "payg1": 7 * time.Second, "payg2": 30 * time.Second} {
		r.sim.Fault(name, simulator.Fault{Action: "429-token", RetryAfter: wait})
	}
	a := r.post(chatPath, hello)
	wantRefusal(t, a, 429, "rate_limit_exceeded")
	if s := a.header.Get("Retry-After"); s != "7" && s != "8" {
		t.Errorf("retry-after %q, want the soonest, 7 (or 8 with jitter)", s)
	}
	if ms := a.header.Get("Retry-After-Ms"); len(ms) != 4 {
		t.Errorf("retry-after-ms %q, want 7000 or a little more", ms)
	}
}

func TestAllFailingIsA503(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for _, b := range threeBackends() {
		r.sim.Fault(b.name, simulator.Fault{Action: "503"})
	}
	wantRefusal(t, r.post(chatPath, hello), 503, "no_backend_available")
}

func TestBackend401NeverReachesTheCaller(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for _, b := range threeBackends() {
		r.sim.Fault(b.name, simulator.Fault{Action: "401-key"})
	}
	a := r.post(chatPath, hello)
	wantRefusal(t, a, 503, "no_backend_available")
	if strings.Contains(a.body, "subscription key") {
		t.Errorf("the backend's words reached the caller: %s", a.body)
	}
}

func wantRefusal(t *testing.T, a answer, status int, code string) {
	t.Helper()
	var shape struct {
		Error struct{ Message, Type, Code string }
	}
	if err := json.Unmarshal([]byte(a.body), &shape); err != nil {
		t.Errorf("%q is not JSON: %v", a.body, err)
	}
	if a.status != status || shape.Error.Code != code || shape.Error.Message == "" {
		t.Errorf("%d %+v, want %d %s", a.status, shape.Error, status, code)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Error("no x-request-id")
	}
}

func TestInvalidInputIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_MAX_BODY=64KiB"}})
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"malformed":       {"POST", chatPath, `{"model":`, 400, "invalid_json"},
		"missing model":   {"POST", chatPath, `{"messages":[]}`, 400, "model_missing"},
		"model no string": {"POST", chatPath, `{"model":1}`, 400, "invalid_json"},
		"duplicate key":   {"POST", chatPath, `{"model":"gpt-4o","model":"gpt-4o"}`, 400, "invalid_json"},
		"invalid utf-8":   {"POST", chatPath, "{\"model\":\"gpt\xff\"}", 400, "invalid_json"},
		"wrong method":    {"PUT", chatPath, "", 405, "method_not_allowed"},
		"unknown path":    {"POST", "/openai/v1/nothing", hello, 404, "not_found"},
		"encoded slash":   {"POST", "/openai/deployments/a%2fb/chat/completions", hello, 404, "model_not_found"},
		"oversized":       {"POST", chatPath, `{"model":"gpt-4o","x":"` + strings.Repeat("a", 128<<10) + `"}`, 413, "request_too_large"},
		"unknown model":   {"POST", chatPath, `{"model":"nope"}`, 404, "model_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, ask(t.Context(), t, c.method, r.host.URL+c.path, c.body), c.status, c.code)
			r.wantServedBy("ptu")
		})
	}
	pid := r.host.HandlerPID()
	a := ask(t.Context(), t, "POST", r.host.URL+chatPath, hello, "X-Huge", strings.Repeat("a", 2<<20))
	if a.status < 400 {
		t.Errorf("a header of 2 MiB got %d", a.status)
	}
	r.wantServedBy("ptu")
	if r.host.HandlerPID() != pid {
		t.Error("the handler was restarted")
	}
}

func TestCallerCredentialsNeverReachABackend(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=caller-canary-123456789"}, document: map[string]any{
		"consumers": []map[string]any{{"name": "team", "keySetting": "TEAM_KEY"}},
	}})
	const key = "caller-canary-123456789"
	for _, header := range [][]string{{"Api-Key", key}, {"Authorization", "Bearer " + key}, {"Ocp-Apim-Subscription-Key", key}} {
		header = append(header, "X-Functions-Key", "caller-canary-host", "Cookie", "a=caller-canary", "X-Ms-Client-Principal", "caller-canary",
			"Connection", "api-key, authorization", "Proxy-Authorization", "caller-canary", "X-Ms-Spillover-Deployment", "caller-canary")
		if a := r.post(chatPath+"?code=caller-canary&keep=1", hello, header...); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", header[0], a.status, a.body)
		}
	}
	for _, e := range r.sim.Journal() {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "caller-canary") {
			t.Errorf("the journal holds a caller's credential: %s", text)
		}
		if string(e.Body) != hello || !strings.Contains(e.RawQuery, "keep=1") {
			t.Errorf("body %q, query %q: want them as sent", e.Body, e.RawQuery)
		}
	}
	if a := r.post(chatPath, hello); a.status != 401 {
		t.Errorf("without a key: %d", a.status)
	}
}
