// Package check runs everything over a project tree: each example in both languages, alone and against each other.
package check

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/bicep"
	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/parity"
	"spillway/scripts/infra-check/rules"
	"spillway/scripts/infra-check/tf"
)

// Result is what a run came to.
type Result struct {
	Findings []finding.Finding
	Examples []Example
	Figures  string
}

// Example is one set of parameters worked out in both languages.
type Example struct {
	Name      string
	Settings  map[string]string // of the first function app, as Bicep emits them
	Terraform map[string]string // the same from Terraform
	Counts    map[string]int    // Terraform resources by type
	Secrets   map[string]string // placeholders for what the example takes from the environment
}

// run is one pass over a tree.
type run struct {
	root     string
	findings finding.List
	bicep    *bicep.Program
	tf       *tf.Program
	models   rules.Models
	counts   map[string]int
	examples []Example
}

// Run checks the tree below root.
func Run(root string) (*Result, error) {
	types, err := arm.Embedded()
	if err != nil {
		return nil, err
	}
	schema, err := tf.Embedded()
	if err != nil {
		return nil, err
	}
	models, err := rules.ReadModels(root)
	if err != nil {
		return nil, err
	}
	r := &run{root: root, models: models, counts: map[string]int{}}
	r.bicep = bicep.NewProgram(filepath.Join(root, "infra", "bicep"), types, &r.findings)
	r.tf = tf.NewProgram(filepath.Join(root, "infra", "terraform"), schema, types, &r.findings)
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		r.example(name)
	}
	r.bicep.Unvisited()
	r.interfaces()
	rules.Tree(root, &r.findings)
	return &Result{Findings: r.findings.Sorted(), Examples: r.examples, Figures: r.figures()}, nil
}

// names lists the examples and the corner cases; each stands in both languages.
func (r *run) names() ([]string, error) {
	var out []string
	for _, folder := range []string{"examples", "tests"} {
		b, err := r.stems(filepath.Join("bicep", folder), ".bicepparam")
		if err != nil {
			return nil, err
		}
		t, err := r.stems(filepath.Join("terraform", folder), ".tfvars")
		if err != nil {
			return nil, err
		}
		for _, name := range union(b, t) {
			if !slices.Contains(b, name) || !slices.Contains(t, name) {
				r.findings.Add("parity", name, "the example is there in one language only")
				continue
			}
			out = append(out, filepath.ToSlash(filepath.Join(folder, name)))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no examples below %s", r.root)
	}
	return out, nil
}

func (r *run) stems(folder, suffix string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(r.root, "infra", folder, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), suffix))
	}
	return out, nil
}

// example works one set of parameters out twice, holds both against the rules and against each other.
func (r *run) example(name string) {
	template, params := r.bicep.Parameters(name + ".bicepparam")
	if template == "" {
		return
	}
	main, instances := r.bicep.Expand(template, params)
	variables := r.tf.Variables(name + ".tfvars")
	if main == nil || variables == nil {
		return
	}
	variables["subscription_id"] = cty.StringVal(bicep.Subscription)
	variables["secrets"] = secretMap(secretsOf(params))
	result := r.tf.Expand(variables)
	if result == nil {
		return
	}
	r.counts["bicep"] += len(instances)
	r.counts["terraform"] += len(result.Instances)
	b, t := parity.OfBicep(instances), parity.OfTerraform(result.Instances)
	parity.Compare(name, b, t, &r.findings)
	parity.CompareOutputs(name, main.Outputs, result.Outputs, &r.findings)
	rules.Facts(name+" (bicep)", b, &r.findings)
	rules.Facts(name+" (terraform)", t, &r.findings)
	r.models.Deployed(name+" (bicep)", b, &r.findings)
	r.models.Deployed(name+" (terraform)", t, &r.findings)
	rules.Bicep(name, instances, &r.findings)
	rules.Terraform(name, result.Instances, &r.findings)
	for _, facts := range b {
		r.counts["facts"] += len(facts)
	}
	r.examples = append(r.examples, Example{Name: filepath.Base(name), Settings: settingsOf(b), Terraform: settingsOf(t), Counts: counts(result.Instances), Secrets: secretsOf(params)})
}

func secretsOf(params map[string]bicep.Value) map[string]string {
	out := map[string]string{}
	if o, ok := params["secrets"].(*bicep.Object); ok {
		for _, name := range o.Keys() {
			v, _ := o.Get(name)
			out[name], _ = v.(string)
		}
	}
	return out
}

func counts(instances []tf.Instance) map[string]int {
	out := map[string]int{}
	for _, i := range instances {
		out[i.Type]++
	}
	return out
}

func secretMap(secrets map[string]string) cty.Value {
	out := map[string]cty.Value{}
	for name, value := range secrets {
		out[name] = cty.StringVal(value)
	}
	if len(out) == 0 {
		return cty.MapValEmpty(cty.String)
	}
	return cty.MapVal(out)
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

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *run) figures() string {
	return fmt.Sprintf("%d examples; %d Bicep resources, %d Terraform resources, %d facts compared",
		len(r.examples), r.counts["bicep"], r.counts["terraform"], r.counts["facts"])
}
