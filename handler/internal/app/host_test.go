package app

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParentsOfTheHost(t *testing.T) {
	folder := t.TempDir()
	insights := map[string]string{"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=x", "FUNCTIONS_APP_ROOT_PATH": folder}
	for text, want := range map[string]bool{
		`{}`: true, `no JSON`: true,
		`{"logging":{"applicationInsights":{"httpAutoCollectionOptions":{"enableW3CDistributedTracing":true}}}}`:  true,
		`{"logging":{"applicationInsights":{"httpAutoCollectionOptions":{"enableW3CDistributedTracing":false}}}}`: false,
	} {
		if err := os.WriteFile(filepath.Join(folder, "host.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hostMakesUpParents(func(name string) string { return insights[name] }); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if hostMakesUpParents(func(string) string { return "" }) {
		t.Error("without Application Insights")
	}
	for file, want := range map[string]bool{"host.json": false, "infra/host.with-requests.json": true} {
		text, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil || os.WriteFile(filepath.Join(folder, "host.json"), text, 0o600) != nil {
			t.Fatal(err)
		}
		if got := hostMakesUpParents(func(name string) string { return insights[name] }); got != want {
			t.Errorf("%s: %v", file, got)
		}
	}
}
