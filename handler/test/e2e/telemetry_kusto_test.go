package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The queries in infra/monitor are read by Microsoft's own parser of Kusto, and
// so is one with faults in it.
func TestQueriesAreValidKusto(t *testing.T) {
	t.Parallel()
	modules := tools(t)
	bad := t.TempDir()
	if err := os.WriteFile(filepath.Join(bad, "bad.kql"), []byte("AppTraces | where Mesage == 1 | sumarize count()"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(folder string) string {
		out, err := exec.CommandContext(t.Context(), "node", "testdata/kusto.js", modules, folder).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if said := read("../../../infra/monitor"); strings.Count(said, "\n") != 1 {
		t.Errorf("the queries: %s", said)
	}
	if said := read(bad); !strings.Contains(said, "bad.kql:") {
		t.Errorf("faults made on purpose are not found: %s", said)
	}
}
