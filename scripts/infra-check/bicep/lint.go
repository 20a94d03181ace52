package bicep

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What Bicep knows by name.
var (
	decoratorNames = []string{
		"allowed", "batchSize", "description", "export", "maxLength", "maxValue", "metadata", "minLength", "minValue", "secure",
	}
	moduleKeys     = []string{"name", "scope", "params", "dependsOn"}
	resourceKeys   = []string{"name", "location", "scope", "parent", "dependsOn"}
	builtInTypes   = []string{"string", "int", "bool", "object", "array", "any"}
	deploymentFunc = []string{"readEnvironmentVariable"}
)

// linter looks at one file without working it out, so that branches no example takes are looked at too.
type linter struct {
	program  *Program
	file     *File
	declared map[string]Pos
	used     map[string]bool
}

func (p *Program) lint(f *File) {
	l := &linter{program: p, file: f, declared: map[string]Pos{}, used: map[string]bool{}}
	l.declare()
	l.imports()
	for _, d := range f.Params {
		l.decorators(d.Decorators)
		l.types(d.Type)
		l.expr(d.Default, nil)
	}
	for _, t := range f.Types {
		l.types(t)
	}
	for _, v := range f.Vars {
		l.value(v.Value, nil)
	}
	for _, o := range f.Outputs {
		l.types(o.Type)
		l.value(o.Value, nil)
	}
	for _, a := range f.Assignments {
		l.value(a.Value, nil)
	}
	for _, r := range f.Resources {
		l.resource(r)
	}
	for _, m := range f.Modules {
		l.module(m)
	}
	l.unused()
}

func (l *linter) say(check string, pos Pos, format string, args ...any) {
	l.program.say(check, pos, format, args...)
}

func (l *linter) declare() {
	add := func(name string, pos Pos) {
		if _, twice := l.declared[name]; twice {
			l.say("bicep-names", pos, "%s is declared twice", name)
		}
		l.declared[name] = pos
	}
	for _, d := range l.file.Params {
		add(d.Name, d.Pos)
	}
	for _, v := range l.file.Vars {
		add(v.Name, v.Pos)
	}
	for _, r := range l.file.Resources {
		add(r.Name, r.Pos)
	}
	for _, m := range l.file.Modules {
		add(m.Name, m.Pos)
	}
}

func (l *linter) imports() {
	for _, imp := range l.file.Imports {
		other := l.program.file(beside(l.file.Path, imp.Path))
		if other == nil {
			continue
		}
		for _, name := range imp.Names {
			if other.Types[name] == nil {
				l.say("bicep-names", imp.Pos, "%s exports no %s", imp.Path, name)
			}
		}
	}
}

func (l *linter) decorators(list []Decorator) {
	for _, d := range list {
		if !slices.Contains(decoratorNames, d.Name) {
			l.say("bicep-names", d.Pos, "there is no decorator @%s%s", d.Name, near(d.Name, decoratorNames))
		}
	}
}

func (l *linter) types(t TypeExpr) {
	switch t := t.(type) {
	case TypeRef:
		if _, declared := l.program.declaredType(l.file, t.Name); declared == nil && !slices.Contains(builtInTypes, t.Name) {
			l.say("bicep-names", t.Pos, "there is no type %s%s", t.Name, near(t.Name, slices.Concat(builtInTypes, slices.Sorted(maps.Keys(l.file.Types)))))
		}
	case TypeArray:
		l.types(t.Item)
	case TypeNullable:
		l.types(t.Base)
	case TypeUnion:
		for _, m := range t.Members {
			l.types(m)
		}
	case TypeObject:
		for _, m := range t.Members {
			l.decorators(m.Decorators)
			l.types(m.Type)
		}
		l.types(t.Rest)
	}
}

func (l *linter) unused() {
	for _, d := range l.file.Params {
		if !l.used[d.Name] {
			l.say("bicep-names", d.Pos, "parameter %s is never used", d.Name)
		}
	}
	for _, v := range l.file.Vars {
		if !l.used[v.Name] {
			l.say("bicep-names", v.Pos, "variable %s is never used", v.Name)
		}
	}
}

func (l *linter) resource(r *Resource) {
	l.decorators(r.Decorators)
	full, version := (&Template{}).fullType(r)
	_, name := l.program.Types.Lookup(full + "@" + version)
	switch {
	case name == "" && len(l.program.Types.Versions(full)) > 0:
		l.say("bicep-types", r.Pos, "%s has no API version %s; the snapshot has %s", full, version, strings.Join(l.program.Types.Versions(full), ", "))
	case name == "":
		l.say("bicep-types", r.Pos, "there is no resource type %s in the snapshot", full)
	case name != full+"@"+version:
		l.say("bicep-types", r.Pos, "the type is spelt %s", name)
	}
	l.bodyKeys(r)
	l.value(r.Value, nil)
	l.start(r.Value, resourceKeys[:1])
	for _, c := range r.Children {
		l.resource(c)
	}
}

// bodyKeys: a resource with no name, or a nested one with a parent, is refused by the compiler.
func (l *linter) bodyKeys(r *Resource) {
	body := bodyOf(r.Value)
	if member(body, "name") == nil {
		l.say("bicep-body", r.Pos, "resource %s has no name", r.Name)
	}
	if r.Parent != nil && member(body, "parent") != nil {
		l.say("bicep-body", r.Pos, "resource %s stands inside another and names a parent", r.Name)
	}
}

func (l *linter) module(m *Module) {
	body := bodyOf(m.Value)
	if body == nil {
		l.say("bicep-syntax", m.Pos, "module %s has no body", m.Name)
		return
	}
	for _, member := range body.Members {
		if key, ok := member.Key.(*Name); ok && !slices.Contains(moduleKeys, key.Name) {
			l.say("bicep-wiring", member.Pos, "a module has no %s%s", key.Name, near(key.Name, moduleKeys))
		}
	}
	l.value(m.Value, nil)
	l.start(m.Value, []string{"name", "scope"})
	other := l.moduleFile(m)
	if other == nil {
		return
	}
	l.moduleParams(m, body, other)
}

func (l *linter) moduleFile(m *Module) *File {
	name := beside(l.file.Path, m.Path)
	if _, err := os.Stat(filepath.Join(l.program.Dir, filepath.FromSlash(name))); err != nil {
		l.say("bicep-wiring", m.Pos, "module file %s does not exist", m.Path)
		l.program.files[name] = nil
		return nil
	}
	return l.program.file(name)
}

func (l *linter) moduleParams(m *Module, body *ObjectExpr, other *File) {
	params, _ := member(body, "params").(*ObjectExpr)
	given := map[string]Pos{}
	if params != nil {
		for _, p := range params.Members {
			if key, ok := p.Key.(*Name); ok {
				given[key.Name] = p.Pos
			}
		}
	}
	var known []string
	for _, d := range other.Params {
		known = append(known, d.Name)
		_, optional := d.Type.(TypeNullable)
		if _, ok := given[d.Name]; !ok && d.Default == nil && !optional {
			l.say("bicep-wiring", m.Pos, "module %s needs parameter %s", m.Path, d.Name)
		}
	}
	for name, pos := range given {
		if !slices.Contains(known, name) {
			l.say("bicep-wiring", pos, "module %s has no parameter %s%s", m.Path, name, near(name, known))
		}
	}
}
