package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// floor is how far each room stands from the ground. A room opens doors only
// to rooms below it: the picture in README.md, checked.
var floor = map[string]int{
	"breaker": 0, "throttle": 0, "operation": 0, "sse": 0, "payload/walk": 0, "config/strict": 0,
	"table": 0, "upstream/http1": 0, "aoaitest": 0, "hosttest": 0,
	"payload": 1, "usage": 1, "health": 1, "consumer": 1, "housekeeping": 1, "table/memory": 1, "table/azuretable": 1, "table/chaos": 1, "table/tabletest": 1,
	"pool": 2, "verdict": 2, "quota": 2, "config/document": 2,
	"proxy": 3, "state": 3, "usagebook": 3, "ledger": 3, "affinity": 3, "consumer/keys": 3, "consumer/entra": 3,
	"relay": 4, "upstream": 4, "server": 4,
	"telemetry/meter": 0, "transcript/blob": 0, "transcript": 5, "telemetry/otlp": 1, "telemetry": 5, "ops": 5, "config": 5, "doctor": 5,
	"config/importer": 6,
	".":               7, // main
	"e2e":             8,
}

// pure rooms know no process, no protocol and no waiting.
var (
	pure      = []string{"breaker", "throttle", "operation", "payload", "payload/walk", "sse", "usage", "quota", "health", "pool", "verdict"}
	worldly   = []string{"context", "log/slog", "math/rand/v2", "net/http", "os", "sync"}
	thisSide  = "spillway/handler/"
	testFiles = "_test.go"
)

// It reads the sources itself, not through go list, so that the test cache
// knows when they change.
func TestRoomsOpenDoorsDownwardOnly(t *testing.T) {
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "testdata" {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, testFiles) {
			return err
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room := path.Dir(file)
		if _, ok := floor[room]; !ok {
			t.Errorf("%s: room %q has no floor yet: place it here and in the picture in README.md", file, room)
		}
		for _, spec := range source.Imports {
			imp := strings.Trim(spec.Path.Value, `"`)
			if below, ok := strings.CutPrefix(imp, thisSide); ok && floor[below] >= floor[room] {
				t.Errorf("%s: %s must not import %s", file, room, below)
			}
			if slices.Contains(pure, room) && slices.Contains(worldly, imp) {
				t.Errorf("%s: %s is pure and must not import %s", file, room, imp)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
