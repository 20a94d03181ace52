package jsondoc

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Decode fills the struct that into points to, as far as the text allows, and
// reports everything that keeps it from being filled. null is the same as not
// written.
func Decode(t *Tree, into any) Faults {
	d := decoding(t)
	if t.Root.Kind == String && strings.HasPrefix(strings.TrimSpace(t.Root.Text), "{") {
		d.fault(t.Root, "", "is a string that holds the document", "It was quoted once too often: paste the object itself.")
	} else if d.is(t.Root, Object, "", field{}) {
		d.object(t.Root, reflect.ValueOf(into).Elem(), "")
	}
	d.faults.Sort()
	return d.faults
}

type decoder struct {
	tree     *Tree
	faults   Faults
	known    map[reflect.Type][]field
	patterns map[string]*regexp.Regexp
}

func decoding(t *Tree) *decoder {
	return &decoder{tree: t, known: map[reflect.Type][]field{}, patterns: map[string]*regexp.Regexp{}}
}

// fields is what the tags of a struct type say, read once.
func (d *decoder) fields(t reflect.Type) []field {
	if d.known[t] == nil {
		d.known[t] = fieldsOf(t)
	}
	return d.known[t]
}

// matches reports whether text is what pattern asks for; "" asks for nothing.
func (d *decoder) matches(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	if d.patterns[pattern] == nil {
		d.patterns[pattern] = regexp.MustCompile(pattern)
	}
	return d.patterns[pattern].MatchString(text)
}

func (d *decoder) fault(n *Node, path, problem, fix string) {
	d.faults = append(d.faults, d.tree.fault(path, n.Offset, problem, fix))
}

// object fills a struct from an object.
func (d *decoder) object(n *Node, v reflect.Value, path string) {
	fields := d.fields(v.Type())
	seen := map[string]*Node{}
	for _, m := range n.Members {
		at := Join(path, m.Name)
		if !d.once(m, at, seen) {
			continue
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.Name })
		if i < 0 {
			d.unknown(m, at, v.Type(), fields)
			continue
		}
		if m.Value.Kind == Null && !fields[i].required {
			seen[m.Name] = nil
			continue
		}
		d.value(m.Value, v.Field(fields[i].index), at, fields[i])
	}
	for _, f := range fields {
		if seen[f.name] == nil {
			d.absent(n, v.Field(f.index), Join(path, f.name), f)
		}
	}
}

// once reports whether the name is met for the first time.
func (d *decoder) once(m Member, path string, seen map[string]*Node) bool {
	first, again := seen[m.Name]
	if !again {
		seen[m.Name] = m.Value
		return true
	}
	where := "above"
	if first != nil {
		f := d.tree.fault("", first.Offset, "", "")
		where = fmt.Sprintf("first at line %d, column %d", f.Line, f.Column)
	}
	d.fault(&Node{Offset: m.Offset}, path, "is given twice, "+where, "Keep one of the two.")
	return false
}

// unknown reports a name that is no field, and the nearest that is.
func (d *decoder) unknown(m Member, path string, t reflect.Type, fields []field) {
	word, _ := noun(t)
	var names []string
	fix := ""
	for _, f := range fields {
		names = append(names, f.name)
		if slices.Contains(f.also, strings.ToLower(m.Name)) {
			fix = fmt.Sprintf("Did you mean %q?%s", f.name, f.displayName())
		}
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, m.Name) }) {
		fix = fmt.Sprintf("Names are exact: write %q.", Nearest(m.Name, names))
	}
	if fix == "" {
		fix = DidYouMean(m.Name, names)
	}
	d.fault(&Node{Offset: m.Offset}, path, "is no field of "+word, fix)
}

// displayName is the field's example as the end of a fix.
func (f field) displayName() string {
	if f.example == "" {
		return ""
	}
	return fmt.Sprintf(" For example %q: %s.", f.name, f.example)
}

// absent gives a field that is not written its default, or reports it missing.
func (d *decoder) absent(n *Node, v reflect.Value, path string, f field) {
	switch {
	case f.required:
		d.fault(n, path, "is missing", fmt.Sprintf("Add %q: %s.", f.name, f.sample()))
	case f.defaultJSON != "":
		d.value(node(f.defaultJSON), v, path, f)
	case v.Kind() == reflect.Struct:
		d.object(&Node{Kind: Object, Offset: n.Offset}, v, path)
	}
}

// sample is what could be written, as JSON.
func (f field) sample() string {
	if f.example != "" {
		return f.example
	}
	if len(f.enum) > 0 {
		return fmt.Sprintf("%q", f.enum[0])
	}
	return "..."
}

// SetDefaults fills the struct that into points to as if nothing had been written.
func SetDefaults(into any) {
	d := decoding(&Tree{})
	d.object(&Node{Kind: Object}, reflect.ValueOf(into).Elem(), "")
}
