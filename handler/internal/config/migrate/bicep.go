package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// bicepInstead is what can be given instead of a Bicep file.
const bicepInstead = `give what is deployed instead: the answer of "az rest --method get --url .../backends?api-version=2024-05-01" for a pool of API Management, the environment variables of the app for openai-aca-lb`

// errNoBicep is a Bicep file where there is no compiler.
var errNoBicep = errors.New(`there is no Bicep compiler: run "az bicep install", or put bicep on the PATH or into the variable BICEP; or ` + bicepInstead)

// identities are made-up subscriptions. Names and addresses that depend on the
// subscription differ between the two, and so are known to be unknown.
var identities = [2]string{"11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"}

var usingLine = lazily(`(?m)^\s*using\s+'([^']+)'`)

// compiled is the resources of a Bicep file, or of a file of parameters for one, as
// JSON: loops unrolled, modules opened, and texts that only a deployment knows left
// as expressions. The compiler of the user's machine does the work. values is a file
// of parameters in JSON, "" when there is none.
func compiled(ctx context.Context, file, values string) ([]byte, error) {
	compiler, err := bicepCompiler()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "spillway-import-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	b := bicep{ctx: ctx, compiler: compiler, folder: folder}
	parameters, err := b.parameters(file, values)
	if err != nil {
		return nil, err
	}
	var both [2]any
	for i, identity := range identities {
		if both[i], err = b.snapshot(parameters, identity); err != nil {
			return nil, fmt.Errorf("%w\nIf parameters are missing, import the .bicepparam file or name a JSON file by --parameters; or %s", err, bicepInstead)
		}
	}
	return json.Marshal(agreed(both[0], both[1]))
}

// bicepCompiler is the program, where az puts it or on the PATH.
func bicepCompiler() (string, error) {
	if program := os.Getenv("BICEP"); program != "" {
		return program, nil
	}
	if program, err := exec.LookPath("bicep"); err == nil {
		return program, nil
	}
	if home, err := os.UserHomeDir(); err == nil {
		if program := filepath.Join(home, ".azure", "bin", "bicep"); exists(program) {
			return program, nil
		}
	}
	return "", errNoBicep
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// bicep is the compiler, with a folder for its files.
type bicep struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the one call of compiled
	compiler string
	folder   string
}

func (b *bicep) run(arguments ...string) ([]byte, error) {
	var out, errOut bytes.Buffer
	c := exec.CommandContext(b.ctx, b.compiler, arguments...) //nolint:gosec // the operator's own compiler
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("bicep %s: %w\n%s", arguments[0], err, faultLines(errOut.String()))
	}
	return out.Bytes(), nil
}

// faultLines are the errors among what the compiler says, or all of it.
func faultLines(text string) string {
	var faults []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, " : Error ") {
			faults = append(faults, strings.TrimSpace(line))
		}
	}
	if len(faults) == 0 {
		return strings.TrimSpace(text)
	}
	return strings.Join(faults, "\n")
}

// parameters writes a file of parameters for the template into the folder: that of
// the user with its values worked out, or one without values.
func (b *bicep) parameters(file, given string) (string, error) {
	template, values := file, []byte("{}")
	var err error
	switch {
	case strings.HasSuffix(file, ".bicepparam"):
		if template, err = templateOf(file); err == nil {
			values, err = b.values(file)
		}
	case given != "":
		values, err = os.ReadFile(given) //nolint:gosec // the operator's own path
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(template); err != nil {
		return "", err
	}
	return b.write(template, values)
}

// templateOf is the template that a .bicepparam file is for.
func templateOf(file string) (string, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own path
	if err != nil {
		return "", err
	}
	using := usingLine().FindSubmatch(text)
	if using == nil {
		return "", errors.New("it names no template: its line \"using\" is missing")
	}
	return filepath.Join(filepath.Dir(file), filepath.FromSlash(string(using[1]))), nil
}

// values is the parameters of a .bicepparam file as JSON.
func (b *bicep) values(file string) ([]byte, error) {
	out, err := b.run("build-params", file, "--stdout")
	if err != nil {
		return nil, err
	}
	var built struct {
		Parameters string `json:"parametersJson"`
	}
	if err := json.Unmarshal(out, &built); err != nil {
		return nil, fmt.Errorf("read parameters: %w", err)
	}
	return []byte(built.Parameters), nil
}

func (b *bicep) write(template string, values []byte) (string, error) {
	var document struct {
		Parameters map[string]struct{ Value any }
	}
	if err := json.Unmarshal(values, &document); err != nil {
		return "", fmt.Errorf("read parameters: %w", err)
	}
	whole, err := filepath.Abs(template)
	if err != nil {
		return "", err
	}
	relative, err := filepath.Rel(b.folder, whole)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("using '%s'\n", filepath.ToSlash(relative))
	for _, name := range slices.Sorted(maps.Keys(document.Parameters)) {
		text += fmt.Sprintf("param %s = loadJsonContent('values.json').parameters.%s.value\n", name, name)
	}
	if err := os.WriteFile(filepath.Join(b.folder, "values.json"), values, 0o600); err != nil { //nolint:gosec // a folder of our own
		return "", err
	}
	file := filepath.Join(b.folder, "import.bicepparam")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// snapshot is what would be deployed to that subscription.
func (b *bicep) snapshot(parameters, identity string) (any, error) {
	_, err := b.run("snapshot", parameters, "--mode", "overwrite", "--subscription-id", identity, "--tenant-id", identity,
		"--resource-group", "spillway-import", "--location", "westeurope", "--deployment-name", "main")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(strings.TrimSuffix(parameters, ".bicepparam") + ".snapshot.json")
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return map[string]any{"resources": document["predictedResources"], "diagnostics": document["diagnostics"]}, nil
}

// agreed is the first document, with an unknown expression for every text that is
// another one in the second.
func agreed(first, second any) any {
	switch a := first.(type) {
	case map[string]any:
		b, _ := second.(map[string]any)
		for name := range a {
			a[name] = agreed(a[name], b[name])
		}
	case []any:
		b, _ := second.([]any)
		for i := range a {
			if i < len(b) {
				a[i] = agreed(a[i], b[i])
			}
		}
	case string:
		if b, ok := second.(string); ok && a != b {
			return unknownPart(a, b)
		}
	}
	return first
}

// unknownPart is an expression for a text that depends on the subscription. What both
// have after the last slash is kept: it is the name of a resource.
func unknownPart(a, b string) string {
	last := a[strings.LastIndexByte(a, '/')+1:]
	if last != b[strings.LastIndexByte(b, '/')+1:] || strings.HasPrefix(a, "[") || strings.Contains(a, "://") {
		return "[unknown()]"
	}
	return "[unknown('" + strings.ReplaceAll(last, "'", "''") + "')]"
}
