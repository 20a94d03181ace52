package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

// liveEnvironment is that of a process whose two backends are sim's.
func liveEnvironment(t *testing.T, sim *simulator.Service) {
	t.Helper()
	var backends []map[string]any
	for _, name := range []string{"near", "far"} {
		backends = append(backends, map[string]any{
			"name": name, "endpoint": sim.URL(name), "deployments": []string{"gpt-4o"},
			"auth": map[string]string{"mode": "api-key", "setting": "LIVE_TEST_KEY"},
		})
	}
	document, err := json.Marshal(map[string]any{"backends": backends})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"SPILLWAY_CONFIG": string(document), "LIVE_TEST_KEY": "the-key-of-both", "SPILLWAY_AUTH": "none",
		"SPILLWAY_STATE": "", "AzureWebJobsStorage": "", "FUNCTIONS_CUSTOMHANDLER_PORT": "",
	} {
		t.Setenv(name, value)
	}
}

func TestValidateLiveReportsFailingBackends(t *testing.T) {
	gpt := []simulator.Deployment{{Name: "gpt-4o", Model: "gpt-4o"}}
	sim := simulator.Start(t, simulator.Config{Resources: []simulator.Resource{
		{Name: "near", Keys: []string{"the-key-of-both"}, Deployments: gpt},
		{Name: "far", Keys: []string{"the-key-of-both"}, Deployments: gpt},
	}})
	liveEnvironment(t, sim)
	var out bytes.Buffer
	if err := validate(t.Context(), nil, &out); err != nil || len(sim.Journal()) > 0 {
		t.Fatalf("without --live nobody is asked: %v, %d requests", err, len(sim.Journal()))
	}
	if err := validate(t.Context(), []string{"--live"}, &out); err != nil || !strings.Contains(out.String(), "live: 0 errors") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	sim.Fault("far", simulator.Fault{Action: "403-network"})
	out.Reset()
	err := validate(t.Context(), []string{"--live"}, &out)
	if exitCode(err) != 1 || !strings.Contains(out.String(), "error: backends[1] far: its network rules") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "the-key-of-both") {
		t.Error("the key is shown")
	}
	if err := validate(t.Context(), []string{"--life"}, &out); exitCode(err) != 2 {
		t.Errorf("--life: %v", err)
	}
}
