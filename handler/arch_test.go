package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// The layers of docs/architecture.md. A package imports packages of its own
// layer and of lower ones.
const (
	pure     = iota // values and arithmetic: no process, no protocol, no waiting
	engines         // what is decided and remembered: over interfaces of their own
	edges           // what speaks with the outside world
	programs        // what puts the parts together
	tests
)

var layers = map[string]int{
	"internal/balancer": pure, "internal/health": pure, "internal/quota/lease": pure,
	"internal/openai/classify": pure, "internal/openai/operations": pure, "internal/openai/request": pure,
	"internal/openai/jsonscan": pure, "internal/openai/sse": pure, "internal/openai/usage": pure,
	"internal/consumer": pure, "internal/health/latency": pure,

	"internal/accounting": engines, "internal/affinity": engines, "internal/telemetry/condition": engines, "internal/fleet": engines, "internal/fleet/coroutine": engines, "internal/metering": engines,
	"internal/configstore": engines, "internal/overload": engines, "internal/proxy": engines, "internal/quota": engines, "internal/tablestore": engines,

	"internal/admin": edges, "internal/api": edges, "internal/auth": edges, "internal/auth/entra": edges, "internal/auth/keys": edges,
	"internal/backend": edges, "internal/config": edges, "internal/openai/contentcoding": edges, "internal/config/document": edges,
	"internal/config/jsondoc": edges, "internal/config/migrate": edges, "internal/cli/preflight": edges, "internal/relay": edges,
	"internal/simulator": edges, "internal/cli/replay": edges, "internal/tablestore/azure": edges, "internal/tablestore/chaos": edges,
	"internal/tablestore/memory": edges, "internal/tablestore/storetest": edges, "internal/telemetry": edges, "internal/telemetry/webhook": edges, "internal/config/pricelist": edges,
	"internal/transcript": edges,

	"internal/app": programs, "internal/cli": programs, ".": programs,
	"test/e2e": tests, "test/funchost": tests, "test/freeport": edges,
}

// impure is what no pure package imports, nor any package that it imports.
var impure = []string{"context", "crypto/tls", "log/slog", "math/rand/v2", "net/http", "os", "sync"}

const module = "spillway/handler/"

// imports reads what each package of this folder imports, without its tests. It
// reads the sources itself, not through go list, so that the test cache knows
// when they change.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "testdata" {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range source.Imports {
			found[path.Dir(file)] = append(found[path.Dir(file)], strings.Trim(spec.Path.Value, `"`))
		}
		if found[path.Dir(file)] == nil {
			found[path.Dir(file)] = []string{}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestImportsGoDownTheLayers(t *testing.T) {
	all := imports(t)
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		layer, ok := layers[pkg]
		if !ok {
			t.Errorf("%s has no layer yet: place it here and in docs/architecture.md", pkg)
		}
		for _, imp := range all[pkg] {
			if below, ours := strings.CutPrefix(imp, module); ours && layers[below] > layer {
				t.Errorf("%s must not import %s: it is in a higher layer", pkg, below)
			}
		}
		if layer == pure {
			checkPure(t, all, pkg, []string{pkg})
		}
	}
	for pkg := range layers {
		if all[pkg] == nil {
			t.Errorf("%s has a layer and no source", pkg)
		}
	}
}

// checkPure follows the imports of a pure package to the end; trail is how it
// got there.
func checkPure(t *testing.T, all map[string][]string, pkg string, trail []string) {
	t.Helper()
	for _, imp := range all[pkg] {
		if slices.Contains(impure, imp) {
			t.Errorf("%s is pure and must not import %s (%s)", trail[0], imp, strings.Join(trail, " → "))
		}
		if below, ours := strings.CutPrefix(imp, module); ours {
			checkPure(t, all, below, append(slices.Clone(trail), below))
		}
	}
}
