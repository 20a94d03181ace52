package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

// What a team made at its own resource before the gateway is the team's, at every
// instance, and nobody else's: no request of another consumer names it at a backend.
func TestObjectsFromBeforeTheGatewayAreAdopted(t *testing.T) {
	t.Parallel()
	a := api{
		resources: []simulator.Resource{deployed("shared", "gpt-4o"), deployed("own", "gpt-4o")},
		entry: func(name string, entry map[string]any) {
			entry["stateful"] = name == "shared"
			if name == "own" {
				entry["adopt"] = "team"
			}
		},
		document: map[string]any{"consumers": []map[string]any{{"name": "team", "keySetting": "TEAM_KEY"}, {"name": "other", "keySetting": "OTHER_KEY"}}},
		env:      []string{"SPILLWAY_AUTH=key", "TEAM_KEY=" + keyOf("team"), "OTHER_KEY=" + keyOf("other"), "SPILLWAY_STATE=" + storetest.Azurite(t)},
	}
	r := &rig{t: t, sim: simulator.Start(t, simulator.Config{Resources: a.resources})}
	form, formType := multipartForm(t, []byte("from before"), "purpose", "assistants")
	makeAt := func(resource, path, body string, header ...string) string {
		var object struct{ ID string }
		ask(t.Context(), t, "POST", r.sim.URL(resource)+"/openai/v1/"+path, body, append([]string{"Api-Key", backendKey}, header...)...).decoded(t, &object)
		return object.ID
	}
	file, elsewhere := makeAt("own", "files", form, "Content-Type", formType), makeAt("shared", "files", form, "Content-Type", formType)
	inBody := makeAt("own", "files", form, "Content-Type", formType)
	response := makeAt("own", "responses", `{"model":"gpt-4o-at-own","input":"Hello"}`)
	started := len(r.sim.Journal())
	r.host = a.handler(r)
	second := a.handler(r)

	want := func(host, who, method, path, body string, status int) {
		t.Helper()
		send := func() answer {
			return ask(t.Context(), t, method, host+"/openai/v1/"+path, body, "Api-Key", keyOf(who), "X-Whose", who)
		}
		began, got := time.Now(), send()
		for got.status == http.StatusServiceUnavailable && time.Since(began) < time.Minute {
			got = send() // on a busy machine the table is slower than a request waits for it
		}
		if got.status != status {
			t.Errorf("%s: %s %s %s: %d %s, want %d", who, method, path, body, got.status, got.body, status)
		}
	}
	everyUse := func(host, who string, status int) {
		t.Helper()
		want(host, who, "GET", "files/"+file, "", status)
		want(host, who, "GET", "files/"+file+"/content", "", status)
		want(host, who, "POST", "responses", fmt.Sprintf(`{"model":"gpt-4o","input":"Go on","previous_response_id":%q}`, response), status)
		want(host, who, "POST", "vector_stores", fmt.Sprintf(`{"file_ids":[%q]}`, inBody), status)
	}
	everyUse(r.host.URL, "other", http.StatusNotFound)
	everyUse(r.host.URL, "team", http.StatusOK)
	everyUse(second.URL, "other", http.StatusNotFound)
	everyUse(second.URL, "team", http.StatusOK)
	want(second.URL, "team", "GET", "files/"+elsewhere, "", http.StatusNotFound) // not at its resource
	want(second.URL, "team", "GET", "files", "", http.StatusForbidden)
	want(second.URL, "team", "DELETE", "files/"+file, "", http.StatusOK)
	for _, e := range r.sim.Journal()[started:] {
		if e.Header.Get("X-Whose") == "other" || e.Resource != "own" {
			t.Errorf("a request of %s reached %s: %s %s", e.Header.Get("X-Whose"), e.Resource, e.Method, e.Path)
		}
	}
}
