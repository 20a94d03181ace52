package config

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

// in is what the process would find if only env were set.
func in(t *testing.T, env map[string]string) *inputs {
	t.Helper()
	for _, name := range append(settingNames(), "FUNCTIONS_CUSTOMHANDLER_PORT", "REGION_NAME", "WEBSITE_POD_NAME", "CONTAINER_NAME",
		"WEBSITE_INSTANCE_ID", "OTEL_EXPORTER_OTLP_ENDPOINT", "AZURE_CLIENT_ID", "HTTP_TIMEOUT_SECONDS", "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") {
		t.Setenv(name, env[name])
	}
	got, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	got.all = env
	return &got
}

// setting is env with SPILLWAY_CONFIG.
func setting(env map[string]string, text string) map[string]string {
	out := maps.Clone(env)
	if out == nil {
		out = map[string]string{}
	}
	if text != "" {
		out["SPILLWAY_CONFIG"] = text
	}
	return out
}

func everyBroken() []broken {
	return slices.Concat(brokenTexts, brokenShapes, brokenMeanings, brokenSettings, brokenNumbers)
}

func TestBrokenConfigurations(t *testing.T) {
	var said strings.Builder
	for _, b := range everyBroken() {
		_, err := load(in(t, setting(b.env, b.text)))
		if err == nil {
			t.Errorf("%s: accepted", b.name)
		}
		fmt.Fprintf(&said, "# %s\n%v\n\n", b.name, err)
	}
	golden(t, "testdata/broken.golden", said.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, -update to accept):\n%s", file, diff)
	}
}

func TestFaultsHavePathPlaceAndFix(t *testing.T) {
	for _, b := range everyBroken() {
		_, err := load(in(t, setting(b.env, b.text)))
		faults, ok := errors.AsType[Faults](err)
		if !ok || len(faults) == 0 {
			t.Errorf("%s: %v, want faults", b.name, err)
		}
		for _, f := range faults {
			if f.Path == "" || f.Problem == "" || f.Fix == "" {
				t.Errorf("%s: incomplete: %+v", b.name, f)
			}
			_, isSetting := b.env[f.Path]
			inText := !isSetting && (f.Path == strings.ToLower(f.Path) || strings.Contains(f.Path, "["))
			if inText && (f.Line < 1 || f.Column < 1) {
				t.Errorf("%s: no place: %+v", b.name, f)
			}
			if strings.HasSuffix(f.Problem, ".") || !strings.HasSuffix(f.Fix, ".") && !strings.HasSuffix(f.Fix, "?") {
				t.Errorf("%s: not a sentence: %v", b.name, f)
			}
		}
	}
}

func TestFaultsNeverContainSecrets(t *testing.T) {
	secrets := []string{"5f2c9d1e", "hunter2", "0123456789abcdef", "bm90IGEga2V5"}
	for _, b := range everyBroken() {
		_, err := load(in(t, setting(b.env, b.text)))
		for _, secret := range secrets {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", b.name, err)
			}
		}
	}
}

func validSamples(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("document/testdata/valid/*.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	samples := map[string]string{}
	for _, file := range files {
		samples[file] = string(read(t, file))
	}
	return samples
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
