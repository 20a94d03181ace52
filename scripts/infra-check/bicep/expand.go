package bicep

import "strings"

// expand gives the instances of a resource: one, one for each turn of a loop, or none. The bodies are worked out later,
// because a body may refer to any other resource.
func (t *Template) expand(r *Resource) []*Instance {
	if done, ok := t.expanded[r]; ok {
		return done
	}
	t.expanded[r] = nil // a resource that needs itself finds nothing
	var out []*Instance
	t.turns(r.Value, func(e env, body Expr, i int, on bool) {
		object, ok := body.(*ObjectExpr)
		switch {
		case !ok:
		case on:
			out = append(out, t.instance(r, object, e, i))
		default:
			t.nameAnyway(r, object, e)
			out = append(out, nil)
		}
	})
	t.expanded[r] = out
	return out
}

// turns calls do for each turn of a loop, or once with i = -1; on tells whether the condition holds.
func (t *Template) turns(e Expr, do func(e env, body Expr, i int, on bool)) {
	switch e := e.(type) {
	case *If:
		on := t.truth(e.Cond, nil)
		t.program.visit(e, on)
		do(nil, e.Body, -1, on)
	case *For:
		for i, item := range t.items(e.Source, nil) {
			scope := env(nil).with(e.Item, item).with(e.Index, int64(i))
			on := true
			if e.Cond != nil {
				on = t.truth(e.Cond, scope)
				t.program.visit(e, on)
			}
			do(scope, e.Body, i, on)
		}
	default:
		do(nil, e, -1, true)
	}
}

func (t *Template) instance(r *Resource, object *ObjectExpr, e env, i int) *Instance {
	full, version := t.fullType(r)
	out := &Instance{
		Decl: r, Type: full, Version: version, Group: t.group, Existing: r.Existing,
		Address: t.Address + "/" + r.Name, template: t, env: e, object: object,
	}
	if i >= 0 {
		out.Address = indexed(out.Address, i)
	}
	if name := member(object, "name"); name != nil {
		out.Name = asText(t.eval(name, e))
	}
	if parent := t.parentOf(out); parent != nil {
		out.Name = parent.Name + "/" + out.Name
	}
	return out
}

// parentOf is the resource around it, or the one it names as its parent.
func (t *Template) parentOf(i *Instance) *Instance {
	if i.Decl.Parent != nil {
		around := t.expand(i.Decl.Parent)
		if len(around) == 1 && around[0] != nil {
			return around[0]
		}
		return nil
	}
	expr := member(i.object, "parent")
	if expr == nil {
		return nil
	}
	h, ok := t.eval(expr, i.env).(handle)
	if !ok || h.instance == nil {
		t.program.say("bicep-wiring", i.Decl.Pos, "the parent of %s is not a resource of this deployment", i.Decl.Name)
		return nil
	}
	return h.instance
}

// fullType joins the type of a nested resource to its parent's.
func (t *Template) fullType(r *Resource) (full, version string) {
	name, version, _ := strings.Cut(r.Type, "@")
	if r.Parent == nil {
		return name, version
	}
	parent, parentVersion := t.fullType(r.Parent)
	if version == "" {
		version = parentVersion
	}
	return parent + "/" + name, version
}

// member is the expression of a property of a body.
func member(o *ObjectExpr, name string) Expr {
	for _, m := range o.Members {
		if key, ok := m.Key.(*Name); ok && key.Name == name {
			return m.Value
		}
	}
	return nil
}

// callModule works out the file that a module names, once for each turn.
func (t *Template) callModule(m *Module) []*Template {
	if done, ok := t.modules[m.Name]; ok {
		return done
	}
	t.modules[m.Name] = nil
	f := t.program.file(beside(t.file.Path, m.Path))
	if f == nil {
		return nil
	}
	var out []*Template
	t.turns(m.Value, func(e env, body Expr, i int, on bool) {
		object, ok := body.(*ObjectExpr)
		if !on || !ok {
			out = append(out, nil)
			return
		}
		address := t.Address + "/" + m.Name
		if i >= 0 {
			address = indexed(address, i)
		}
		given := map[string]Value{}
		if params := member(object, "params"); params != nil {
			o, _ := t.eval(params, e).(*Object)
			for _, k := range o.Keys() {
				given[k] = o.values[k]
			}
		}
		child := t.program.instantiate(f, address, t.scopeOf(object, e), given)
		t.instances = append(t.instances, child.instances...)
		out = append(out, child)
	})
	t.modules[m.Name] = out
	return out
}

// scopeOf is the resource group that a module deploys to.
func (t *Template) scopeOf(object *ObjectExpr, e env) string {
	expr := member(object, "scope")
	if expr == nil {
		return t.group
	}
	switch v := t.eval(expr, e).(type) {
	case handle:
		if v.instance != nil {
			return v.instance.Name
		}
	case *Object:
		return asText(v.values["name"])
	}
	t.program.say("bicep-wiring", object.Pos, "the scope is not a resource group")
	return ""
}

// nameAnyway: the service looks at the name of a resource even when its condition does not hold, and refuses an empty one.
func (t *Template) nameAnyway(r *Resource, object *ObjectExpr, e env) {
	name := member(object, "name")
	if name == nil || r.Parent != nil {
		return
	}
	if v := t.eval(name, e); v == "" {
		t.program.say("bicep-body", name.Position(), "the name of %s is empty when it is not deployed, which the service refuses too", r.Name)
	}
}
