package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// staged is the folder that the host double runs: what `make stage` lays out.
var staged string

// atOnce is how many tests run at a time unless -parallel says otherwise: most
// of them wait for a process or for a clock.
const atOnce = "8"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", atOnce); err != nil { // the command line is parsed later, and wins
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "spillway-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	staged = filepath.Join(folder, "app")
	stage := exec.Command("../../../scripts/stage.sh", staged)
	stage.Env = append(os.Environ(), "LOCAL_SETTINGS=no")
	stage.Stderr = os.Stderr
	if err := stage.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "stage the app:", err)
		return 1
	}
	code := m.Run()
	if err := writeReport(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// missing skips a test that lacks a tool, with the command that gets it; where the make
// target promised the tools, it fails.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("SPILLWAY_REQUIRE_TOOLS") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// tools is the folder of npm packages.
func tools(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("SPILLWAY_TOOLS")
	if folder == "" {
		folder, _ = filepath.Abs("../../../scripts/tools/node_modules")
	}
	if _, err := os.Stat(filepath.Join(folder, "openai")); err != nil {
		missing(t, "npm packages are not in "+folder+": run scripts/tools/install.sh npm")
	}
	return folder
}
