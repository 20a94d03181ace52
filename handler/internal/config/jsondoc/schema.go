package jsondoc

import (
	"reflect"
	"strings"
)

// Schema is the JSON Schema (2020-12) of what Decode accepts into the struct
// that of points to. Rules that need more than one value are not in it.
func Schema(title string, of any) []byte {
	s := &schema{defs: map[string]ordered{}}
	t := reflect.TypeOf(of).Elem()
	root := s.object(t)
	_, doc := noun(t)
	out := ordered{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", title},
		{"description", doc},
	}
	out = append(out, root...)
	defs := ordered{}
	for _, name := range s.order {
		defs = append(defs, entry{name, s.defs[name]})
	}
	return indented(append(out, entry{"$defs", defs}))
}

type schema struct {
	defs  map[string]ordered
	order []string
}

// object is the schema of a struct.
func (s *schema) object(t reflect.Type) ordered {
	properties := ordered{}
	required := []string{}
	for _, f := range fieldsOf(t) {
		if f.required {
			required = append(required, f.name)
		}
		properties = append(properties, entry{f.name, s.property(t.Field(f.index).Type, f)})
	}
	out := ordered{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}}
	if len(required) > 0 {
		out = append(out, entry{"required", required})
	}
	return out
}

// ref is a reference to a struct's schema, which is made once.
func (s *schema) ref(t reflect.Type) ordered {
	word, doc := noun(t)
	name := t.Name()
	if _, made := s.defs[name]; !made {
		s.defs[name] = nil
		s.order = append(s.order, name)
		s.defs[name] = append(ordered{{"title", word}, {"description", doc}}, s.object(t)...)
	}
	return ordered{{"$ref", "#/$defs/" + name}}
}

// property is the schema of a field, with what an editor shows of it.
func (s *schema) property(t reflect.Type, f field) ordered {
	out := ordered{}
	if f.doc != "" {
		out = append(out, entry{"description", f.doc})
	}
	shape := s.value(t, f)
	if !f.required {
		shape = nullable(shape)
	}
	out = append(out, shape...)
	if f.defaultJSON != "" {
		out = append(out, entry{"default", plain(f.defaultJSON)})
	}
	if f.deprecated {
		out = append(out, entry{"deprecated", true})
	}
	if f.example != "" && !strings.Contains(f.example, "...") {
		out = append(out, entry{"examples", []any{plain(f.example)}})
	}
	return out
}

// nullable lets the value be null too, which is the same as not written.
func nullable(shape ordered) ordered {
	if len(shape) > 0 && shape[0].name == "type" {
		shape[0].value = []any{shape[0].value, "null"}
		for i, e := range shape {
			if words, ok := e.value.([]any); ok && e.name == "enum" {
				shape[i].value = append(words, nil)
			}
		}
		return shape
	}
	null := ordered{{"type", "null"}}
	if len(shape) == 1 && shape[0].name == "anyOf" {
		choices, _ := shape[0].value.([]any)
		return ordered{{"anyOf", append(choices, null)}}
	}
	return ordered{{"anyOf", []any{shape, null}}}
}

func (s *schema) value(t reflect.Type, f field) ordered {
	switch t {
	case reflect.TypeFor[Duration]():
		return ordered{{"type", "string"}, {"pattern", printedPattern}}
	case reflect.TypeFor[Pairs]():
		return pairsShape(f)
	}
	switch t.Kind() { //nolint:exhaustive // no field of ours is of another kind
	case reflect.Pointer:
		return s.value(t.Elem(), f)
	case reflect.Struct:
		return s.ref(t)
	case reflect.Slice:
		return s.list(t, f)
	case reflect.Map:
		return s.table(s.value(t.Elem(), f.item()), f)
	case reflect.Bool:
		return ordered{{"type", "boolean"}}
	case reflect.String:
		return stringShape(f)
	case reflect.Float64:
		return f.bounds(ordered{{"type", "number"}})
	}
	return f.bounds(ordered{{"type", "integer"}})
}

func (s *schema) list(t reflect.Type, f field) ordered {
	if keyed(t.Elem()) >= 0 {
		return s.table(s.ref(t.Elem()), f)
	}
	out := ordered{{"type", "array"}, {"items", s.value(t.Elem(), f.item())}}
	if f.least > 0 {
		out = append(out, entry{"minItems", f.least})
	}
	if f.most > 0 {
		out = append(out, entry{"maxItems", f.most})
	}
	return out
}

func (s *schema) table(values ordered, f field) ordered {
	out := ordered{{"type", "object"}, {"additionalProperties", values}}
	if f.keys != "" {
		out = append(out, entry{"propertyNames", ordered{{"pattern", f.keys}}})
	}
	return out
}

func pairsShape(f field) ordered {
	names := ordered{{"type", "string"}, {"pattern", f.keys}}
	return ordered{{"anyOf", []any{
		ordered{{"type", "array"}, {"items", names}},
		ordered{{"type", "object"}, {"additionalProperties", stringShape(f.item())}, {"propertyNames", ordered{{"pattern", f.keys}}}},
	}}}
}

func stringShape(f field) ordered {
	out := ordered{{"type", "string"}}
	if len(f.enum) > 0 {
		words := make([]any, len(f.enum))
		for i, word := range f.enum {
			words[i] = word
		}
		out = append(out, entry{"enum", words})
	}
	if f.pattern != "" {
		out = append(out, entry{"pattern", f.pattern})
	}
	return out
}

func (f field) bounds(out ordered) ordered {
	if f.min != nil {
		out = append(out, entry{"minimum", *f.min})
	}
	if f.max != nil {
		out = append(out, entry{"maximum", *f.max})
	}
	return out
}
