package tf

import (
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

func (p *Program) instantiate(m *module, address string, given map[string]cty.Value) *run {
	r := &run{
		program: p, module: m, address: address, variables: map[string]cty.Value{}, locals: map[string]cty.Value{},
		resources: map[string]cty.Value{}, calls: map[string]cty.Value{}, visiting: map[string]bool{}, outputs: map[string]cty.Value{},
	}
	r.bind(given)
	for name := range m.locals {
		r.local(name, nil)
	}
	for _, b := range m.resources {
		r.resource(addressOf(b), nil)
	}
	for _, b := range m.calls {
		r.call(b.Labels[0], nil)
	}
	for _, b := range m.outputs {
		if a, ok := b.Body.Attributes["value"]; ok {
			r.outputs[b.Labels[0]] = r.eval(a.Expr, nil)
		}
	}
	return r
}

// bind gives every variable its value, converted to its type, and runs the validations.
func (r *run) bind(given map[string]cty.Value) {
	known := []string{}
	for _, b := range r.module.variables {
		name := b.Labels[0]
		known = append(known, name)
		v, ok := given[name]
		if a := b.Body.Attributes["default"]; !ok && a != nil {
			v, ok = r.eval(a.Expr, nil), true
		}
		if !ok {
			r.program.Findings.Add("tf-wiring", where(b.DefRange()), "%s: variable %s gets no value", r.place(), name)
			v = cty.DynamicVal
		}
		r.variables[name] = r.typed(b, v)
	}
	for name := range given {
		if !contains(known, name) {
			r.program.Findings.Add("tf-wiring", r.module.dir, "%s: there is no variable %s", r.place(), name)
		}
	}
	for _, b := range r.module.variables {
		r.validate(b)
	}
}

func (r *run) place() string {
	if r.address == "" {
		return "root"
	}
	return r.address
}

func (r *run) typed(b *hclsyntax.Block, v cty.Value) cty.Value {
	a := b.Body.Attributes["type"]
	if a == nil {
		return v
	}
	want, defaults, diags := typeexpr.TypeConstraintWithDefaults(a.Expr)
	r.program.report("tf-syntax", diags)
	if defaults != nil && !v.IsNull() {
		v = defaults.Apply(v)
	}
	out, err := convert.Convert(v, want)
	if err != nil {
		r.program.Findings.Add("tf-wiring", where(b.DefRange()), "%s: variable %s: %v", r.place(), b.Labels[0], err)
		return cty.DynamicVal
	}
	return out
}

func (r *run) validate(b *hclsyntax.Block) {
	for _, v := range b.Body.Blocks {
		condition := v.Body.Attributes["condition"]
		message := v.Body.Attributes["error_message"]
		if v.Type != "validation" || condition == nil || message == nil {
			continue
		}
		if ok := r.eval(condition.Expr, nil); ok.IsKnown() && ok.False() {
			text := r.eval(message.Expr, nil)
			r.program.Findings.Add("tf-wiring", where(v.DefRange()), "%s: variable %s: %s", r.place(), b.Labels[0], text.AsString())
		}
	}
}

// call works out a module call once for each turn and returns its outputs.
func (r *run) call(name string, t hcl.Traversal) cty.Value {
	if v, ok := r.calls[name]; ok {
		return v
	}
	b := find(r.module.calls, name)
	if b == nil {
		r.program.Findings.Add("tf-names", where(t.SourceRange()), "there is no module.%s", name)
		return cty.DynamicVal
	}
	if r.circle("module."+name, b.DefRange()) {
		return cty.DynamicVal
	}
	source := b.Body.Attributes["source"]
	if source == nil {
		r.program.Findings.Add("tf-wiring", where(b.DefRange()), "module %s has no source", name)
		return cty.DynamicVal
	}
	dir := path.Join(r.module.dir, r.eval(source.Expr, nil).AsString())
	m := r.program.module(dir)
	if m == nil {
		return cty.DynamicVal
	}
	turns := r.each(b)
	values := make([]cty.Value, len(turns))
	for i, turn := range turns {
		given := map[string]cty.Value{}
		for key, a := range b.Body.Attributes {
			if !contains([]string{"source", "version", "count", "for_each", "providers", "depends_on"}, key) {
				given[key] = r.eval(a.Expr, turn.bound)
			}
		}
		child := r.program.instantiate(m, r.join("module."+name, turn.key), given)
		r.instances = append(r.instances, child.instances...)
		values[i] = cty.ObjectVal(child.outputs)
	}
	r.calls[name] = gather(b, turns, values)
	return r.calls[name]
}

func find(blocks []*hclsyntax.Block, name string) *hclsyntax.Block {
	for _, b := range blocks {
		if b.Labels[len(b.Labels)-1] == name {
			return b
		}
	}
	return nil
}

func (r *run) join(name string, key cty.Value) string {
	if key != cty.NilVal {
		if key.Type() == cty.String {
			name += fmt.Sprintf("[%q]", key.AsString())
		} else {
			name += "[" + key.AsBigFloat().Text('f', 0) + "]"
		}
	}
	return strings.TrimPrefix(r.address+"."+name, ".")
}
