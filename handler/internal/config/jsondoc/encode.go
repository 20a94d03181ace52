package jsondoc

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// ordered is an object whose members keep their order.
type ordered []entry

type entry struct {
	name  string
	value any
}

// MarshalJSON writes the members in order.
func (o ordered) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, e := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := write(&out, e.name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := write(&out, e.value); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func write(out *bytes.Buffer, value any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// Encode prints a struct as Decode reads it, two spaces to a level. What is at
// its default is left out.
func Encode(from any) []byte {
	e := &encoder{decoding(&Tree{})}
	return indented(e.object(reflect.ValueOf(from)))
}

// encoder knows defaults from the decoder.
type encoder struct{ defaults *decoder }

func indented(value any) []byte {
	var flat, out bytes.Buffer
	err := write(&flat, value)
	if err == nil {
		err = json.Indent(&out, bytes.TrimSpace(flat.Bytes()), "", "  ")
	}
	if err != nil {
		panic("strict: cannot print: " + err.Error())
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func (e *encoder) object(v reflect.Value) ordered {
	out := ordered{}
	for _, f := range e.defaults.fields(v.Type()) {
		one := v.Field(f.index)
		if !f.required && e.isDefault(one, f) {
			continue
		}
		out = append(out, entry{f.name, e.shape(one)})
	}
	return out
}

// isDefault reports whether the field holds what it would hold if nothing were
// written.
func (e *encoder) isDefault(v reflect.Value, f field) bool {
	fresh := reflect.New(v.Type()).Elem()
	f.required = false
	e.defaults.absent(&Node{Kind: Object}, fresh, "", f)
	return reflect.DeepEqual(fresh.Interface(), v.Interface())
}

// shape is the value as encoding/json prints it the way we read it.
func (e *encoder) shape(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case Duration:
		return x.String()
	case Pairs:
		return x.shape()
	}
	switch v.Kind() { //nolint:exhaustive // no field of ours is of another kind
	case reflect.Pointer:
		return e.shape(v.Elem())
	case reflect.Struct:
		return e.object(v)
	case reflect.Slice:
		return e.list(v)
	case reflect.Map:
		return e.table(v)
	}
	return v.Interface()
}

func (e *encoder) list(v reflect.Value) any {
	if key := keyed(v.Type().Elem()); key >= 0 {
		out := ordered{}
		for i := range v.Len() {
			out = append(out, entry{v.Index(i).Field(key).String(), e.shape(v.Index(i))})
		}
		return out
	}
	out := make([]any, v.Len())
	for i := range out {
		out[i] = e.shape(v.Index(i))
	}
	return out
}

func (e *encoder) table(v reflect.Value) any {
	names := []string{}
	for _, key := range v.MapKeys() {
		names = append(names, key.String())
	}
	out := ordered{}
	for _, name := range Unique(names) {
		out = append(out, entry{name, e.shape(v.MapIndex(reflect.ValueOf(name)))})
	}
	return out
}

// shape is a list when every name stands for itself.
func (p Pairs) shape() any {
	names := make([]string, len(p))
	out := ordered{}
	alike := true
	for i, pair := range p {
		names[i] = pair.Name
		alike = alike && pair.Name == pair.Value
		out = append(out, entry{pair.Name, pair.Value})
	}
	if alike {
		return names
	}
	return out
}
