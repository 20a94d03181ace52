package bicep

import (
	"fmt"
	"slices"
)

// checkType compares a value with the type of the parameter or output it is for.
func (t *Template) checkType(v Value, want TypeExpr, pos Pos, what string) {
	if isBroken(v) {
		return
	}
	if fault := t.program.mismatch(t.file, v, want); fault != "" {
		t.program.say("bicep-wiring", pos, "%s: %s: %s", t.Address, what, fault)
	}
}

// mismatch says how a value differs from a type declared in f, "" when it does not.
func (p *Program) mismatch(f *File, v Value, want TypeExpr) string {
	switch want := want.(type) {
	case TypeNullable:
		if v == nil {
			return ""
		}
		return p.mismatch(f, v, want.Base)
	case TypeUnion:
		if slices.ContainsFunc(want.Members, func(m TypeExpr) bool { return p.mismatch(f, v, m) == "" }) {
			return ""
		}
		return fmt.Sprintf("%s is not among the values allowed", asText(v))
	case TypeLiteral:
		if _, ok := v.(Ref); ok || equal(v, want.Value) {
			return ""
		}
		return fmt.Sprintf("%s is not %v", asText(v), want.Value)
	case TypeArray:
		return p.arrayMismatch(f, v, want)
	case TypeObject:
		return p.objectMismatch(f, v, want)
	case TypeRef:
		return p.refMismatch(f, v, want)
	}
	return ""
}

func (p *Program) arrayMismatch(f *File, v Value, want TypeArray) string {
	list, ok := v.([]Value)
	if !ok {
		return "an array is needed, not " + describe(v)
	}
	for i, item := range list {
		if fault := p.mismatch(f, item, want.Item); fault != "" {
			return fmt.Sprintf("[%d]: %s", i, fault)
		}
	}
	return ""
}

func (p *Program) objectMismatch(f *File, v Value, want TypeObject) string {
	o, ok := v.(*Object)
	if !ok {
		return "an object is needed, not " + describe(v)
	}
	var names []string
	for _, m := range want.Members {
		names = append(names, m.Name)
		value, there := o.Get(m.Name)
		if _, optional := m.Type.(TypeNullable); !there && !optional {
			return m.Name + " is missing"
		}
		if fault := p.mismatch(f, value, m.Type); there && fault != "" {
			return m.Name + ": " + fault
		}
	}
	for _, k := range o.keys {
		switch {
		case slices.Contains(names, k):
		case want.Rest == nil:
			return "there is no " + k + near(k, names)
		default:
			if fault := p.mismatch(f, o.values[k], want.Rest); fault != "" {
				return k + ": " + fault
			}
		}
	}
	return ""
}

func (p *Program) refMismatch(f *File, v Value, want TypeRef) string {
	fits := map[string]func() bool{
		"any":    func() bool { return true },
		"string": func() bool { return kindIs[string](v) },
		"int":    func() bool { return kindIs[int64](v) },
		"bool":   func() bool { return kindIs[bool](v) },
		"array":  func() bool { return kindIs[[]Value](v) },
		"object": func() bool { return kindIs[*Object](v) },
	}
	if fit, builtIn := fits[want.Name]; builtIn {
		if fit() {
			return ""
		}
		return want.Name + " is needed, not " + describe(v)
	}
	home, declared := p.declaredType(f, want.Name)
	if declared == nil {
		return "" // lint has said that there is no such type
	}
	return p.mismatch(home, v, declared)
}

// kindIs also lets pass what only Azure knows.
func kindIs[T any](v Value) bool {
	if r, ok := v.(Ref); ok {
		var zero T
		if _, text := any(zero).(string); text || r.Type == nil {
			return r.Type == nil || r.Type.Kind != "IntegerType" && r.Type.Kind != "BooleanType" && r.Type.Kind != "ArrayType"
		}
		return true
	}
	_, ok := v.(T)
	return ok
}

// declaredType finds a type of a file or of a file it imports from, with the file it stands in.
func (p *Program) declaredType(f *File, name string) (*File, TypeExpr) {
	if t, ok := f.Types[name]; ok {
		return f, t
	}
	for _, imp := range f.Imports {
		if !slices.Contains(imp.Names, name) {
			continue
		}
		if other := p.file(beside(f.Path, imp.Path)); other != nil {
			return p.declaredType(other, name)
		}
	}
	return nil, nil
}

// checkBounds holds a value against @allowed, @minValue, @maxValue, @minLength and @maxLength.
func (t *Template) checkBounds(v Value, d *Param) {
	n, isNumber := v.(int64)
	s, isText := v.(string)
	for _, dec := range d.Decorators {
		if len(dec.Args) != 1 {
			continue
		}
		limit := t.eval(dec.Args[0], nil)
		bound, _ := limit.(int64)
		bad := false
		switch dec.Name {
		case "allowed":
			list, _ := limit.([]Value)
			bad = !slices.ContainsFunc(list, func(x Value) bool { return equal(x, v) })
		case "minValue":
			bad = isNumber && n < bound
		case "maxValue":
			bad = isNumber && n > bound
		case "minLength":
			bad = isText && len(s) < int(bound)
		case "maxLength":
			bad = isText && len(s) > int(bound)
		}
		if bad {
			t.program.say("bicep-wiring", d.Pos, "%s: parameter %s: %s breaks @%s(%s)", t.Address, d.Name, asText(v), dec.Name, asText(limit))
		}
	}
}
