package config

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

func TestSchemaFileIsCurrent(t *testing.T) {
	golden(t, "schema.json", string(document.Schema()))
}

// sample is what is shown to the validator.
type sample struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Valid bool   `json:"valid"`
}

// TestSchemaAgreesWithDecoder asks ajv, which editors use too: every
// valid sample validates, and whatever Decode alone refuses is refused, but
// for names given twice and durations over a bound, which JSON Schema cannot see.
func TestSchemaAgreesWithDecoder(t *testing.T) {
	modules := tools(t)
	var samples []sample
	for name, text := range validSamples(t) {
		samples = append(samples, sample{name, text, true})
	}
	refused := 0
	for _, b := range everyBroken() {
		if shape, readable := structural(b.text); readable {
			samples = append(samples, sample{b.name, b.text, !shape})
			if shape {
				refused++
			}
		}
	}
	if refused < len(brokenShapes) {
		t.Fatalf("%d samples of a wrong shape, want at least %d", refused, len(brokenShapes))
	}
	said := ajv(t, modules, samples)
	t.Logf("%d samples, %d of them of a wrong shape", len(samples), refused)
	if said != "" {
		t.Errorf("the schema disagrees:\n%s", said)
	}
}

// structural reports whether the text is refused for its shape alone, and
// whether it is JSON at all.
func structural(text string) (shape, readable bool) {
	tree, _ := jsondoc.Parse("", []byte(text))
	if tree == nil {
		return false, false
	}
	for _, f := range jsondoc.Decode(tree, new(document.Document)) {
		if !strings.HasPrefix(f.Problem, "is given twice") && !strings.HasSuffix(f.Problem, "is too long") {
			return true, true
		}
	}
	return false, true
}

// tools is the folder of npm packages, or a skip with the command that
// installs them; where the make target promised them, their absence fails.
func tools(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("SPILLWAY_TOOLS")
	if folder == "" {
		folder, _ = filepath.Abs("../../../scripts/tools/node_modules")
	}
	if _, err := os.Stat(filepath.Join(folder, "ajv")); err != nil {
		if os.Getenv("SPILLWAY_REQUIRE_TOOLS") != "" {
			t.Fatalf("ajv is missing in %s: run scripts/tools/install.sh npm", folder)
		}
		t.Skip("ajv is not installed: run scripts/tools/install.sh npm")
	}
	return folder
}

// ajv returns one line for each sample about which the schema says otherwise.
func ajv(t *testing.T, modules string, samples []sample) string {
	t.Helper()
	const program = `
const { createRequire } = require('node:module');
const Ajv = createRequire(process.env.SPILLWAY_TOOLS + '/ajv/package.json')('ajv/dist/2020').default;
const { schema, samples } = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
const validate = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true }).compile(schema);
for (const s of samples) {
  if (validate(JSON.parse(s.text.replace(/^\uFEFF/, ''))) !== s.valid) {
    console.log(s.name + ': ' + (s.valid ? JSON.stringify(validate.errors) : 'accepted'));
  }
}`
	input, err := json.Marshal(map[string]any{"schema": json.RawMessage(document.Schema()), "samples": samples})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "-e", program)
	cmd.Env = append(os.Environ(), "SPILLWAY_TOOLS="+modules)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	return string(out)
}
