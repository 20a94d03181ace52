package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/parity"
)

// Tree checks files that belong to no example.
func Tree(root string, parameters []string, out *finding.List) {
	t := tree{root: root, parameters: parameters, out: out}
	t.hostJSON()
	t.models()
	t.azd()
	t.queries()
	t.readme()
}

type tree struct {
	root       string
	parameters []string // of main.bicep
	out        *finding.List
}

func (t tree) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(t.root, filepath.FromSlash(name)))
	if err != nil {
		t.out.Add("rule-files", name, "is not there")
	}
	return b
}

func (t tree) decode(name string, v any) bool {
	b := t.read(name)
	if b == nil {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		t.out.Add("rule-files", name, "is not the JSON expected: %v", err)
		return false
	}
	return true
}

// hostJSON: streaming needs the proxy, no stream may end by a timeout of another, and every log line of the program has to arrive: alerts count
// them. Nothing needs extensions.
func (t tree) hostJSON() {
	handler := map[string]any{
		"extensionBundle": nil, "functionTimeout": "-1", "extensions|http|routePrefix": "", "customHandler|enableProxyingHttpRequest": true,
		"customHandler|description|defaultExecutablePath": "spillway", "logging|logLevel|default": "Information", "logging|logLevel|Function": "Error",
		"logging|logLevel|Host.Aggregator": "None", "logging|logLevel|Host.Function.Console": "Information",
	}
	for name, more := range map[string]map[string]any{
		"host.json":                     {"logging|applicationInsights|samplingSettings|isEnabled": false, "logging|logLevel|Host.Results": "None"},
		"infra/host.with-requests.json": {"logging|applicationInsights|samplingSettings|excludedTypes": "Trace;Exception"},
	} {
		var host map[string]any
		if !t.decode(name, &host) {
			continue
		}
		maps.Copy(more, handler)
		for path, want := range more {
			if have := parity.Get(host, path); have != want {
				t.out.Add("rule-files", name, "%s is %v, must be %v", path, have, want)
			}
		}
	}
}

var mainParameter = regexp.MustCompile(`(?m)^param (\w+)`)

// azd: the parameter file names parameters of main.bicep and gives those that have no default.
func (t tree) azd() {
	var file struct {
		Parameters map[string]struct {
			Value any `json:"value"`
		} `json:"parameters"`
	}
	if !t.decode("infra/bicep/main.parameters.json", &file) {
		return
	}
	for name := range file.Parameters {
		if !slices.Contains(t.parameters, name) {
			t.out.Add("rule-files", "infra/bicep/main.parameters.json", "main.bicep has no parameter %s", name)
		}
	}
	for _, name := range []string{"environmentName", "location"} {
		if v := fmt.Sprint(file.Parameters[name].Value); !strings.HasPrefix(v, "${AZURE_") {
			t.out.Add("rule-files", "infra/bicep/main.parameters.json", "%s must come from azd, not be %s", name, v)
		}
	}
	yaml := string(t.read("infra/azure.yaml"))
	for _, line := range []string{"provider: bicep", "path: bicep", "module: main"} {
		if !strings.Contains(yaml, line) {
			t.out.Add("rule-files", "infra/azure.yaml", "%q is missing", line)
		}
	}
}

// queries: each alert has its file, and the workbook is JSON.
func (t tree) queries() {
	for _, name := range alertNames() {
		if name == "daily-cap" {
			continue // reads what the workspace says of itself, and stands in the templates
		}
		if q := t.read("infra/monitor/alert-" + name + ".kql"); q != nil && !bytes.Contains(q, []byte("| ")) {
			t.out.Add("rule-files", "infra/monitor/alert-"+name+".kql", "is not a query")
		}
	}
	var workbook struct {
		Version string `json:"version"`
	}
	if t.decode("infra/monitor/workbook.json", &workbook) && workbook.Version != "Notebook/1.0" {
		t.out.Add("rule-files", "infra/monitor/workbook.json", "is not a workbook: version Notebook/1.0 is missing")
	}
}

var (
	variableName = regexp.MustCompile(`(?m)^variable "(\w+)"`)
	outputName   = regexp.MustCompile(`(?m)^output (\w+) `)
)

// readme: the page for people names every parameter, variable and output.
func (t tree) readme() {
	page := t.read("infra/README.md")
	for file, pattern := range map[string]*regexp.Regexp{
		"infra/bicep/main.bicep": mainParameter, "infra/terraform/variables.tf": variableName,
	} {
		for _, m := range pattern.FindAllSubmatch(t.read(file), -1) {
			if !bytes.Contains(page, []byte("`"+string(m[1])+"`")) {
				t.out.Add("rule-files", "infra/README.md", "says nothing of %s", m[1])
			}
		}
	}
	for _, m := range outputName.FindAllSubmatch(t.read("infra/bicep/main.bicep"), -1) {
		if !bytes.Contains(page, []byte("`"+string(m[1])+"`")) {
			t.out.Add("rule-files", "infra/README.md", "says nothing of the output %s", m[1])
		}
	}
}
