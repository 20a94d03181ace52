package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// control sends one request to the control endpoint.
func control(t *testing.T, s *simulator.Service, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/_control/"+path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func controlled() (*simulator.Service, *clock) {
	c := newClock()
	d := ptu()
	d.Name, d.Model = "gpt-4o", "gpt-4o"
	return simulator.New(simulator.Config{Control: true, Now: c.Now, Resources: []simulator.Resource{
		{Name: "one", Region: "uksouth", Auth: simulator.AuthAnonymous, Deployments: []simulator.Deployment{d}},
	}}), c
}

func TestControlThrottleAndRestore(t *testing.T) {
	s, clock := controlled()
	steps := []struct {
		path   string
		pass   time.Duration
		status int // of a chat afterwards
	}{
		{"resources/one/throttle?for=10s", 9 * time.Second, 429},
		{"", time.Second, 200},
		{"resources/one/throttle", time.Hour, 429},
		{"resources/one/restore", 0, 200},
		{"resources/one/fail?for=1s", 0, 503},
		{"resources/one/up", 0, 200},
	}
	for i, step := range steps {
		if step.path != "" {
			if code, body := control(t, s, http.MethodPost, step.path, ""); code != http.StatusNoContent {
				t.Fatalf("step %d: %s: got %d %s", i, step.path, code, body)
			}
		}
		clock.pass(step.pass)
		if got := call(t, s, chatPath, costing(20)).status; got != step.status {
			t.Errorf("step %d: after %s: chat got %d, want %d", i, step.path, got, step.status)
		}
	}
}

func TestControlHangsAShareOfRequests(t *testing.T) {
	s, _ := controlled()
	if code, body := control(t, s, http.MethodPost, "resources/one/hang?probability=0.5&for=20s", ""); code != http.StatusNoContent {
		t.Fatalf("got %d %s", code, body)
	}
	if f := s.Faults("one"); len(f) != 1 || f[0].Action != "hang-before-headers" || f[0].Probability != .5 || f[0].For != 20*time.Second {
		t.Errorf("%+v", f)
	}
}

func TestControlSetsFaultsAndLimits(t *testing.T) {
	s, _ := controlled()
	code, body := control(t, s, http.MethodPost, "resources/one/faults", `{"action":"429-short","retryAfter":"3s","count":1}`)
	var f simulator.Fault
	if err := json.Unmarshal([]byte(body), &f); code != 200 || err != nil || f.ID == "" {
		t.Fatalf("got %d %s", code, body)
	}
	if r := call(t, s, chatPath, hello); r.status != 429 || r.header.Get("retry-after") != "3" {
		t.Errorf("got %d", r.status)
	}
	if code, _ := control(t, s, http.MethodDelete, "faults/"+f.ID, ""); code != 204 {
		t.Errorf("delete: got %d", code)
	}
	if code, _ := control(t, s, http.MethodDelete, "faults/"+f.ID, ""); code != 404 {
		t.Errorf("delete again: got %d", code)
	}
	if code, body := control(t, s, http.MethodPatch, "resources/one/deployments/gpt-4o", `{"provisionedTokensPerMinute":60000,"timeToFirstToken":"1ms"}`); code != 204 {
		t.Errorf("patch: got %d %s", code, body)
	}
	state := s.State()[0].Deployments[0].Deployment
	if state.ProvisionedTokensPerMinute != 60000 || state.TimeToFirstToken != time.Millisecond || state.AnswerTokens != 390 {
		t.Errorf("got %+v", state)
	}
}

func TestControlErrors(t *testing.T) {
	s, _ := controlled()
	tests := []struct {
		method, path, body string
		status             int
		holds              string
	}{
		{"POST", "resources/two/throttle", "", 404, `there are "one"`},
		{"POST", "resources/one/explode", "", 404, "no such verb"},
		{"POST", "resources/one/throttle?for=ten", "", 400, "10s"},
		{"POST", "resources/one/hang?probability=2", "", 400, "0.5"},
		{"POST", "resources/one/faults", `{"action":"428"}`, 400, "known ones are"},
		{"POST", "resources/one/faults", `{"acton":"500"}`, 400, "acton"},
		{"PATCH", "resources/one/deployments/gpt-5", `{}`, 400, "gpt-5"},
		{"PATCH", "resources/one/deployments/gpt-4o", `{"sku":"Gold"}`, 400, "Gold"},
		{"DELETE", "faults/x", "", 404, "no fault"},
	}
	for _, tt := range tests {
		if code, body := control(t, s, tt.method, tt.path, tt.body); code != tt.status || !strings.Contains(body, tt.holds) {
			t.Errorf("%s %s: got %d %s", tt.method, tt.path, code, body)
		}
	}
}

func TestControlReportsStateJournalAndMetrics(t *testing.T) {
	s, _ := controlled()
	call(t, s, chatPath, costing(400))
	call(t, s, chatPath, hello)
	if _, body := control(t, s, http.MethodGet, "", ""); !strings.Contains(body, "curl -X POST 'http://example.com/_control/resources/NAME/throttle?for=10s'") {
		t.Errorf("help: %s", body)
	}
	_, body := control(t, s, http.MethodGet, "journal?limit=1&resource=one", "")
	var entries []simulator.Entry
	if err := json.Unmarshal([]byte(body), &entries); err != nil || len(entries) != 1 || entries[0].Seq != 2 || entries[0].Body != nil {
		t.Errorf("journal: %v %s", err, body)
	}
	if _, body := control(t, s, http.MethodGet, "journal?limit=1&body=true", ""); !strings.Contains(body, `"body": "`) {
		t.Errorf("journal with bodies: %s", body)
	}
	_, body = control(t, s, http.MethodGet, "metrics", "")
	for _, line := range []string{
		`aoai_requests_total{resource="one",deployment="gpt-4o",outcome="served"} 2`,
		`aoai_answers_total{resource="one",deployment="gpt-4o",status="200"} 2`,
		`aoai_utilization_percent{resource="one",deployment="gpt-4o"} 79.9`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("metrics lack %s:\n%s", line, body)
		}
	}
	if _, body := control(t, s, http.MethodGet, "resources", ""); !strings.Contains(body, `"utilization": 79.9`) {
		t.Errorf("state: %s", body)
	}
	control(t, s, http.MethodPost, "reset", "")
	if len(s.Journal()) != 0 || len(s.Counts()) != 0 {
		t.Error("reset forgot nothing")
	}
}

func TestControlIsOffByDefault(t *testing.T) {
	s, _ := one(simulator.Deployment{})
	if code, _ := control(t, s, http.MethodGet, "resources", ""); code != 404 {
		t.Errorf("got %d, want 404", code)
	}
}
