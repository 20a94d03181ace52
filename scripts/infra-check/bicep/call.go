package bicep

// closure is a lambda with the names around it.
type closure struct {
	lambda   *Lambda
	template *Template
	scope    env
}

func (c closure) call(args ...Value) Value {
	scope := c.scope
	for i, name := range c.lambda.Params {
		if i < len(args) {
			scope = scope.with(name, args[i])
		}
	}
	return c.template.eval(c.lambda.Body, scope)
}

// call applies a function. Wrong names and counts are lint's findings; wrong arguments are found here.
func (t *Template) call(e *Call, scope env) Value {
	if e.Base != nil {
		return t.method(e, t.eval(e.Base, scope))
	}
	f, ok := t.program.functions[e.Name]
	if !ok || len(e.Args) < f.min || f.max >= 0 && len(e.Args) > f.max {
		return broken{}
	}
	args := make([]Value, len(e.Args))
	for i, a := range e.Args {
		args[i] = t.eval(a, scope)
		if isBroken(args[i]) {
			return broken{}
		}
	}
	v, fault := f.apply(call{template: t, args: args})
	if fault != "" {
		t.program.say("bicep-body", e.Pos, "%s: %s", e.Name, fault)
		return broken{}
	}
	return v
}

// method is account.listKeys(): a call on a resource.
func (t *Template) method(e *Call, base Value) Value {
	h, ok := base.(handle)
	if !ok || h.instance == nil {
		t.program.say("bicep-names", e.Pos, "%s() needs a resource before it", e.Name)
		return broken{}
	}
	if e.Name != "listKeys" {
		t.program.say("bicep-names", e.Pos, "there is no function %s of a resource", e.Name)
		return broken{}
	}
	return Ref{Text: h.instance.Type + "/" + h.instance.Name + ".listKeys()"}
}

// call is what a function is given.
type call struct {
	template *Template
	args     []Value
}

func (c call) text(i int) string { return asText(c.args[i]) }

func (c call) texts() []string {
	var out []string
	for i := range c.args {
		out = append(out, c.text(i))
	}
	return out
}

func (c call) list(i int) ([]Value, bool) {
	v, ok := c.args[i].([]Value)
	return v, ok
}

func (c call) object(i int) (*Object, bool) {
	v, ok := c.args[i].(*Object)
	return v, ok
}

func (c call) lambda(i int) (closure, bool) {
	v, ok := c.args[i].(closure)
	return v, ok
}

// function is one of Bicep's own; max is -1 when there is no limit. apply returns a fault as text.
type function struct {
	min, max int
	apply    func(c call) (v Value, fault string)
}
