package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

// anyModel makes every backend one that takes any model by its own name.
func anyModel(_ string, entry map[string]any) { delete(entry, "deployments") }

// ownDeployments is a resource whose deployments are called as their models.
func ownDeployments(name string, models ...string) simulator.Resource {
	r := deployed(name, models...)
	for i := range r.Deployments {
		r.Deployments[i].Name = r.Deployments[i].Model
	}
	return r
}

func chatWith(model string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hello"}]}`, model)
}

// Backends that take any name need not have every model: what one lacks
// another may have, and what all lack is the caller's mistake.
func TestModelNamesPassThroughWithoutDeployments(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{ownDeployments("a", "gpt-4o"), ownDeployments("b", "gpt-4o", "gpt-5")}, entry: func(name string, entry map[string]any) {
		anyModel(name, entry)
		withPriorities("a", "b")(name, entry)
	}}.start(t)
	for range 12 { // more than a breaker's failures
		for _, path := range []string{chatPath, "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21"} {
			if a := r.post(path, chatWith("gpt-5")); a.status != 200 || a.backend() != "b" {
				t.Fatalf("gpt-5: %d by %q: %s", a.status, a.backend(), a.body)
			}
		}
		if a := r.post(chatPath, chatWith("gpt-4o")); a.status != 200 || a.backend() != "a" {
			t.Fatalf("gpt-4o: %d by %q: what a lacks closed it for what it has", a.status, a.backend())
		}
		wantRefusal(t, r.post(chatPath, chatWith("gpt-6")), 404, "model_not_found")
		wantRefusal(t, r.post(chatPath, chatWith("../gpt-6")), 404, "model_not_found")
	}
	r.logged(r.post(chatPath, chatWith("gpt-4o")))
	labels := map[string]bool{}
	for _, line := range r.host.Stdout() {
		if _, model, ok := strings.Cut(line.Text, `"model":"`); ok {
			model, _, _ = strings.Cut(model, `"`)
			labels[model] = true
		}
	}
	if len(labels) != 1 || !labels["*"] {
		t.Errorf("the log speaks of the models %v: callers' names must not become labels", labels)
	}
}

func TestConsumerModelsLimitWildcardPools(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{ownDeployments("a", "gpt-4o", "gpt-5")}, entry: anyModel, document: map[string]any{
		"consumers": []map[string]any{{"name": "team", "keySetting": "TEAM_KEY", "models": []string{"gpt-5"}}},
	}, env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=team-key-0123456789"}}.start(t)
	const key = "team-key-0123456789"
	if a := r.post(chatPath, chatWith("gpt-5"), "Api-Key", key); a.status != 200 {
		t.Errorf("its own model: %d %s", a.status, a.body)
	}
	refused := r.post(chatPath, chatWith("gpt-4o"), "Api-Key", key)
	wantRefusal(t, refused, 403, "model_not_allowed")
	if !strings.Contains(refused.body, "You may use: gpt-5.") {
		t.Errorf("%s does not name what it may use", refused.body)
	}
	if a := r.get("GET", "/openai/v1/models", "Api-Key", key); !strings.Contains(a.body, `"id":"gpt-5"`) || strings.Contains(a.body, "gpt-4o") {
		t.Errorf("its models: %s", a.body)
	}
	if n := len(r.sim.Journal()); n != 1 {
		t.Errorf("%d requests reached the backend, want 1", n)
	}
}

