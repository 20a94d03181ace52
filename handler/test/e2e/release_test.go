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
	first, second := released(t, checkOut(t, "HEAD", "a"), version), released(t, checkOut(t, "HEAD", "another-clone"), version)
	sums := readFile(t, filepath.Join(first, "SHA256SUMS"))
	if other := readFile(t, filepath.Join(second, "SHA256SUMS")); other != sums {
		t.Errorf("two releases of one commit differ:\n%s\n%s", sums, other)
	}
	for _, name := range []string{"spillway-0.0.1-linux-amd64.zip", "spillway-0.0.1-linux-arm64.zip", "spillway-0.0.1-linux-amd64.cdx.json", "spillway-0.0.1-linux-arm64.cdx.json", "notes.md"} {
		if !strings.Contains(sums, "  "+name+"\n") {
			t.Errorf("the release has no %s:\n%s", name, sums)
		}
	}
	wantContents(t, filepath.Join(first, "spillway-0.0.1-linux-amd64.cdx.json"))
	if notes := readFile(t, filepath.Join(first, "notes.md")); !strings.HasPrefix(notes, "# Spillway 0.0.1\n") || !strings.Contains(notes, "### Changed") {
		t.Errorf("the notes are\n%.400s", notes)
	}
}

// released makes a release of what is checked out in a clone, and returns its folder.
// The clone uses the tools of this repository.
func released(t *testing.T, clone, version string) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{filepath.Join(root, "scripts", "tools", "install.sh"), "cyclonedx-gomod"},
		{"mkdir", filepath.Join(clone, "build")},
		{"ln", "-s", filepath.Join(root, "build", "tools"), filepath.Join(clone, "build", "tools")},
		{filepath.Join(clone, "scripts", "release.sh"), version},
	} {
		step := exec.Command(args[0], args[1:]...)
		if said, err := step.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
	}
	folder := filepath.Join(clone, "build", "release", version)
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = folder
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("the checksums are wrong: %v\n%s", err, said)
	}
	return folder
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
