package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// servedRoutes has one path for each route of a function.json, with the status
// that GET has there.
var servedRoutes = map[string]struct {
	path   string
	status int
}{
	"health/{*path}":    {"/health/live", http.StatusOK},
	"v1/{*path}":        {"/v1/models", http.StatusOK},
	"openai/{*path}":    {"/openai/v1/models", http.StatusOK},
	"ops/{*path}":       {"/ops/metrics", http.StatusOK},
	"anthropic/{*path}": {"/anthropic/v1/messages", http.StatusMethodNotAllowed},
	"models/{*path}":    {"/models/chat/completions", http.StatusMethodNotAllowed},
}

// httpTrigger is the input binding of a function.json.
type httpTrigger struct {
	Type    string   `json:"type"`
	Methods []string `json:"methods"`
	Route   string   `json:"route"`
}

func httpTriggers(t *testing.T) []httpTrigger {
	t.Helper()
	files, err := filepath.Glob("../../../functions/*/function.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no function.json found: %v", err)
	}
	var triggers []httpTrigger
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var function struct{ Bindings []httpTrigger }
		if err := json.Unmarshal(text, &function); err != nil {
			t.Fatalf("read %s: %v", file, err)
		}
		for _, binding := range function.Bindings {
			if binding.Type == "httpTrigger" {
				triggers = append(triggers, binding)
			}
		}
	}
	return triggers
}

// TestEveryFunctionRouteReachesTheHandler sends a request of each method to
// each route that a function.json declares. The header x-request-id shows that
// the handler answered, and not the host.
func TestEveryFunctionRouteReachesTheHandler(t *testing.T) {
	t.Parallel()
	const key = "operator-key-of-this-test"
	r := start(t, setup{env: []string{"SPILLWAY_OPERATOR_KEY=" + key}})
	for _, trigger := range httpTriggers(t) {
		served, known := servedRoutes[trigger.Route]
		if !known {
			t.Errorf("route %q has no path in servedRoutes: add one that the handler serves", trigger.Route)
			continue
		}
		for _, method := range trigger.Methods {
			method = strings.ToUpper(method)
			a := ask(t.Context(), t, method, r.host.URL+served.path, "", "X-Spillway-Operator-Key", key)
			if a.err != nil || a.header.Get("X-Request-Id") == "" {
				t.Errorf("%s %s: %d %v, want a response of the handler", method, served.path, a.status, a.err)
			}
			if method == http.MethodGet && a.status != served.status {
				t.Errorf("GET %s: %d %s, want %d", served.path, a.status, a.body, served.status)
			}
		}
	}
}

func TestPathsOutsideTheRoutesAre404OfTheHost(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for _, path := range []string{"/metrics", "/openai//v1/models", "/admin/host/status", "/v12/models"} {
		a := ask(t.Context(), t, http.MethodGet, r.host.URL+path, "")
		if a.status != http.StatusNotFound || a.body != "" || a.header.Get("X-Request-Id") != "" {
			t.Errorf("%s: %d %q, want an empty 404 of the host", path, a.status, a.body)
		}
	}
}