func TestAliasesMappingsAndFallbacks(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", "gpt-4o"), deployed("b", "gpt-4o", "gpt-4o-mini")}, document: map[string]any{"models": map[string]any{
		"gpt-4o": map[string]any{"aliases": []string{"gpt-4"}, "fallbacks": []string{"gpt-4o-mini"}},
	}}, entry: withPriorities("a", "b"), env: []string{"SPILLWAY_MAX_WAIT=0"}}.start(t)
	if a := r.post(chatPath, chatWith("gpt-4")); a.status != 200 || a.header.Get("X-Spillway-Model") != "" {
		t.Errorf("%d, model %q: %s", a.status, a.header.Get("X-Spillway-Model"), a.body)
	}
	r.sim.Fault("a", simulator.Fault{Action: "503", Deployment: "gpt-4o-at-a"})
	r.sim.Fault("b", simulator.Fault{Action: "429-token", Deployment: "gpt-4o-at-b"})
	a := r.post(chatPath, chatWith("gpt-4"))
	if a.status != 200 || a.header.Get("X-Spillway-Model") != "gpt-4o-mini" || a.backend() != "b" {
		t.Errorf("%d by %q, model %q: %s", a.status, a.backend(), a.header.Get("X-Spillway-Model"), a.body)
	}
	var sent []string
	for _, e := range r.sim.Journal() {
		sent = append(sent, e.Resource+"/"+e.Deployment)
	}
	want := "a/gpt-4o-at-a a/gpt-4o-at-a b/gpt-4o-at-b b/gpt-4o-mini-at-b"
	if got := strings.Join(sent, " "); got != want {
		t.Errorf("sent to %s, want %s", got, want)
	}
}

// Each model has its own filter: a plain refusal, and one within a stream.
func TestContentFilterFallsBackWhereTheModelSaysSo(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", "gpt-4o", "gpt-4o-mini")}, document: map[string]any{"models": map[string]any{
		"gpt-4o": map[string]any{"fallbacks": []string{"gpt-4o-mini"}, "onContentFilter": "fallback"},
	}}}.start(t)
	for action, body := range map[string]string{"400-filter": chatWith("gpt-4o"), "stream-filter": strings.Replace(chatWith("gpt-4o"), "{", `{"stream":true,`, 1)} {
		r.sim.Fault("a", simulator.Fault{Action: action, Deployment: "gpt-4o-at-a"})
		if a := r.post(chatPath, body); a.status != 200 || a.header.Get("X-Spillway-Model") != "gpt-4o-mini" || a.err != nil {
			t.Errorf("%s: %d by model %q: %s", action, a.status, a.header.Get("X-Spillway-Model"), a.body)
		}
		r.sim.Fault("a", simulator.Fault{Action: action, Deployment: "gpt-4o-mini-at-a"})
		if a := r.post(chatPath, body); a.status != 400 || !strings.Contains(a.body, "content_filter") {
			t.Errorf("%s of both models: %d %s", action, a.status, a.body)
		}
		r.sim.Clear("a")
	}
}

// What Azure does not know goes to a backend that may, and nowhere else.
func TestOperationsUnknownToAzureGoToCompatibleBackends(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	other := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`{"results":[]}`))
	})
	r := api{resources: []simulator.Resource{deployed("a", "gpt-4o"), deployed("own", "reranker")}, entry: func(name string, entry map[string]any) {
		if name == "own" {
			entry["kind"], entry["endpoint"] = "openai", other+"/v1"
		}
	}}.start(t)
	if a := r.post("/v1/rerank", `{"model":"reranker","query":"x"}`); a.status != 200 || a.body != `{"results":[]}` {
		t.Errorf("%d %s", a.status, a.body)
	} else if got := <-asked; got != "POST /v1/rerank Bearer "+backendKey {
		t.Errorf("the backend was asked %s", got)
	}
	wantRefusal(t, r.post("/v1/rerank", `{"model":"gpt-4o","query":"x"}`), 404, "not_found")
	wantRefusal(t, r.post("/v1/rerank", `{"query":"x"}`), 404, "not_found")
	wantRefusal(t, r.get("GET", "/v1/rerank/jobs"), 404, "not_found")
	wantRefusal(t, r.post("/openai/rerank?api-version=2024-10-21", `{"model":"reranker"}`), 404, "not_found")
	if n := len(r.sim.Journal()); n != 0 {
		t.Errorf("%d requests reached Azure", n)
	}
}
