package app

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/config"
	"spillway/handler/internal/openai/classify"
)

// The waits of a backend that has its own throttle hold for it alone, for
// answers and for what streams report.
func TestEachBackendIsClassifiedByItsOwnThrottle(t *testing.T) {
	t.Setenv("SPILLWAY_AUTH", "none")
	t.Setenv("SPILLWAY_CONFIG", `{"throttle": {"maxWait": "2m"}, "backends": [
		{"name": "a", "endpoint": "https://a.openai.azure.com", "auth": {"mode": "pass-through"}},
		{"name": "b", "endpoint": "https://b.openai.azure.com", "auth": {"mode": "pass-through"}, "throttle": {"acceptRetryAfter": false, "defaultWait": "3s"}}]}`)
	cfg, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	client, _, err := NewBackendClient(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want := []classify.Policy{
		{DefaultWait: 10 * time.Second, MaxWait: 2 * time.Minute},
		{DefaultWait: 3 * time.Second, MaxWait: 2 * time.Minute, IgnoreWaits: true},
	}
	if diff := cmp.Diff(want, classifyPolicies(cfg)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, []classify.Policy{client.Targets[0].Policy, client.Targets[1].Policy}); diff != "" {
		t.Error(diff)
	}
}
