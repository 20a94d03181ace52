package main

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds a small static program for linux/amd64 and returns its bytes.
func program(t *testing.T) []byte {
	t.Helper()
	folder := t.TempDir()
	source := filepath.Join(folder, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(folder, "program")
	build := exec.Command("go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	whole, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// staged lays out an app around binary. The binary loses its mode on the way,
// as it does on file systems that keep none.
func staged(t *testing.T, binary []byte) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "health"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"host.json": "{}", "health/function.json": "{}", entry: string(binary)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestPackageKeepsTheEntryExecutable(t *testing.T) {
	target := filepath.Join(t.TempDir(), "app.zip")
	if err := run(staged(t, program(t)), target, "amd64"); err != nil {
		t.Fatal(err)
	}
	pack, err := zip.OpenReader(target)
	if err != nil {
		t.Fatal(err)
	}
	defer pack.Close()
	want := map[string]os.FileMode{"host.json": 0o644, "health/function.json": 0o644, entry: 0o755}
	for _, file := range pack.File {
		if file.Mode() != want[file.Name] {
			t.Errorf("%s has mode %o, want %o", file.Name, file.Mode(), want[file.Name])
		}
		delete(want, file.Name)
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestEqualAppsMakeEqualPackages(t *testing.T) {
	folder := staged(t, program(t))
	var packages [2]string
	for i := range packages {
		target := filepath.Join(t.TempDir(), "app.zip")
		if err := run(folder, target, "amd64"); err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		packages[i] = string(whole)
	}
	if packages[0] != packages[1] {
		t.Error("two packages of one folder differ")
	}
}

func TestPackageThatCannotStartIsRefused(t *testing.T) {
	good := program(t)
	for name, test := range map[string]struct {
		spoil func(t *testing.T, folder string)
		want  string
	}{
		"no host.json":   {remove("host.json"), "no host.json at its root"},
		"no binary":      {remove(entry), "no spillway at its root"},
		"no function":    {remove("health/function.json"), "no <function>/function.json"},
		"another system": {put("spillway", []byte("MZ, a program of another system")), "no Linux program"},
		"another chip":   {put("spillway", patched(good, machineAt, 0xB7)), "build with GOARCH=amd64"},
		"dynamic":        {put("spillway", patched(good, firstPartAt, 3)), "linked dynamically"},
		"local settings": {put("local.settings.json", []byte("{}")), "must not travel"},
	} {
		t.Run(name, func(t *testing.T) {
			folder, target := staged(t, good), filepath.Join(t.TempDir(), "app.zip")
			test.spoil(t, folder)
			err := run(folder, target, "amd64")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
			if _, err := os.Stat(target); !os.IsNotExist(err) {
				t.Errorf("a bad package was left behind: %v", err)
			}
		})
	}
}

func TestPackageForAnotherProcessor(t *testing.T) {
	folder, target := staged(t, patched(program(t), machineAt, 0xB7)), filepath.Join(t.TempDir(), "app.zip")
	if err := run(folder, target, "arm64"); err != nil {
		t.Error(err)
	}
}

// Where a 64-bit ELF file names its machine (0xB7 is arm64), and the type of
// the first part of its program (3 is the path of a dynamic linker).
const (
	machineAt   = 0x12
	firstPartAt = 0x40
)

// patched is program with one byte changed.
func patched(program []byte, at int, to byte) []byte {
	changed := bytes.Clone(program)
	changed[at] = to
	return changed
}

// remove and put spoil one file of a staged folder.
func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, folder string) {
		t.Helper()
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func put(name string, content []byte) func(*testing.T, string) {
	return func(t *testing.T, folder string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
