package bicep

import (
	"maps"
	"slices"
)

// value looks at what stands right of "=", where a loop or condition may stand.
func (l *linter) value(e Expr, bound []string) {
	switch e := e.(type) {
	case *If:
		l.expr(e.Cond, bound)
		l.value(e.Body, bound)
	case *For:
		l.expr(e.Source, bound)
		inner := append(slices.Clone(bound), e.Item, e.Index)
		l.expr(e.Cond, inner)
		l.value(e.Body, inner)
	default:
		l.expr(e, bound)
	}
}

// expr looks at names, functions and the places of loops.
func (l *linter) expr(e Expr, bound []string) {
	switch e := e.(type) {
	case *Name:
		l.use(e, bound)
	case *For:
		l.say("bicep-syntax", e.Pos, "a for-expression may only be the whole value of a property, variable, resource, module or output")
	case *ObjectExpr:
		for _, m := range e.Members {
			if key, ok := m.Key.(*Text); ok {
				l.expr(key, bound)
			}
			l.value(m.Value, bound)
		}
	case *Call:
		l.call(e, bound)
	case *Lambda:
		l.expr(e.Body, slices.Concat(bound, e.Params))
	default:
		for _, part := range parts(e) {
			l.expr(part, bound)
		}
	}
	if m, ok := e.(*Member); ok {
		l.moduleOutput(m)
	}
}

// parts are the expressions directly inside one.
func parts(e Expr) []Expr {
	switch e := e.(type) {
	case *Text:
		var out []Expr
		for _, p := range e.Parts {
			if x, ok := p.(Expr); ok {
				out = append(out, x)
			}
		}
		return out
	case *Array:
		return e.Items
	case *Member:
		return []Expr{e.Base}
	case *Index:
		return []Expr{e.Base, e.Index}
	case *Nested:
		return []Expr{e.Base}
	case *NonNull:
		return []Expr{e.Base}
	case *Unary:
		return []Expr{e.X}
	case *Binary:
		return []Expr{e.X, e.Y}
	case *Ternary:
		return []Expr{e.Cond, e.Then, e.Else}
	case *Call:
		if e.Base != nil {
			return append([]Expr{e.Base}, e.Args...)
		}
		return e.Args
	case *Lambda:
		return []Expr{e.Body}
	case *For:
		return []Expr{e.Source, e.Cond, e.Body}
	case *If:
		return []Expr{e.Cond, e.Body}
	case *ObjectExpr:
		var out []Expr
		for _, m := range e.Members {
			out = append(out, m.Value)
		}
		return out
	}
	return nil
}

func (l *linter) use(e *Name, bound []string) {
	if slices.Contains(bound, e.Name) {
		return
	}
	l.used[e.Name] = true
	if _, ok := l.declared[e.Name]; !ok {
		l.say("bicep-names", e.Pos, "%s is not declared%s", e.Name, near(e.Name, slices.Sorted(maps.Keys(l.declared))))
	}
}

func (l *linter) call(e *Call, bound []string) {
	for _, part := range parts(e) {
		l.expr(part, bound)
	}
	if e.Base != nil {
		return
	}
	f, ok := l.program.functions[e.Name]
	switch {
	case !ok:
		l.say("bicep-names", e.Pos, "there is no function %s%s", e.Name, near(e.Name, slices.Sorted(maps.Keys(l.program.functions))))
	case len(e.Args) < f.min || f.max >= 0 && len(e.Args) > f.max:
		l.say("bicep-names", e.Pos, "%s does not take %d arguments", e.Name, len(e.Args))
	case slices.Contains(deploymentFunc, e.Name) && l.file.Using == "":
		l.say("bicep-names", e.Pos, "%s is for parameter files only", e.Name)
	}
}

// moduleOutput checks module.outputs.x against the file of the module, in branches that no example takes too.
func (l *linter) moduleOutput(e *Member) {
	outputs, ok := e.Base.(*Member)
	if !ok || outputs.Name != "outputs" {
		return
	}
	base := outputs.Base
	for {
		switch b := base.(type) {
		case *NonNull:
			base = b.Base
			continue
		case *Index:
			base = b.Base
			continue
		}
		break
	}
	name, ok := base.(*Name)
	if !ok {
		return
	}
	for _, m := range l.file.Modules {
		if m.Name != name.Name {
			continue
		}
		other := l.moduleFile(m)
		if other == nil {
			return
		}
		var known []string
		for _, o := range other.Outputs {
			known = append(known, o.Name)
		}
		if !slices.Contains(known, e.Name) {
			l.say("bicep-wiring", e.Pos, "module %s has no output %s%s", m.Name, e.Name, near(e.Name, known))
		}
	}
}
