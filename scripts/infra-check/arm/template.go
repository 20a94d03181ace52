package arm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Template is a compiled template, or one nested in it: what a preview does not show is in it.
type Template struct {
	Where      string
	Parameters map[string]Parameter
	Variables  map[string]any
	Resources  map[string]Declared
	Outputs    map[string]any
	Nested     []*Template
}

// Parameter is a parameter that a template takes.
type Parameter struct {
	Default *any `json:"defaultValue"`
	Type    string
}

// Declared is a resource as it is declared, by its symbolic name.
type Declared struct {
	Type      string
	Name      string
	Condition string
	Existing  bool
	DependsOn []string
	Copy      struct {
		Mode      string
		BatchSize int
		Count     any
	}
	Expressions []string // all that are in it, but for those of a nested template
}

// ReadTemplate reads what `bicep build` wrote.
func ReadTemplate(b []byte) (*Template, error) { return readTemplate("main", b) }

func readTemplate(where string, b []byte) (*Template, error) {
	var file struct {
		Parameters map[string]Parameter
		Variables  map[string]any
		Outputs    map[string]any
		Resources  symbols
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("read the compiled template %s: %w", where, err)
	}
	t := &Template{Where: where, Parameters: file.Parameters, Variables: file.Variables, Resources: map[string]Declared{}, Outputs: file.Outputs}
	for _, symbol := range slices.Sorted(maps.Keys(file.Resources)) {
		if err := t.resource(symbol, file.Resources[symbol]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// symbols are the resources by symbolic name; a template without such names has a list, and numbers take their place.
type symbols map[string]json.RawMessage

// UnmarshalJSON reads either form.
func (s *symbols) UnmarshalJSON(b []byte) error {
	var listed []json.RawMessage
	if json.Unmarshal(b, &listed) != nil {
		return json.Unmarshal(b, (*map[string]json.RawMessage)(s))
	}
	*s = symbols{}
	for i, r := range listed {
		(*s)[strconv.Itoa(i)] = r
	}
	return nil
}

func (t *Template) resource(symbol string, b json.RawMessage) error {
	var r struct {
		Declared
		Condition  any
		Properties json.RawMessage
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("read %s.%s: %w", t.Where, symbol, err)
	}
	d := r.Declared
	d.Condition = text(r.Condition)
	var deployment struct {
		Template json.RawMessage
	}
	// Properties may be one expression.
	if json.Unmarshal(r.Properties, &deployment) == nil && deployment.Template != nil {
		nested, err := readTemplate(t.Where+"."+symbol, deployment.Template)
		if err != nil {
			return err
		}
		t.Nested = append(t.Nested, nested)
	}
	var whole map[string]any
	if err := json.Unmarshal(b, &whole); err != nil {
		return fmt.Errorf("read %s.%s: %w", t.Where, symbol, err)
	}
	if properties, ok := whole["properties"].(map[string]any); ok {
		delete(properties, "template")
	}
	d.Expressions = Expressions(whole)
	t.Resources[symbol] = d
	return nil
}

// Expressions lists those in a value: texts in brackets.
func Expressions(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "[") && !strings.HasPrefix(v, "[[") {
			out = append(out, v)
		}
	case []any:
		for _, item := range v {
			out = append(out, Expressions(item)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out = append(out, Expressions(v[name])...)
		}
	}
	return out
}

// All calls do for the template and everything nested in it.
func (t *Template) All(do func(*Template)) {
	do(t)
	for _, n := range t.Nested {
		n.All(do)
	}
}

// Expanded is an expression with the template's variables put in the place of their names.
func (t *Template) Expanded(expression string) string {
	for range 5 {
		before := expression
		for name, v := range t.Variables {
			if s, ok := v.(string); ok {
				expression = strings.ReplaceAll(expression, "variables('"+name+"')", "("+strings.Trim(s, "[]")+")")
			}
		}
		if expression == before {
			break
		}
	}
	return expression
}

// Unguarded tells whether a call stands in a text outside of every if().
func Unguarded(text, call string) bool {
	var open []string // the functions whose brackets are open
	quoted := false
	for at := 0; at < len(text); at++ {
		switch c := text[at]; {
		case !quoted && strings.HasPrefix(text[at:], call) && !slices.Contains(open, "if"):
			return true
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			open = append(open, word(text[:at]))
		case c == ')' && len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	return false
}

// word is the last name in a text.
func word(text string) string {
	from := len(text)
	for from > 0 && (text[from-1]|0x20 >= 'a' && text[from-1]|0x20 <= 'z' || text[from-1] >= '0' && text[from-1] <= '9') {
		from--
	}
	return text[from:]
}
