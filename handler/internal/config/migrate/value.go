package migrate

import (
	"bytes"
	"errors"
	"fmt"
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
}

var errDeep = errors.New("nested more than 64 deep")

// parse reads JSON or YAML.
func parse(text []byte) (*value, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		if tree, faults := jsondoc.Parse("", text); faults == nil {
			return fromJSON("", tree.Root), nil
		}
	}
	// Decoding it whole first is what guards against aliases that multiply.
	var whole any
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return nil, fmt.Errorf("neither JSON nor YAML: %w", err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, fmt.Errorf("neither JSON nor YAML: %w", err)
	}
	return fromYAML("", &node, 0)
}

func fromJSON(path string, n *jsondoc.Node) *value {
	v := &value{path: path, text: n.Text, null: n.Kind == jsondoc.Null, isMap: n.Kind == jsondoc.Object, isList: n.Kind == jsondoc.Array}
	if n.Kind == jsondoc.Bool {
		v.text = strconv.FormatBool(n.True)
	}
	for i, item := range n.Items {
		v.list = append(v.list, fromJSON(jsondoc.Index(path, i), item))
	}
	for _, m := range n.Members {
		v.members = append(v.members, member{name: m.Name, value: fromJSON(jsondoc.Join(path, m.Name), m.Value)})
	}
	return v
}

func fromYAML(path string, n *yaml.Node, depth int) (*value, error) {
	switch {
	case depth > 64:
		return nil, errDeep
	case n.Kind == yaml.AliasNode:
		return fromYAML(path, n.Alias, depth+1)
	case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
		return fromYAML(path, n.Content[0], depth+1)
	}
	v := &value{path: path, text: n.Value, isMap: n.Kind == yaml.MappingNode, isList: n.Kind == yaml.SequenceNode}
	v.null = n.Kind == 0 || n.Tag == "!!null"
	for i := 0; v.isMap && i+1 < len(n.Content); i += 2 {
		if err := v.read(n.Content[i], n.Content[i+1], depth+1); err != nil {
			return nil, err
		}
	}
	for i := 0; v.isList && i < len(n.Content); i++ {
		item, err := fromYAML(jsondoc.Index(path, i), n.Content[i], depth+1)
		if err != nil {
			return nil, err
		}
		v.list = append(v.list, item)
	}
	return v, nil
}

// read adds a member. "<<" adds those of the mapping that it refers to; what is
// written here goes before what comes from there.
func (v *value) read(name, content *yaml.Node, depth int) error {
	if name.Tag != "!!merge" {
		item, err := fromYAML(jsondoc.Join(v.path, name.Value), content, depth)
		if err == nil {
			v.members = slices.DeleteFunc(v.members, func(m member) bool { return m.name == name.Value })
			v.members = append(v.members, member{name: name.Value, value: item})
		}
		return err
	}
	from, err := fromYAML(v.path, content, depth)
	if err != nil {
		return err
	}
	for _, source := range append(from.list, from) {
		for _, m := range source.members {
			if !slices.Contains(v.names(), m.name) {
				v.members = append(v.members, m)
			}
		}
	}
	return nil
}

// at is the member of that name, without taking it; nil when there is none, or
// null.
func (v *value) at(name string) *value {
	if v == nil {
		return nil
	}
	for i := range v.members {
		if v.members[i].name == name && !v.members[i].value.null {
			return v.members[i].value
		}
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
