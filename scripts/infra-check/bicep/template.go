package bicep

import (
	"maps"
	"slices"
	"strconv"

	"spillway/scripts/infra-check/arm"
)

// Instance is one resource of a worked-out template.
type Instance struct {
	Decl     *Resource
	Address  string // main/stamps[0]/flexApp/site
	Type     string // Microsoft.Web/sites
	Version  string
	Name     string // with the parents' names: vault/secret
	Group    string // resource group, "" at the subscription
	Body     *Object
	Scope    string   // id of the resource it is on: of a role assignment or diagnostic setting
	After    []string // symbols that dependsOn names
	Existing bool

	template *Template
	env      env
	object   *ObjectExpr
}

// Template is one file with its parameters given.
type Template struct {
	Address string
	Outputs map[string]Value

	program   *Program
	file      *File
	group     string
	params    map[string]Value
	vars      map[string]Value
	visiting  map[string]bool
	expanded  map[*Resource][]*Instance // nil instances: the condition does not hold
	modules   map[string][]*Template
	instances []*Instance
}

// env is the names that loops and lambdas have bound.
type env map[string]Value

func (e env) with(name string, v Value) env {
	if name == "" {
		return e
	}
	out := maps.Clone(e)
	if out == nil {
		out = env{}
	}
	out[name] = v
	return out
}

// Expand works a template out for the given parameters and returns it with all resources of all its modules.
func (p *Program) Expand(file string, params map[string]Value) (*Template, []*Instance) {
	f := p.file(file)
	if f == nil {
		return nil, nil
	}
	t := p.instantiate(f, "main", "", params)
	return t, t.instances
}

func (p *Program) instantiate(f *File, address, group string, params map[string]Value) *Template {
	t := &Template{
		Address: address, Outputs: map[string]Value{}, program: p, file: f, group: group,
		params: map[string]Value{}, vars: map[string]Value{}, visiting: map[string]bool{},
		expanded: map[*Resource][]*Instance{}, modules: map[string][]*Template{},
	}
	t.bind(params)
	for _, v := range f.Vars {
		t.variable(v)
	}
	for _, r := range f.Resources {
		t.work(r)
	}
	for _, m := range f.Modules {
		t.callModule(m)
	}
	for _, o := range f.Outputs {
		v := t.eval(o.Value, nil)
		t.checkType(v, o.Type, o.Pos, "output "+o.Name)
		t.Outputs[o.Name] = v
	}
	return t
}

// bind gives every parameter its value: the caller's, or the default.
func (t *Template) bind(params map[string]Value) {
	for _, d := range t.file.Params {
		v, given := params[d.Name]
		switch {
		case given:
		case d.Default != nil:
			v = t.eval(d.Default, nil)
		default:
			if _, optional := d.Type.(TypeNullable); !optional {
				t.program.say("bicep-wiring", d.Pos, "%s: parameter %s gets no value", t.Address, d.Name)
			}
		}
		t.checkType(v, d.Type, d.Pos, "parameter "+d.Name)
		t.checkBounds(v, d)
		t.params[d.Name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !slices.ContainsFunc(t.file.Params, func(d *Param) bool { return d.Name == name }) {
			t.program.Findings.Add("bicep-wiring", t.file.Path, "%s: there is no parameter %s", t.Address, name)
		}
	}
}

func (t *Template) variable(v *Var) Value {
	if value, ok := t.vars[v.Name]; ok {
		return value
	}
	if t.visiting[v.Name] {
		t.program.say("bicep-names", v.Pos, "variable %s refers to itself", v.Name)
		return broken{}
	}
	t.visiting[v.Name] = true
	t.vars[v.Name] = t.eval(v.Value, nil)
	return t.vars[v.Name]
}

// work expands a resource with the ones inside it and checks the bodies.
func (t *Template) work(r *Resource) {
	for _, i := range t.expand(r) {
		if i == nil {
			continue
		}
		i.Body, _ = t.eval(i.object, i.env).(*Object)
		i.settle()
		if !i.Existing {
			t.instances = append(t.instances, i)
			t.checkBody(i)
		}
	}
	for _, c := range r.Children {
		t.work(c)
	}
}

// settle reads the members of a body that name other resources.
func (i *Instance) settle() {
	if i.Body == nil {
		return
	}
	if h, ok := i.Body.values["scope"].(handle); ok && h.instance != nil {
		i.Scope = Ref{Text: h.instance.Type + "/" + h.instance.Name + ".id"}.String()
	}
	if list, ok := member(i.object, "dependsOn").(*Array); ok {
		for _, item := range list.Items {
			if n, ok := item.(*Name); ok {
				i.After = append(i.After, n.Name)
			}
		}
	}
}

func (t *Template) checkBody(i *Instance) {
	body, name := t.program.Types.Lookup(i.Type + "@" + i.Version)
	if name == "" || i.Body == nil {
		return // lint has said so
	}
	for _, problem := range t.program.Types.Check(i.Body, body, "parent", "scope", "dependsOn") {
		pos := i.Body.place(problem.Path, i.Decl.Pos)
		t.program.say("bicep-body", pos, "%s: %s %s", i.Type, problem.Path, problem.Message)
	}
}

// place finds the line of a property, or of the nearest one around it.
func (o *Object) place(path string, fallback Pos) Pos {
	for n := len(path); n > 0; n-- {
		if n < len(path) && path[n] != '.' && path[n] != '[' {
			continue
		}
		if _, pos := o.find(path[:n]); pos.Line > 0 {
			return pos
		}
	}
	return fallback
}

// Indexed is the address of one of several instances.
func indexed(address string, i int) string { return address + "[" + strconv.Itoa(i) + "]" }

// typeOf is the body type of an instance, nil when unknown.
func (i *Instance) typeOf() *arm.Type {
	body, _ := i.template.program.Types.Lookup(i.Type + "@" + i.Version)
	return body
}
