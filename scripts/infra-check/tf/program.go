package tf

import (
	"errors"
	"fmt"
	"path"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"spillway/scripts/infra-check/finding"
)

// Program is a configuration on disk, what it is checked against, and what has been found.
type Program struct {
	Dir      string
	Findings *finding.List

	modules   map[string]*module
	functions map[string]function.Function
}

// NewProgram is for the configuration in dir.
func NewProgram(dir string, findings *finding.List) *Program {
	return &Program{Dir: dir, Findings: findings, modules: map[string]*module{}}
}

// Instance is one resource of a worked-out configuration.
type Instance struct {
	Address string // module.stamp[""].azurerm_service_plan.this
	Type    string
	Name    string         // with the parents' names, as in the ARM id
	Values  map[string]any // arguments; blocks are lists of maps
	After   []string       // what depends_on names
	Where   string
}

// Result is a worked-out configuration.
type Result struct {
	Instances []Instance
	Outputs   map[string]any
	Variables map[string]any // with defaults
}

// Expand works the root module out.
func (p *Program) Expand(variables map[string]cty.Value) *Result {
	m := p.module(".")
	if m == nil {
		return nil
	}
	r := p.instantiate(m, "", variables)
	out := &Result{Outputs: map[string]any{}, Variables: map[string]any{}, Instances: r.instances}
	for name, v := range r.outputs {
		out.Outputs[name] = plain(v)
	}
	for name, v := range r.variables {
		out.Variables[name] = plain(v)
	}
	return out
}

func (p *Program) module(dir string) *module {
	if m, ok := p.modules[dir]; ok {
		return m
	}
	m, err := load(p.Dir, dir)
	if err != nil {
		check := "tf-wiring"
		if errors.Is(err, errSyntax) {
			check = "tf-syntax"
		}
		p.Findings.Add(check, dir, "%v", err)
	}
	p.modules[dir] = m
	return m
}

// Variables works out a .tfvars file.
func (p *Program) Variables(name string) map[string]cty.Value {
	body, err := parse(p.Dir, path.Join(p.Dir, name))
	if err != nil {
		p.Findings.Add("tf-syntax", name, "%v", err)
		return nil
	}
	out := map[string]cty.Value{}
	for key, a := range body.Attributes {
		v, diags := a.Expr.Value(nil)
		p.report("tf-syntax", diags)
		out[key] = v
	}
	return out
}

func (p *Program) report(check string, diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			place := ""
			if d.Subject != nil {
				place = where(*d.Subject)
			}
			p.Findings.Add(check, place, "%s", fmt.Sprintf("%s: %s", d.Summary, d.Detail))
		}
	}
}

// Defaults lists the variables of the root module; "(required)" stands for no default.
func (p *Program) Defaults() map[string]any {
	m := p.module(".")
	if m == nil {
		return nil
	}
	r := &run{program: p, module: m, variables: map[string]cty.Value{}}
	out := map[string]any{}
	for _, b := range m.variables {
		out[b.Labels[0]] = "(required)"
		if a := b.Body.Attributes["default"]; a != nil {
			out[b.Labels[0]] = plain(r.eval(a.Expr, nil))
		}
	}
	return out
}
