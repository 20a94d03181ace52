package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// skewedProgram is the program with a wall clock that can be wrong. Its own
// source is unchanged: the standard library's time.Now is replaced in the build,
// because a static binary reads the vDSO and no library can be preloaded.
func skewedProgram(t *testing.T) string {
	t.Helper()
	folder := filepath.Dir(staged)
	program := filepath.Join(folder, "spillway-skewed")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	build := exec.Command("go", "build", "-trimpath", "-overlay", clockOverlay(t, folder), "-o", program, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// clockOverlay writes what replaces the standard library's file.
func clockOverlay(t *testing.T, folder string) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reads) != 1 {
		t.Fatalf("time.Now of this Go reads the clock in another way than %q: teach clockOverlay", reads)
	}
	skewed := strings.Replace(string(text), reads, reads+"\tsec += wallSkew(mono - startNano)\n", 1)
	own, err := filepath.Abs("testdata/wallskew/skew.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	changed, list := filepath.Join(folder, "time.go"), filepath.Join(folder, "overlay.json")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(library, "time.go"): changed, filepath.Join(library, "skew.go"): own,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{changed: []byte(skewed), list: overlay} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// skewOf is the clock error of a member: up to five minutes either way,
// and set right, too far, or back while it runs.
func skewOf(n, members int) string {
	const most = 300
	seconds := -most + 2*most*n/max(members-1, 1)
	return fmt.Sprintf("E2E_WALL_SKEW=%d,%d,%d", seconds, 8+n, -2*seconds)
}
