// Package check runs everything over a project tree: each example in both languages, alone and against each other. It reads what the
// real tools made of the templates (previews, the compiled template, plans with mocked providers), which is committed.
package check

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/hclfile"
	"spillway/scripts/infra-check/parity"
	"spillway/scripts/infra-check/plan"
	"spillway/scripts/infra-check/rules"
)

// Template is where the compiled template is, from the top of the repository.
const Template = "infra/azuredeploy.json"

// Result is what a run came to.
type Result struct {
	Findings []finding.Finding
	Examples []Example
	Figures  string
}

// Example is one set of parameters worked out in both languages.
type Example struct {
	Name      string            // examples/minimum
	Settings  map[string]string // of the first function app, as Bicep emits them
	Terraform map[string]string // the same from Terraform
}

// run is one pass over a tree.
type run struct {
	root     string
	findings finding.List
	models   rules.Models
	main     *arm.Template
	facts    int
	examples []Example
	values   []map[string]any
	defaults map[string]*any
}

// Run checks the tree below root.
func Run(root string) (*Result, error) {
	models, err := rules.ReadModels(root)
	if err != nil {
		return nil, err
	}
	r := &run{root: root, models: models}
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(Template))) //nolint:gosec // a file of the tree that is checked
	if err != nil {
		return nil, fmt.Errorf("read the compiled template: %w", err)
	}
	if r.main, err = arm.ReadTemplate(b); err != nil {
		return nil, err
	}
	if r.defaults, err = hclfile.Variables(filepath.Join(root, "infra/terraform/variables.tf")); err != nil {
		return nil, err
	}
	for _, name := range r.names() {
		if err := r.example(name); err != nil {
			r.findings.Add("read", name, "%v", err)
		}
	}
	if err := r.stale(); err != nil {
		return nil, err
	}
	r.interfaces()
	rules.Compiled(r.main, &r.findings)
	rules.Coverage(r.main, r.values, &r.findings)
	rules.Tree(root, slices.Collect(maps.Keys(r.main.Parameters)), &r.findings)
	return &Result{r.findings.Sorted(), r.examples, fmt.Sprintf("%d examples; %d facts compared", len(r.examples), r.facts)}, nil
}

// Names lists the examples and the corner cases of a tree in one language.
func Names(root, folder, suffix string) []string {
	var out []string
	for _, kind := range []string{"examples", "tests"} {
		files, _ := filepath.Glob(filepath.Join(root, "infra", folder, kind, "*"+suffix)) // the pattern is well formed
		for _, f := range files {
			out = append(out, kind+"/"+strings.TrimSuffix(filepath.Base(f), suffix))
		}
	}
	return out
}

// names lists what stands in both languages.
func (r *run) names() []string {
	b, t := Names(r.root, "bicep", ".bicepparam"), Names(r.root, "terraform", ".tfvars")
	var out []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(b, t)))) {
		if !slices.Contains(b, name) || !slices.Contains(t, name) {
			r.findings.Add("parity", name, "the example is there in one language only")
			continue
		}
		out = append(out, name)
	}
	return out
}

// example holds what both languages make of one set of parameters against the rules and against each other.
func (r *run) example(name string) error {
	preview, err := Preview(r.root, name)
	if err != nil {
		return err
	}
	inBicep := parity.OfBicep(preview.Resources)
	r.held(name+" (bicep)", inBicep)
	planned, err := Planned(r.root, name)
	if err := errors.Join(err, r.parameters(name)); err != nil {
		return err
	}
	inTerraform := parity.OfTerraform(planned.Resources)
	r.held(name+" (terraform)", inTerraform)
	rules.Terraform(name, planned.Resources, &r.findings)
	parity.Compare(name, inBicep, inTerraform, &r.findings)
	parity.CompareOutputs(name, preview.Outputs, planned.Outputs, &r.findings)
	for _, facts := range inBicep {
		r.facts += len(facts)
	}
	r.examples = append(r.examples, Example{Name: name, Settings: settingsOf(inBicep), Terraform: settingsOf(inTerraform)})
	return nil
}

func (r *run) held(where string, facts parity.Inventory) {
	rules.Facts(where, facts, &r.findings)
	r.models.Deployed(where, facts, &r.findings)
}

// Planned reads the plan of an example.
func Planned(root, name string) (*plan.Plan, error) {
	infra := filepath.Join(root, "infra")
	b, err := os.ReadFile(filepath.Join(infra, "terraform", name+".plan.json")) //nolint:gosec // a file of the tree that is checked
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return plan.Read(b, infra)
}

// Preview reads the preview of an example.
func Preview(root, name string) (*arm.Preview, error) {
	base := filepath.Join(root, "infra/bicep", name)
	b, err := os.ReadFile(base + ".snapshot.json") //nolint:gosec // a file of the tree that is checked
	if err != nil {
		return nil, fmt.Errorf("read the preview: %w", err)
	}
	secrets, err := Secrets(root, name)
	if err != nil {
		return nil, err
	}
	return arm.Read(b, secrets)
}

var secret = regexp.MustCompile(`(\w+): *(readEnvironmentVariable|'')`)

// Secrets are placeholders for the secrets of an example; empty ones stay empty.
func Secrets(root, name string) (map[string]any, error) {
	b, err := os.ReadFile(filepath.Join(root, "infra/bicep", name+".bicepparam")) //nolint:gosec // a file of the tree that is checked
	if err != nil {
		return nil, fmt.Errorf("read the parameters: %w", err)
	}
	out := map[string]any{}
	_, after, _ := strings.Cut(string(b), "\nparam secrets = {")
	block, _, _ := strings.Cut(after, "}")
	for _, m := range secret.FindAllStringSubmatch(block, -1) {
		out[m[1]] = ""
		if m[2] != "''" {
			out[m[1]] = "placeholder-for-" + m[1]
		}
	}
	return out, nil
}

// parameters notes the values of every parameter in an example, by the names that Bicep has for them.
func (r *run) parameters(name string) error {
	given, err := hclfile.Values(filepath.Join(r.root, "infra/terraform", name+".tfvars"))
	if err != nil {
		return err
	}
	values := map[string]any{}
	for parameter := range r.main.Parameters {
		snake := Snake(parameter)
		if v, ok := given[snake]; ok {
			values[parameter] = v
		} else if d := r.defaults[snake]; d != nil {
			values[parameter] = *d
		}
	}
	r.values = append(r.values, values)
	return nil
}

// settingsOf takes the app settings of the first function app.
func settingsOf(inv parity.Inventory) map[string]string {
	for _, subject := range slices.Sorted(maps.Keys(inv)) {
		if strings.HasPrefix(subject, "settings of ") {
			return inv[subject]
		}
	}
	return nil
}
