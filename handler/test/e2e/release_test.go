package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReleasesOfOneCommitAreEqual makes a release of this commit in two clones, at
// paths of different lengths: all files are equal to the byte, and they are what a
// release has to hold.
func TestReleasesOfOneCommitAreEqual(t *testing.T) {
	soakOnly(t)
	const version = "0.0.1"
	folder := t.TempDir()
	first, second := released(t, filepath.Join(folder, "a"), version), released(t, filepath.Join(folder, "another-clone"), version)
	sums := readFile(t, filepath.Join(first, "SHA256SUMS"))
	if other := readFile(t, filepath.Join(second, "SHA256SUMS")); other != sums {
		t.Errorf("two releases of one commit differ:\n%s\n%s", sums, other)
	}
	for _, name := range []string{"spillway-0.0.1-linux-amd64.zip", "spillway-0.0.1-linux-arm64.zip", "spillway-0.0.1-linux-amd64.cdx.json", "spillway-0.0.1-linux-arm64.cdx.json", "notes.md"} {
		if !strings.Contains(sums, "  "+name+"\n") {
			t.Errorf("the release has no %s:\n%s", name, sums)
		}
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = first
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("the checksums are wrong: %v\n%s", err, said)
	}
	wantContents(t, filepath.Join(first, "spillway-0.0.1-linux-amd64.cdx.json"))
	if notes := readFile(t, filepath.Join(first, "notes.md")); !strings.HasPrefix(notes, "# Spillway 0.0.1\n") || !strings.Contains(notes, "### Changed") {
		t.Errorf("the notes are\n%.400s", notes)
	}
}

// released clones this repository and makes a release there. The clone uses the
// tools of this one.
func released(t *testing.T, clone, version string) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(root, "build", "tools")
	for _, args := range [][]string{
		{filepath.Join(root, "scripts", "tools", "install.sh"), "cyclonedx-gomod"},
		{"git", "clone", "-q", root, clone},
		{"mkdir", filepath.Join(clone, "build")},
		{"ln", "-s", tools, filepath.Join(clone, "build", "tools")},
		{filepath.Join(clone, "scripts", "release.sh"), version},
	} {
		step := exec.Command(args[0], args[1:]...)
		if said, err := step.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
	}
	return filepath.Join(clone, "build", "release", version)
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantContents looks for the program, the standard library and a module in the list of
// what is in the program.
func wantContents(t *testing.T, file string) {
	t.Helper()
	var list struct {
		Format   string `json:"bomFormat"`
		Metadata struct {
			Component struct{ Name, Version string }
		}
		Parts []struct{ Name string } `json:"components"`
	}
	if err := json.Unmarshal([]byte(readFile(t, file)), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, part := range list.Parts {
		names = append(names, part.Name)
	}
	program := list.Metadata.Component
	if list.Format != "CycloneDX" || program.Name != "spillway" || program.Version != "0.0.1" || !slices.Contains(names, "std") || !slices.Contains(names, "github.com/go-chi/chi/v5") {
		t.Errorf("%s is about %+v with %d parts: %v", list.Format, program, len(names), names)
	}
}
