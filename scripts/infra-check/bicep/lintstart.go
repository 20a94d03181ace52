package bicep

import "slices"

// start: the number and the names of resources and modules have to be known before the first of them is made.
// keys are the members of the body that this holds for.
func (l *linter) start(e Expr, keys []string) {
	switch e := e.(type) {
	case *If:
		l.known(e.Cond, "a condition")
		l.start(e.Body, keys)
	case *For:
		l.known(e.Source, "a loop's array")
		l.known(e.Cond, "a condition")
		l.start(e.Body, keys)
	case *ObjectExpr:
		for _, key := range keys {
			l.known(member(e, key), key)
		}
	}
}

func (l *linter) known(e Expr, what string) {
	if late := l.late(e, nil); late != "" {
		l.say("bicep-start", e.Position(), "%s must be known when the deployment starts, and %s is not", what, late)
	}
}

// late names the first thing in e that exists only after something has been deployed; visited guards against variables in a circle.
func (l *linter) late(e Expr, visited []string) string {
	if e == nil {
		return ""
	}
	if m, ok := e.(*Member); ok {
		if late := l.lateMember(m); late != "" {
			return late
		}
	}
	if c, ok := e.(*Call); ok && c.Base != nil {
		return c.Name + "()"
	}
	if n, ok := e.(*Name); ok && !slices.Contains(visited, n.Name) {
		for _, v := range l.file.Vars {
			if v.Name == n.Name {
				return l.late(v.Value, append(visited, n.Name))
			}
		}
	}
	for _, part := range parts(e) {
		if late := l.late(part, visited); late != "" {
			return late
		}
	}
	return ""
}

// lateMember: of a resource only name, id, type and apiVersion are known early, of a module nothing but its name.
func (l *linter) lateMember(m *Member) string {
	if m.Name == "outputs" {
		return "a module's output"
	}
	base := m.Base
	if i, ok := base.(*Index); ok {
		base = i.Base
	}
	name, ok := base.(*Name)
	if !ok || slices.Contains([]string{"name", "id", "type", "apiVersion"}, m.Name) {
		return ""
	}
	for _, r := range l.file.Resources {
		if r.Name == name.Name {
			return r.Name + "." + m.Name
		}
	}
	return ""
}
