package accept

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/scripts/infra-check/check"
)

var update = flag.Bool("update", false, "write the app settings of the examples anew")

// The app settings of every example are committed, with references filled in: a change of a template shows as a change of what the program is
// told. Both languages emit the same. handler/test/e2e runs the program with these files, and nothing else.
func TestAppSettingsOfTheExamplesAreTheCommittedOnes(t *testing.T) {
	result, err := check.Run("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Examples) < 9 {
		t.Fatalf("only %d examples", len(result.Examples))
	}
	for _, e := range result.Examples {
		file := filepath.Join("testdata", filepath.Base(e.Name)+".json")
		for language, settings := range map[string]map[string]string{"bicep": e.Settings, "terraform": e.Terraform} {
			got := document(t, settings)
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s in %s has\n%s\nand %s has\n%s\n(go test ./accept -update takes it over)", e.Name, language, got, file, want)
			}
		}
	}
}

// document is the settings as people read them: the pool is no text in it.
func document(t *testing.T, settings map[string]string) []byte {
	t.Helper()
	all := map[string]any{}
	for _, pair := range Environment(settings) {
		name, text, _ := strings.Cut(pair, "=")
		all[name] = text
		if name == "SPILLWAY_CONFIG" {
			all[name] = json.RawMessage(text)
		}
	}
	if all["SPILLWAY_CONFIG"] == nil {
		t.Fatal("there is no SPILLWAY_CONFIG")
	}
	out, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}
