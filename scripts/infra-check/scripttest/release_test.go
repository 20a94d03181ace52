package scripttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakeGo writes what it was asked and what it was given in place of a program, with what go build would stamp; it packs by putting all
// files together.
const fakeGo = `#!/usr/bin/env bash
case $1 in
env) echo go1.26 ;;
run) (cd "$3" && find . -type f | sort | xargs tail -n +1) >"$4" ;;
build)
  while [[ $1 != -o ]]; do shift; done
  {
    echo "$* GOENV=${GOENV:-} GOFLAGS=${GOFLAGS:-} GOAMD64=${GOAMD64:-} GOOS=$GOOS GOARCH=$GOARCH"
    [[ $ALL == *-buildvcs=false* ]] || git describe --tags --always
  } >"$2"
  ;;
esac
`

// project is a repository with what a release is made of.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"lib.sh", "stage.sh", "release.sh"} {
		b, err := os.ReadFile(filepath.Join(Root, "scripts", name))
		if err != nil {
			t.Fatal(err)
		}
		write("scripts/"+name, string(b), 0o700)
	}
	write("scripts/tools/install.sh", "#!/bin/sh\n", 0o700)
	write("build/tools/bin/cyclonedx-gomod", "#!/bin/sh\necho contents\n", 0o700)
	write("go", strings.Replace(fakeGo, "case", "ALL=$*\ncase", 1), 0o700)
	write("host.json", "{}", 0o600)
	write("functions/health/function.json", "{}", 0o600)
	write("CHANGELOG.md", "## Unreleased\n\nAll new.\n", 0o600)
	write(".gitignore", "/build/\n*.out\n", 0o600)
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "all")
	return dir
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=n@example.com"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func release(t *testing.T, dir string, env ...string) string {
	t.Helper()
	cmd := exec.Command("bash", filepath.Join(dir, "scripts", "release.sh"), "1.2.3")
	cmd.Env = append(os.Environ(), append(env, "GO="+filepath.Join(dir, "go"))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "build/release/1.2.3/SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A tag is set after the release was tried, a file that git ignores lies about, go env -w has been used.
func TestAReleaseIsOfItsCommitAlone(t *testing.T) {
	t.Parallel()
	dir := project(t)
	first := release(t, dir)
	if !strings.Contains(first, "spillway-1.2.3-linux-arm64.zip") {
		t.Fatalf("the sums are %s", first)
	}
	git(t, dir, "tag", "v1.2.3")
	if got := release(t, dir); got != first {
		t.Errorf("a tag changes it:\n%s\n%s", first, got)
	}
	if err := os.WriteFile(filepath.Join(dir, "functions/health/mine.out"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := release(t, dir); got != first {
		t.Errorf("a file that git ignores changes it:\n%s\n%s", first, got)
	}
	if got := release(t, dir, "GOENV=/home/me/go/env", "GOFLAGS=-race", "GOAMD64=v3"); got != first {
		t.Errorf("settings of Go change it:\n%s\n%s", first, got)
	}
}
