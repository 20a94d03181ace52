package tf

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// lint looks at a module without working it out: names of variables, and arguments of resources.
func (p *Program) lint(m *module) {
	used := map[string]bool{}
	note := func(body *hclsyntax.Body) {
		_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
			if e, ok := n.(*hclsyntax.ScopeTraversalExpr); ok {
				used[e.Traversal.RootName()+"."+attribute(e.Traversal, 1)] = true
			}
			return nil
		})
	}
	for _, blocks := range [][]*hclsyntax.Block{m.variables, m.outputs, m.resources, m.calls} {
		for _, b := range blocks {
			note(b.Body)
		}
	}
	for _, a := range m.locals {
		note(&hclsyntax.Body{Attributes: hclsyntax.Attributes{"value": a}})
	}
	for _, b := range m.variables {
		// Two variables configure the providers alone.
		if name := b.Labels[0]; !used["var."+name] && !contains(providerVariables(), name) {
			p.Findings.Add("tf-names", where(b.DefRange()), "variable %s is never used", name)
		}
	}
	for name, a := range m.locals {
		if !used["local."+name] {
			p.Findings.Add("tf-names", where(a.SrcRange), "local.%s is never used", name)
		}
	}
	for _, b := range m.resources {
		p.lintResource(b)
	}
}

func providerVariables() []string { return []string{"subscription_id", "purge_accounts_on_destroy"} }

// lintResource finds unknown arguments in every resource, also in those that no example makes.
func (p *Program) lintResource(b *hclsyntax.Block) {
	schema, ok := p.Schema.Resources[b.Labels[0]]
	if !ok {
		p.Findings.Add("tf-types", where(b.DefRange()), "there is no %s in the schema", b.Labels[0])
		return
	}
	if b.Type == "data" {
		return // the snapshot has no data sources; Terraform itself checks their two arguments
	}
	p.lintBody(b.Body, schema, b.Labels[0])
}

func (p *Program) lintBody(b *hclsyntax.Body, schema Block, path string) {
	for name, a := range b.Attributes {
		if contains(metaArguments(), name) {
			continue
		}
		attr, ok := schema.Attributes[name]
		switch {
		case !ok:
			p.Findings.Add("tf-body", where(a.SrcRange), "%s has no argument %s", path, name)
		case !attr.Optional && !attr.Required:
			p.Findings.Add("tf-body", where(a.SrcRange), "%s: %s is a result, not an argument", path, name)
		}
	}
	for name, attr := range schema.Attributes {
		if attr.Required && b.Attributes[name] == nil {
			p.Findings.Add("tf-body", where(b.SrcRange), "%s needs the argument %s", path, name)
		}
	}
	for _, inner := range b.Blocks {
		name, body := inner.Type, inner.Body
		if contains(metaArguments(), name) && name != "dynamic" {
			continue
		}
		if name == "dynamic" {
			name = inner.Labels[0]
			if content := blockOf(inner.Body.Blocks, "content"); content != nil {
				body = content.Body
			}
		}
		nested, ok := schema.Blocks[name]
		if !ok {
			p.Findings.Add("tf-body", where(inner.DefRange()), "%s has no block %s", path, name)
			continue
		}
		p.lintBody(body, nested.Block, path+"."+name)
	}
}

// checkInstance checks how often blocks come, and the bodies of azapi resources against the ARM types.
func (r *run) checkInstance(i Instance) {
	for name, nested := range r.program.Schema.Resources[i.Type].Blocks {
		list, _ := i.Values[name].([]any)
		if len(list) < nested.Min || nested.Max > 0 && len(list) > nested.Max {
			r.program.Findings.Add("tf-body", i.Where, "%s: block %s comes %d times", i.Type, name, len(list))
		}
	}
	for name, attr := range r.program.Schema.Resources[i.Type].Attributes {
		if fault := kindFault(attr.Type, i.Values[name]); fault != "" {
			r.program.Findings.Add("tf-body", i.Where, "%s: %s: %s", i.Type, name, fault)
		}
	}
}

// kindFault compares a value with a simple type of the schema. Terraform itself converts numbers and booleans to text.
func kindFault(want json.RawMessage, v any) string {
	if v == nil || v == Unknown {
		return ""
	}
	_, isList := v.([]any)
	_, isMap := v.(map[string]any)
	switch text := string(want); {
	case strings.HasPrefix(text, `["list"`) || strings.HasPrefix(text, `["set"`):
		if !isList {
			return fmt.Sprintf("a list is needed, not %v", v)
		}
	case strings.HasPrefix(text, `["map"`) || strings.HasPrefix(text, `["object"`):
		if !isMap {
			return fmt.Sprintf("a map is needed, not %v", v)
		}
	case text == `"bool"`:
		if _, ok := v.(bool); !ok {
			return fmt.Sprintf("a boolean is needed, not %v", v)
		}
	case text == `"number"`:
		if _, ok := v.(string); ok || isList || isMap {
			return fmt.Sprintf("a number is needed, not %v", v)
		}
	case text == `"string"`:
		if isList || isMap {
			return "a text is needed"
		}
	}
	return ""
}
