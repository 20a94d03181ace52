package bicep

import "slices"

// handle is a resource or module as a value: what stands before .properties or .outputs. Both are nil when it is not deployed.
type handle struct {
	name     string
	instance *Instance
	module   *Template
}

// collection is the handles of a loop.
type collection []handle

// eval works an expression out. What cannot be worked out is a finding and the value broken, which goes through everything silently.
func (t *Template) eval(e Expr, scope env) Value {
	switch e := e.(type) {
	case *Literal:
		return e.Value
	case *Text:
		return t.text(e, scope)
	case *Name:
		return t.name(e, scope)
	case *Array:
		out := make([]Value, 0, len(e.Items))
		for _, item := range e.Items {
			out = append(out, t.eval(item, scope))
		}
		return out
	case *ObjectExpr:
		return t.object(e, scope)
	case *For:
		return t.loop(e, scope)
	case *Ternary:
		taken := t.truth(e.Cond, scope)
		t.program.visit(e, taken)
		if taken {
			return t.eval(e.Then, scope)
		}
		if refuses(e.Else) {
			t.eval(e.Else, scope) // says why; the rest is worked out as if it did not
			return t.eval(e.Then, scope)
		}
		return t.eval(e.Else, scope)
	case *Call:
		return t.call(e, scope)
	case *Lambda:
		return closure{lambda: e, template: t, scope: scope}
	}
	return t.access(e, scope)
}

// access is the expressions that look into another.
func (t *Template) access(e Expr, scope env) Value {
	switch e := e.(type) {
	case *NonNull:
		return t.eval(e.Base, scope)
	case *Member:
		return t.member(e, t.eval(e.Base, scope))
	case *Index:
		return t.index(e, t.eval(e.Base, scope), t.eval(e.Index, scope))
	case *Nested:
		return t.nested(e, t.eval(e.Base, scope))
	case *Unary:
		return t.unary(e, t.eval(e.X, scope))
	case *Binary:
		return t.binary(e, scope)
	}
	t.program.say("bicep-syntax", e.Position(), "this expression cannot stand here")
	return broken{}
}

func (t *Template) text(e *Text, scope env) Value {
	out := ""
	for _, part := range e.Parts {
		if s, ok := part.(string); ok {
			out += s
			continue
		}
		x, _ := part.(Expr)
		v := t.eval(x, scope)
		if isBroken(v) {
			return v
		}
		out += asText(v)
	}
	return out
}

func (t *Template) object(e *ObjectExpr, scope env) Value {
	out := NewObject()
	for _, m := range e.Members {
		if m.Spread {
			if o, ok := t.eval(m.Value, scope).(*Object); ok {
				out = merge(false, out, o)
			}
			continue
		}
		key := ""
		switch k := m.Key.(type) {
		case *Name:
			key = k.Name
		case *Text:
			key = asText(t.eval(k, scope))
		}
		if slices.Contains(out.keys, key) {
			t.program.say("bicep-syntax", m.Pos, "property %s is given twice", key)
		}
		out.Set(key, t.eval(m.Value, scope))
		out.lines[key] = m.Pos
	}
	return out
}

func (t *Template) loop(e *For, scope env) Value {
	out := []Value{}
	for i, item := range t.items(e.Source, scope) {
		out = append(out, t.eval(e.Body, scope.with(e.Item, item).with(e.Index, int64(i))))
	}
	return out
}

// items is the array that a loop goes over.
func (t *Template) items(e Expr, scope env) []Value {
	v := t.eval(e, scope)
	items, ok := v.([]Value)
	if !ok && !isBroken(v) {
		t.program.say("bicep-body", e.Position(), "a loop needs an array, not %s", describe(v))
	}
	return items
}

func (t *Template) truth(e Expr, scope env) bool {
	v := t.eval(e, scope)
	b, ok := v.(bool)
	if !ok && !isBroken(v) {
		t.program.say("bicep-body", e.Position(), "a condition needs a boolean, not %s", describe(v))
	}
	return b
}

func (t *Template) name(e *Name, scope env) Value {
	if v, ok := scope[e.Name]; ok {
		return v
	}
	if v, ok := t.params[e.Name]; ok {
		return v
	}
	for _, v := range t.file.Vars {
		if v.Name == e.Name {
			return t.variable(v)
		}
	}
	for _, r := range t.file.Resources {
		if r.Name == e.Name {
			return t.resourceHandle(r)
		}
	}
	for _, m := range t.file.Modules {
		if m.Name == e.Name {
			return t.moduleHandle(m)
		}
	}
	return broken{} // lint has said that it is not declared
}

func (t *Template) resourceHandle(r *Resource) Value {
	instances := t.expand(r)
	if _, loops := r.Value.(*For); loops {
		out := make(collection, len(instances))
		for i, instance := range instances {
			out[i] = handle{name: r.Name, instance: instance}
		}
		return out
	}
	if len(instances) != 1 {
		return handle{name: r.Name}
	}
	return handle{name: r.Name, instance: instances[0]}
}

func (t *Template) moduleHandle(m *Module) Value {
	called := t.callModule(m)
	if _, loops := m.Value.(*For); loops {
		out := make(collection, len(called))
		for i, c := range called {
			out[i] = handle{name: m.Name, module: c}
		}
		return out
	}
	if len(called) != 1 {
		return handle{name: m.Name}
	}
	return handle{name: m.Name, module: called[0]}
}
