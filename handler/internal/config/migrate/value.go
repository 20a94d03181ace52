package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"spillway/handler/internal/config/jsondoc"
)

// value is a piece of a JSON or YAML text, with where it stands and which of
// its members were read, so that the others can be listed.
type value struct {
	path    string
	text    string // of a scalar
	null    bool
	list    []*value
	members []member
	isMap   bool
	isList  bool
}

type member struct {
	name  string
	value *value
	used  bool
	// merged: it came through "<<", so that one that is written here replaces it.
	merged bool
}

// Bounds of a file: aliases may refer to themselves, and multiply.
const (
	mostDepth  = 64
	mostValues = 100_000
)

var (
	errDeep = fmt.Errorf("nested more than %d deep", mostDepth)
	errMany = fmt.Errorf("more than %d values, aliases included", mostValues)
)

// parse reads JSON or YAML, and reports members that are written twice.
func (r *Result) parse(text []byte) (*value, error) {
	root, twice, err := parse(text)
	if err != nil {
		return nil, err
	}
	for _, path := range twice {
		r.changed("%s is written twice in the file: the last one counts, as most readers have it", path)
	}
	if n := documents(text); n > 1 && (root.isMap || root.isList) {
		r.notCarried("%d more documents of the file, behind \"---\": import each on its own", n-1)
	}
	return root, nil
}

// documents is how many documents a YAML text has that hold something.
func documents(text []byte) (n int) {
	from := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var node yaml.Node
		switch err := from.Decode(&node); {
		case errors.Is(err, io.EOF):
			return n
		case err != nil:
			return n + 1
		case holds(&node):
			n++
		}
	}
}

func holds(document *yaml.Node) bool {
	return len(document.Content) > 0 && document.Content[0].Tag != "!!null"
}

// parse reads JSON or YAML. Of a member that is written twice the last one
// counts, as in PyYAML and most readers of JSON; twice are the paths of these.
func parse(text []byte) (root *value, twice []string, err error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		if tree, faults := jsondoc.Parse("", text); faults == nil {
			root = fromJSON("", tree.Root, &twice)
			return root, twice, nil
		}
	}
	var node yaml.Node
	for from := yaml.NewDecoder(bytes.NewReader(text)); !holds(&node); {
		node = yaml.Node{}
		err := from.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("neither JSON nor YAML: %w", err)
		}
	}
	reader := yamlReader{}
	root, err = reader.value("", &node, 0)
	return root, reader.twice, err
}

func fromJSON(path string, n *jsondoc.Node, twice *[]string) *value {
	v := &value{path: path, text: n.Text, null: n.Kind == jsondoc.Null, isMap: n.Kind == jsondoc.Object, isList: n.Kind == jsondoc.Array}
	if n.Kind == jsondoc.Bool {
		v.text = strconv.FormatBool(n.True)
	}
	for i, item := range n.Items {
		v.list = append(v.list, fromJSON(jsondoc.Index(path, i), item, twice))
	}
	for _, m := range n.Members {
		item := fromJSON(jsondoc.Join(path, m.Name), m.Value, twice)
		if i := v.index(m.Name); i >= 0 {
			*twice = append(*twice, item.path)
			v.members = slices.Delete(v.members, i, i+1)
		}
		v.members = append(v.members, member{name: m.Name, value: item})
	}
	return v
}

// yamlReader turns YAML nodes into values.
type yamlReader struct {
	values int      // so many so far
	twice  []string // the paths of members that are written twice
}

func (y *yamlReader) value(path string, n *yaml.Node, depth int) (*value, error) {
	y.values++
	switch {
	case depth > mostDepth:
		return nil, errDeep
	case y.values > mostValues:
		return nil, errMany
	case n.Kind == yaml.AliasNode:
		return y.value(path, n.Alias, depth+1)
	case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
		return y.value(path, n.Content[0], depth+1)
	}
	v := &value{path: path, text: n.Value, isMap: n.Kind == yaml.MappingNode, isList: n.Kind == yaml.SequenceNode}
	v.null = n.Kind == 0 || n.Tag == "!!null"
	for i := 0; v.isMap && i+1 < len(n.Content); i += 2 {
		if err := y.member(v, n.Content[i], n.Content[i+1], depth+1); err != nil {
			return nil, err
		}
	}
	for i := 0; v.isList && i < len(n.Content); i++ {
		item, err := y.value(jsondoc.Index(path, i), n.Content[i], depth+1)
		if err != nil {
			return nil, err
		}
		v.list = append(v.list, item)
	}
	return v, nil
}

