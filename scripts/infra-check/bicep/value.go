package bicep

import (
	"encoding/json"
	"slices"
	"strings"

	"spillway/scripts/infra-check/arm"
)

// Value is what an expression comes to: nil, bool, int64, string, []Value, *Object, Ref, or inside this package a handle.
type Value = any

// Object keeps its members in the order they were written.
type Object struct {
	keys   []string
	values map[string]Value
	lines  map[string]Pos
}

// NewObject returns an empty object.
func NewObject() *Object {
	return &Object{values: map[string]Value{}, lines: map[string]Pos{}}
}

// Keys lists the members.
func (o *Object) Keys() []string { return o.keys }

// Get returns a member.
func (o *Object) Get(key string) (Value, bool) {
	v, ok := o.values[key]
	return v, ok
}

// Set adds or replaces a member.
func (o *Object) Set(key string, v Value) {
	if _, there := o.values[key]; !there {
		o.keys = append(o.keys, key)
	}
	o.values[key] = v
}

// MarshalJSON writes the members in order.
func (o *Object) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, k := range o.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o.values[k])
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// Ref is a value that only Azure knows, such as an endpoint. Inside strings it reads «Text».
type Ref struct {
	Text string
	Type *arm.Type
}

// ARMType is the type of the property that is referred to, nil when unknown.
func (r Ref) ARMType() *arm.Type { return r.Type }

// String is how the reference reads inside a string.
func (r Ref) String() string { return "«" + r.Text + "»" }

// MarshalJSON writes it as that string.
func (r Ref) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

// broken stands for a value that could not be worked out; the finding about it is made once, where it arose.
type broken struct{}

// ARMType says that nothing is known.
func (broken) ARMType() *arm.Type { return nil }

func isBroken(v Value) bool {
	_, ok := v.(broken)
	return ok
}

// equal compares as == does.
func equal(a, b Value) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// asText turns a value into text for ${} and for functions of strings.
func asText(v Value) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case Ref:
		return v.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// merge returns the union of objects; nested objects are merged too when deep, as union() does and shallowMerge() does not.
func merge(deep bool, objects ...*Object) *Object {
	out := NewObject()
	for _, o := range objects {
		for _, k := range o.keys {
			before, _ := out.values[k].(*Object)
			now, _ := o.values[k].(*Object)
			if deep && before != nil && now != nil {
				out.Set(k, merge(true, before, now))
			} else {
				out.Set(k, o.values[k])
			}
			out.lines[k] = o.lines[k]
		}
	}
	return out
}

func sortedItems(o *Object) []Value {
	keys := slices.Clone(o.keys)
	slices.Sort(keys)
	var out []Value
	for _, k := range keys {
		item := NewObject()
		item.Set("key", k)
		item.Set("value", o.values[k])
		out = append(out, item)
	}
	return out
}
