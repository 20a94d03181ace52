package tf

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"spillway/scripts/infra-check/plan"
)

// metaArguments belong to Terraform, not to the resource.
func metaArguments() []string {
	return []string{"count", "for_each", "depends_on", "provider", "lifecycle", "timeouts", "dynamic"}
}

func addressOf(b *hclsyntax.Block) string {
	address := strings.Join(b.Labels, ".")
	if b.Type == "data" {
		return "data." + address
	}
	return address
}

// resource works out all instances of a resource or data block and returns what references to it see.
func (r *run) resource(address string, t hcl.Traversal) cty.Value {
	if v, ok := r.resources[address]; ok {
		return v
	}
	i := slices.IndexFunc(r.module.resources, func(b *hclsyntax.Block) bool { return addressOf(b) == address })
	if i < 0 {
		r.program.Findings.Add("tf-names", where(t.SourceRange()), "there is no %s", address)
		return cty.DynamicVal
	}
	b := r.module.resources[i]
	if r.circle(address, b.DefRange()) {
		return cty.DynamicVal
	}
	turns := r.each(b)
	values := make([]cty.Value, len(turns))
	for i, turn := range turns {
		values[i] = r.instance(b, turn)
	}
	r.resources[address] = gather(b, turns, values)
	return r.resources[address]
}

// instance works out the arguments, checks them, and adds what the provider computes.
func (r *run) instance(b *hclsyntax.Block, t turn) cty.Value {
	kind := b.Labels[0]
	arguments := r.body(b.Body, t.bound)
	i := Instance{Type: kind, Address: r.join(addressOf(b), t.key), Where: where(b.DefRange()), After: after(b)}
	for key, v := range arguments {
		if i.Values == nil {
			i.Values = map[string]any{}
		}
		i.Values[key] = plain(v)
	}
	i.Name = nameOf(kind, i.Values)
	if b.Type == "resource" {
		r.instances = append(r.instances, i)
	}
	out := maps.Clone(arguments)
	for name, v := range computed(i) {
		if _, given := out[name]; !given {
			out[name] = v
		}
	}
	return cty.ObjectVal(out)
}

// body works out arguments and blocks; a block becomes a list of objects under its name.
func (r *run) body(b *hclsyntax.Body, bound bindings) map[string]cty.Value {
	out := map[string]cty.Value{}
	for name, a := range b.Attributes {
		if !contains(metaArguments(), name) {
			out[name] = r.eval(a.Expr, bound)
		}
	}
	blocks := map[string][]cty.Value{}
	for _, inner := range b.Blocks {
		switch {
		case inner.Type == "dynamic":
			name := inner.Labels[0]
			blocks[name] = append(blocks[name], r.dynamic(inner, bound)...)
		case !contains(metaArguments(), inner.Type):
			blocks[inner.Type] = append(blocks[inner.Type], cty.ObjectVal(r.body(inner.Body, bound)))
		}
	}
	for name, list := range blocks {
		out[name] = cty.TupleVal(list)
	}
	return out
}

// dynamic repeats a block for each element.
func (r *run) dynamic(b *hclsyntax.Block, bound bindings) []cty.Value {
	source := b.Body.Attributes["for_each"]
	content := blockOf(b.Body.Blocks, "content")
	if source == nil || content == nil {
		r.program.Findings.Add("tf-syntax", where(b.DefRange()), "dynamic %q needs for_each and content", b.Labels[0])
		return nil
	}
	v := r.eval(source.Expr, bound)
	if !v.IsKnown() || v.IsNull() || !v.CanIterateElements() {
		r.program.Findings.Add("tf-body", where(source.SrcRange), "for_each of a dynamic block needs a collection that is known")
		return nil
	}
	var out []cty.Value
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		inner := maps.Clone(bound)
		if inner == nil {
			inner = bindings{}
		}
		inner[b.Labels[0]] = cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})
		out = append(out, cty.ObjectVal(r.body(content.Body, inner)))
	}
	return out
}

func blockOf(blocks hclsyntax.Blocks, kind string) *hclsyntax.Block {
	for _, b := range blocks {
		if b.Type == kind {
			return b
		}
	}
	return nil
}

// after lists what depends_on names.
func after(b *hclsyntax.Block) []string {
	a, ok := b.Body.Attributes["depends_on"]
	if !ok {
		return nil
	}
	var out []string
	for _, t := range a.Expr.Variables() {
		out = append(out, t.RootName()+"."+attribute(t, 1))
	}
	return out
}

// computed is what references to an instance see besides its arguments.
func computed(i Instance) map[string]cty.Value {
	out := map[string]cty.Value{"id": cty.StringVal(reference(i.Type, i.Name, "id"))}
	for name := range plan.Kinds()[i.Type].Results {
		out[name] = cty.StringVal(reference(i.Type, i.Name, name))
		if name == "name_servers" {
			out[name] = cty.DynamicVal // a list
		}
	}
	return out
}
