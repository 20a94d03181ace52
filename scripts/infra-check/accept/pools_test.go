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

var update = flag.Bool("update", false, "write the pool documents of the examples anew")

// The pool document of every example is committed, as both languages emit it with references filled in: a change of a template
// shows as a change of what the program is told. handler/test/e2e reads these files, round and round, and runs them.
func TestPoolDocumentsOfTheExamplesAreTheCommittedOnes(t *testing.T) {
	result, err := check.Run("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Examples) < 5 {
		t.Fatalf("only %d examples", len(result.Examples))
	}
	for _, e := range result.Examples {
		file := filepath.Join("testdata", filepath.Base(e.Name)+".json")
		for language, settings := range map[string]map[string]string{"bicep": e.Settings, "terraform": e.Terraform} {
			got := pool(t, settings)
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
				t.Errorf("%s in %s is\n%s\nand %s is\n%s\n(go test ./accept -update takes it over)", e.Name, language, got, file, want)
			}
		}
	}
}

// pool is SPILLWAY_CONFIG as people read it.
func pool(t *testing.T, settings map[string]string) []byte {
	t.Helper()
	for _, pair := range Environment(settings) {
		text, ok := strings.CutPrefix(pair, "SPILLWAY_CONFIG=")
		if !ok {
			continue
		}
		var out bytes.Buffer
		if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
			t.Fatal(err)
		}
		return append(out.Bytes(), '\n')
	}
	t.Fatal("there is no SPILLWAY_CONFIG")
	return nil
}
