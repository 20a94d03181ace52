package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/scripts/infra-check/finding"
)

// Each file that belongs to no example is broken once, and the rule that is for it notices.
func TestFaultsOfFilesAreNoticed(t *testing.T) {
	const root = "../../.."
	parameters := []string{"environmentName", "location", "principalId", "principalType", "accounts", "pool", "secrets"}
	for _, f := range []struct{ name, file, old, new, rule string }{
		{"nothing", "host.json", "", "", ""},
		{"extension bundle in host.json", "host.json", `"version": "2.0",`, `"version": "2.0", "extensionBundle": {"id": "x"},`, "rule-files"},
		{"host.json does not stream", "host.json", `"enableProxyingHttpRequest": true`, `"enableProxyingHttpRequest": false`, "rule-files"},
		{"host.json samples", "host.json", `"isEnabled": false`, `"isEnabled": true`, "rule-files"},
		{"host.json ends streams", "host.json", `"functionTimeout": "-1"`, `"functionTimeout": "00:30:00"`, "rule-files"},
		{"the host's own log lines come twice", "host.json", `"Function": "Error"`, `"Function": "Information"`, "rule-files"},
		{"log lines are sampled beside requests", "infra/host.with-requests.json", `"Trace;Exception"`, `"Exception"`, "rule-files"},
		{"azd gives a parameter that does not exist", "infra/bicep/main.parameters.json", `"principalId"`, `"principleId"`, "rule-files"},
		{"azd does not give the location", "infra/bicep/main.parameters.json", `${AZURE_LOCATION}`, `swedencentral`, "rule-files"},
		{"retired model in azd's parameters", "infra/bicep/main.parameters.json", `"model": "gpt-5.4-mini"`, `"model": "gpt-4o"`, "rule-models"},
		{"azd without its template", "infra/azure.yaml", "module: main", "module: other", "rule-files"},
		{"region of a model that nobody knows", "infra/models.json", `"uksouth": 500`, `"uksuoth": 500`, "rule-files"},
		{"sku that nobody knows", "infra/models.json", `"GlobalStandard": {`, `"GlobalStandart": {`, "rule-files"},
		{"a date that is none", "infra/models.json", `"retires": "2027-05-15"`, `"retires": "15 May 2027"`, "rule-files"},
		{"a region without a data zone", "infra/models.json", `"DataZoneStandard": { "eastus2": 300,`, `"DataZoneStandard": { "uksouth": 300,`, "rule-files"},
		{"query missing", "infra/monitor/alert-budget.kql", "\n| ", "\n", "rule-files"},
		{"workbook that is not one", "infra/monitor/workbook.json", "Notebook/1.0", "Notebook/9.9", "rule-files"},
		{"a parameter that the README does not name", "infra/README.md", "`capacityScale`", "`capacityScales`", "rule-files"},
		{"an output that the README does not name", "infra/README.md", "`AZURE_FRONT_DOOR_ID`", "`FRONT_DOOR_ID`", "rule-files"},
	} {
		t.Run(f.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "infra"), os.DirFS(filepath.Join(root, "infra"))); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"host.json", f.file} {
				b, err := os.ReadFile(filepath.Join(root, file))
				if err != nil {
					t.Fatal(err)
				}
				text := string(b)
				if file == f.file && f.old != "" {
					if text = strings.ReplaceAll(text, f.old, f.new); text == string(b) {
						t.Fatalf("%s has no %s", file, f.old)
					}
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var found finding.List
			Tree(dir, parameters, &found)
			if f.rule == "" && len(found.All) > 0 {
				t.Fatal(found.All)
			}
			noticed := f.rule == ""
			for _, one := range found.All {
				noticed = noticed || one.Check == f.rule
			}
			if !noticed {
				t.Errorf("%s did not notice; found: %v", f.rule, found.All)
			}
		})
	}
}
