package tf

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// run is one module with its variables given.
type run struct {
	program   *Program
	module    *module
	address   string
	variables map[string]cty.Value
	locals    map[string]cty.Value
	resources map[string]cty.Value // "azurerm_x.name" and "data.azurerm_x.name"
	calls     map[string]cty.Value
	visiting  map[string]bool
	outputs   map[string]cty.Value
	instances []Instance
}

// bindings are the names that count, for_each and dynamic blocks give: each, count, ip_restriction.
type bindings map[string]cty.Value

// eval works an expression out; a fault is a finding and the value is unknown.
func (r *run) eval(e hcl.Expression, bound bindings) cty.Value {
	context := &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: r.program.functionTable()}
	trees := map[string]map[string]cty.Value{}
	for _, t := range e.Variables() {
		r.resolve(t, bound, context.Variables, trees)
	}
	for root, members := range trees {
		context.Variables[root] = nest(members)
	}
	v, diags := e.Value(context)
	r.program.report("tf-names", diags)
	if diags.HasErrors() {
		return cty.DynamicVal
	}
	return v
}

// nest turns {"a": v, "azurerm_x.y": w} into objects of objects.
func nest(members map[string]cty.Value) cty.Value {
	out := map[string]cty.Value{}
	inner := map[string]map[string]cty.Value{}
	for name, v := range members {
		head, rest, deeper := cutDot(name)
		if !deeper {
			out[name] = v
			continue
		}
		if inner[head] == nil {
			inner[head] = map[string]cty.Value{}
		}
		inner[head][rest] = v
	}
	for head, m := range inner {
		out[head] = cty.ObjectVal(m)
	}
	return cty.ObjectVal(out)
}

// resolve puts what one reference needs into trees: the root name's members.
func (r *run) resolve(t hcl.Traversal, bound bindings, direct map[string]cty.Value, trees map[string]map[string]cty.Value) {
	root := t.RootName()
	if v, ok := bound[root]; ok {
		direct[root] = v
		return
	}
	add := func(name string, v cty.Value) {
		if trees[root] == nil {
			trees[root] = map[string]cty.Value{}
		}
		trees[root][name] = v
	}
	first := attribute(t, 1)
	switch root {
	case "path":
		add("module", cty.StringVal(r.module.dir))
	case "var":
		if v, ok := r.variables[first]; ok {
			add(first, v)
		}
	case "local":
		add(first, r.local(first, t))
	case "module":
		add(first, r.call(first, t))
	case "data":
		second := attribute(t, 2)
		add(first+"."+second, r.resource("data."+first+"."+second, t))
	default:
		add(first, r.resource(root+"."+first, t))
	}
	if trees[root] == nil {
		trees[root] = map[string]cty.Value{}
	}
}

func attribute(t hcl.Traversal, i int) string {
	if i < len(t) {
		if a, ok := t[i].(hcl.TraverseAttr); ok {
			return a.Name
		}
	}
	return ""
}

func (r *run) local(name string, t hcl.Traversal) cty.Value {
	if v, ok := r.locals[name]; ok {
		return v
	}
	a, ok := r.module.locals[name]
	if !ok {
		r.program.Findings.Add("tf-names", where(t.SourceRange()), "there is no local.%s", name)
		return cty.DynamicVal
	}
	if r.circle("local."+name, a.SrcRange) {
		return cty.DynamicVal
	}
	r.locals[name] = r.eval(a.Expr, nil)
	return r.locals[name]
}

// circle tells whether name is being worked out already, and remembers that it is.
func (r *run) circle(name string, at hcl.Range) bool {
	if r.visiting[name] {
		r.program.Findings.Add("tf-names", where(at), "%s refers to itself", name)
		return true
	}
	r.visiting[name] = true
	return false
}

// each gives the instances of a block: one with key cty.NilVal, or those of count or for_each.
func (r *run) each(b *hclsyntax.Block) []turn {
	if a, ok := b.Body.Attributes["count"]; ok {
		return r.countTurns(a)
	}
	a, ok := b.Body.Attributes["for_each"]
	if !ok {
		return []turn{{}}
	}
	v := r.eval(a.Expr, nil)
	if !v.IsKnown() || v.IsNull() || !v.CanIterateElements() {
		r.program.Findings.Add("tf-body", where(a.SrcRange), "for_each needs a map or set that is known")
		return nil
	}
	out := []turn{}
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		if v.Type().IsSetType() {
			key = value
		}
		each := cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})
		out = append(out, turn{key: key, bound: bindings{"each": each}})
	}
	return out
}

// turn is one instance of a block.
type turn struct {
	key   cty.Value
	bound bindings
}

func (r *run) countTurns(a *hclsyntax.Attribute) []turn {
	v := r.eval(a.Expr, nil)
	if !v.IsKnown() || v.IsNull() || v.Type() != cty.Number {
		r.program.Findings.Add("tf-body", where(a.SrcRange), "count needs a number that is known")
		return nil
	}
	n, _ := v.AsBigFloat().Int64()
	out := []turn{}
	for i := range n {
		index := cty.NumberIntVal(i)
		out = append(out, turn{key: index, bound: bindings{"count": cty.ObjectVal(map[string]cty.Value{"index": index})}})
	}
	return out
}

// gather makes one value of the values of all turns, as references see it.
func gather(b *hclsyntax.Block, turns []turn, values []cty.Value) cty.Value {
	switch {
	case b.Body.Attributes["count"] != nil:
		return cty.TupleVal(values)
	case b.Body.Attributes["for_each"] != nil:
		out := map[string]cty.Value{}
		for i, t := range turns {
			out[t.key.AsString()] = values[i]
		}
		return cty.ObjectVal(out)
	case len(values) == 1:
		return values[0]
	}
	return cty.DynamicVal
}
