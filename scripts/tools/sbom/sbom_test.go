package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestEveryModuleOfTheProgramIsListed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(self, &out); err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Format != "CycloneDX" || d.Spec != "1.5" || d.Metadata.Component.Name != "spillway" || d.Components[0].Name != "stdlib" {
		t.Errorf("got %s", out.String())
	}
}

func TestModulesThatReplaceOthersAreTheOnesListed(t *testing.T) {
	d := documentOf(&debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "spillway"}, Deps: []*debug.Module{
		{Path: "example.com/a", Version: "v1.2.3"},
		{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0"}},
	}})
	var got []string
	for _, c := range d.Components {
		got = append(got, c.PURL)
	}
	if want := "pkg:golang/stdlib@1.26.8 pkg:golang/example.com/a@v1.2.3 pkg:golang/example.com/c@v2.0.0"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatIsNoProgramIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(file, new(bytes.Buffer)); err == nil {
		t.Error("a text was taken for a program")
	}
}