// member adds a member. "<<" adds those of the mapping that it refers to; what is
// written here goes before what comes from there.
func (y *yamlReader) member(v *value, name, content *yaml.Node, depth int) error {
	if name.Tag != "!!merge" {
		item, err := y.value(jsondoc.Join(v.path, name.Value), content, depth)
		if err != nil {
			return err
		}
		if i := v.index(name.Value); i >= 0 {
			if !v.members[i].merged {
				y.twice = append(y.twice, item.path)
			}
			v.members = slices.Delete(v.members, i, i+1)
		}
		v.members = append(v.members, member{name: name.Value, value: item})
		return nil
	}
	from, err := y.value(v.path, content, depth)
	if err != nil {
		return err
	}
	for _, source := range append(from.list, from) {
		for _, m := range source.members {
			if v.index(m.name) < 0 {
				m.merged = true
				v.members = append(v.members, m)
			}
		}
	}
	return nil
}

// index is the place of the member of that name, -1 when there is none.
func (v *value) index(name string) int {
	return slices.IndexFunc(v.members, func(m member) bool { return m.name == name })
}

// at is the member of that name, without taking it; nil when there is none, or
// null.
func (v *value) at(name string) *value {
	if v == nil {
		return nil
	}
	if i := v.index(name); i >= 0 && !v.members[i].value.null {
		return v.members[i].value
	}
	return nil
}

// take is the member of that name, which is looked at now.
func (v *value) take(name string) *value {
	if v == nil {
		return nil
	}
	for i := range v.members {
		if v.members[i].name == name {
			v.members[i].used = true
			if !v.members[i].value.null {
				return v.members[i].value
			}
		}
	}
	return nil
}

// ignore marks members as read: they have no effect on requests.
func (v *value) ignore(names ...string) {
	for _, name := range names {
		v.take(name)
	}
}

// first is the first of these members that is there. All of them count as read.
func (v *value) first(names ...string) *value {
	var found *value
	for _, name := range names {
		if m := v.take(name); found == nil {
			found = m
		}
	}
	return found
}

// stringAt is the member's text, "" when there is none.
func (v *value) stringAt(name string) string {
	if m := v.take(name); m != nil && !m.isMap && !m.isList {
		return strings.TrimSpace(m.text)
	}
	return ""
}

// number is the member as a number.
func (v *value) number(name string) (float64, bool) {
	n, err := strconv.ParseFloat(v.stringAt(name), 64)
	return n, err == nil
}

// empty reports whether there is nothing in it.
func (v *value) empty() bool {
	return v == nil || v.null || v.text == "" && len(v.list) == 0 && len(v.members) == 0
}

// hollow reports whether there is nothing in it, nor in anything in it.
func (v *value) hollow() bool {
	return v == nil || v.null || v.text == "" &&
		!slices.ContainsFunc(v.list, func(item *value) bool { return !item.hollow() }) &&
		!slices.ContainsFunc(v.members, func(m member) bool { return !m.value.hollow() })
}

// stringsAt is the member as a list of texts: a list, or one text with commas.
func (v *value) stringsAt(name string) []string {
	m := v.take(name)
	switch {
	case m == nil || m.isMap:
		return nil
	case m.isList:
		var words []string
		for _, item := range m.list {
			words = append(words, strings.TrimSpace(item.text))
		}
		return words
	}
	var words []string
	for word := range strings.SplitSeq(m.text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// items is the member's list, nil when it is none.
func (v *value) items(name string) []*value {
	if m := v.take(name); m != nil {
		return m.list
	}
	return nil
}

// others are the members that nobody looked at, which counts as a look.
func (v *value) others() []member {
	if v == nil {
		return nil
	}
	var others []member
	for i := range v.members {
		if m := &v.members[i]; !m.used {
			m.used = true
			others = append(others, *m)
		}
	}
	return others
}

// rest lists every member that was not read. Values are not repeated:
// they may be secrets.
func (r *Result) rest(v *value, why map[string]string) {
	for _, m := range v.others() {
		if hint := why[m.name]; hint != "" {
			r.notCarried("%s: %s", m.value.path, hint)
			continue
		}
		r.notCarried("%s", m.value.path)
	}
}
