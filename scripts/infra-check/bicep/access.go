package bicep

import (
	"maps"
	"slices"
	"strings"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/finding"
)

func (t *Template) member(e *Member, base Value) Value {
	switch base := base.(type) {
	case *Object:
		return t.objectMember(base, e.Name, e.Safe, e.Pos)
	case Ref:
		return t.refMember(base, e.Name, e.Pos)
	case handle:
		return t.handleMember(base, e)
	case broken:
		return base
	case nil:
		if e.Safe {
			return nil
		}
	}
	t.program.say("bicep-names", e.Pos, "%s has no member %s", describe(base), e.Name)
	return broken{}
}

func (t *Template) objectMember(o *Object, name string, safe bool, pos Pos) Value {
	v, ok := o.Get(name)
	if !ok && !safe {
		t.program.say("bicep-names", pos, "there is no property %s here%s", name, near(name, o.keys))
		return broken{}
	}
	return v
}

func near(name string, candidates []string) string {
	if n := finding.Nearest(name, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// refMember looks into something only Azure knows: the value is unknown, its type is not.
func (t *Template) refMember(r Ref, name string, pos Pos) Value {
	member, ok := t.program.Types.Member(r.Type, name)
	if !ok {
		t.program.say("bicep-names", pos, "%s has no property %s%s", r.Text, name, near(name, t.program.Types.Names(r.Type)))
		return broken{}
	}
	return Ref{Text: r.Text + "." + name, Type: member}
}

func (t *Template) handleMember(h handle, e *Member) Value {
	if h.instance == nil && h.module == nil {
		t.program.say("bicep-wiring", e.Pos, "%s is not part of this deployment but is referred to", h.name)
		return broken{}
	}
	if h.module != nil {
		return t.moduleMember(h, e)
	}
	i := h.instance
	switch e.Name {
	case "name":
		return i.Name[strings.LastIndex(i.Name, "/")+1:]
	case "type":
		return i.Type
	case "apiVersion":
		return i.Version
	}
	return t.refMember(Ref{Text: i.Type + "/" + i.Name, Type: withOwn(i.typeOf())}, e.Name, e.Pos)
}

// withOwn adds the members that every resource has.
func withOwn(t *arm.Type) *arm.Type {
	if t == nil {
		return nil
	}
	own := *t
	own.Properties = map[string]arm.Property{"id": {}}
	maps.Copy(own.Properties, t.Properties)
	return &own
}

func (t *Template) moduleMember(h handle, e *Member) Value {
	if e.Name != "outputs" {
		t.program.say("bicep-names", e.Pos, "module %s has no member %s", h.name, e.Name)
		return broken{}
	}
	out := NewObject()
	for _, k := range slices.Sorted(maps.Keys(h.module.Outputs)) {
		out.Set(k, h.module.Outputs[k])
	}
	return out
}

func (t *Template) index(e *Index, base, i Value) Value {
	switch base := base.(type) {
	case collection:
		if n, ok := i.(int64); ok && int(n) < len(base) {
			return base[n]
		}
	case []Value:
		if n, ok := i.(int64); ok && int(n) < len(base) {
			return base[n]
		}
		if e.Safe {
			return nil
		}
	case *Object:
		return t.objectMember(base, asText(i), e.Safe, e.Pos)
	case Ref:
		return Ref{Text: base.Text + "[" + asText(i) + "]", Type: t.program.Types.Item(base.Type)}
	case broken:
		return base
	}
	t.program.say("bicep-names", e.Pos, "there is no element %s in %s", asText(i), describe(base))
	return broken{}
}

// nested is storage::blob.
func (t *Template) nested(e *Nested, base Value) Value {
	h, ok := base.(handle)
	if !ok || h.instance == nil {
		return broken{}
	}
	for _, c := range h.instance.Decl.Children {
		if c.Name == e.Name {
			return h.instance.template.resourceHandle(c)
		}
	}
	t.program.say("bicep-names", e.Pos, "%s has no resource %s inside", h.name, e.Name)
	return broken{}
}

// describe names a value in a finding.
func describe(v Value) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64:
		return "a number"
	case string:
		return "a string"
	case []Value:
		return "an array"
	case *Object:
		return "an object"
	case Ref:
		return v.Text
	case handle:
		return v.name
	case collection:
		return "a loop's resources"
	}
	return "this value"
}
