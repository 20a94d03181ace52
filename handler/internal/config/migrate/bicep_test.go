package migrate

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBicep is a compiler that answers with what the real one makes of a pool whose
// second backend is named after the subscription.
const fakeBicep = `#!/bin/sh
set -eu
case "$1" in
build-params) echo '{"parametersJson": "{\"parameters\": {\"names\": {\"value\": [\"a\"]}}}"}' ;;
snapshot)
  test -f "$(dirname "$2")/values.json"
  grep -q "using '.*main.bicep'" "$2" || { echo "no template" >&2; exit 1; }
  grep -q needed "$(dirname "$2")/values.json" || ! grep -q needed "$MAIN" || { echo "x(1,7) : Error BCP258: missing: needed" >&2; echo "x : Warning BCP037: noise" >&2; exit 1; }
  id=$6
  cat >"${2%.bicepparam}.snapshot.json" <<END
{"predictedResources": [
 {"type": "Microsoft.ApiManagement/service/backends", "name": "apim-$id/known", "properties": {"url": "https://known.openai.azure.com/openai", "protocol": "http"}},
 {"type": "Microsoft.ApiManagement/service/backends", "name": "apim-$id/named", "properties": {"url": "https://ai-$id.openai.azure.com/openai", "protocol": "http"}},
 {"type": "Microsoft.ApiManagement/service/backends", "name": "apim-$id/referred", "properties": {"url": "[format('{0}openai', reference('/subscriptions/$id').endpoint)]", "protocol": "http"}},
 {"type": "Microsoft.ApiManagement/service/backends", "name": "apim-$id/pool", "properties": {"pool": {"services": [{"id": "/backends/known", "priority": 1}, {"id": "/subscriptions/$id/backends/named", "priority": 2}, {"id": "/backends/referred", "priority": 3}]}}}
], "diagnostics": []}
END
  ;;
*) exit 2 ;;
esac
`

// bicepFolder has a compiler, a template and its parameters.
func bicepFolder(t *testing.T, template string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{"bicep": fakeBicep, "main.bicep": template, "main.bicepparam": "using 'main.bicep'\n", "values.json": `{"parameters": {"needed": {"value": 1}}}`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("BICEP", filepath.Join(folder, "bicep"))
	t.Setenv("MAIN", filepath.Join(folder, "main.bicep"))
	return folder
}

func TestBicepIsCompiled(t *testing.T) {
	folder := bicepFolder(t, "")
	for _, file := range []string{"main.bicep", "main.bicepparam"} {
		var document, said bytes.Buffer
		o := Options{Endpoints: map[string]string{"named": "https://given.openai.azure.com"}}
		if err := Run(t.Context(), "apim-pool", filepath.Join(folder, file), o, &document, &said); err != nil {
			t.Fatal(err)
		}
		wantParts(t, document.String(), []string{"https://known.openai.azure.com", "https://given.openai.azure.com", "https://referred.invalid"}, []string{"1111", "2222"})
		wantParts(t, said.String(), []string{`the URL of backend "referred" is only known to a deployment: give --endpoint referred=URL`}, nil)
	}
}

func TestBicepWithoutItsParameters(t *testing.T) {
	folder := bicepFolder(t, "needed")
	file := filepath.Join(folder, "main.bicep")
	err := Run(t.Context(), "apim-pool", file, Options{}, new(bytes.Buffer), new(bytes.Buffer))
	if err == nil {
		t.Fatal("imported without a parameter that the template needs")
	}
	wantParts(t, err.Error(), []string{"BCP258", "--parameters", "az rest"}, []string{"noise"})
	if err := Run(t.Context(), "apim-pool", file, Options{Parameters: filepath.Join(folder, "values.json")}, new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Error(err)
	}
}

func TestBicepWithoutACompiler(t *testing.T) {
	folder := bicepFolder(t, "")
	for name, value := range map[string]string{"BICEP": "", "PATH": folder + "/none", "HOME": folder} {
		t.Setenv(name, value)
	}
	err := Run(t.Context(), "apim-pool", filepath.Join(folder, "main.bicep"), Options{}, new(bytes.Buffer), new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "az bicep install") || !strings.Contains(err.Error(), "az rest") {
		t.Errorf("got %v", err)
	}
}

func TestEndpointOfNobody(t *testing.T) {
	_, err := Import("list", []byte("https://a.openai.azure.com\n"), Options{Endpoints: map[string]string{"b": "https://b.openai.azure.com"}})
	if err == nil || !strings.Contains(err.Error(), `endpoint of "b"`) || !strings.Contains(err.Error(), "There are: a") {
		t.Errorf("got %v", err)
	}
}

// TestSourcesWithoutAUsableBackend says what was left out, and why.
func TestSourcesWithoutAUsableBackend(t *testing.T) {
	for source, text := range map[string]string{
		"litellm": `model_list: [{model_name: c, litellm_params: {model: anthropic/claude}}]`,
		"bifrost": `{"providers": {"anthropic": {"keys": [{"value": "env.A", "weight": 1}]}}}`,
		"portkey": `{"strategy": {"mode": "conditional"}, "targets": [{"provider": "azure-openai", "resource_name": "x"}]}`,
		"list":    "http://contoso.example\n",
	} {
		_, err := Import(source, []byte(text), Options{})
		if err == nil || !strings.Contains(err.Error(), "Not carried over:\n  ") {
			t.Errorf("%s: got %v", source, err)
		}
	}
}
