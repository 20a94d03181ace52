package arm

import (
	"fmt"
	"slices"
	"strings"

	"spillway/scripts/infra-check/finding"
)

// Value is a body as the checker sees it: nil, bool, int64, float64, string, []Value, Object or Typed.
type Value = any

// Object is a body with members in order.
type Object interface {
	Keys() []string
	Get(key string) (Value, bool)
}

// Typed is a value that only exists once something is deployed, of a type that is known or nil.
type Typed interface {
	ARMType() *Type
}

// Problem is one mismatch; Path is "properties.siteConfig.minTlsVersion".
type Problem struct {
	Path    string
	Message string
}

// Check compares a resource body with its type. Members in skip are Bicep's own (parent, scope, dependsOn).
func (s *Snapshot) Check(body Object, t *Type, skip ...string) []Problem {
	c := checker{snapshot: s, skip: skip}
	c.object(body, t, "")
	return c.problems
}

type checker struct {
	snapshot *Snapshot
	skip     []string
	problems []Problem
}

func (c *checker) say(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) value(v Value, t *Type, path string) {
	if v == nil || t == nil {
		return
	}
	if typed, ok := v.(Typed); ok {
		c.typed(typed.ARMType(), t, path)
		return
	}
	switch t.Kind {
	case "AnyType":
	case "UnionType":
		c.unionValue(v, t, path)
	case "StringLiteralType":
		if v != t.Value {
			c.say(path, "%v is not '%s'", v, t.Value)
		}
	case "ArrayType":
		items, ok := v.([]Value)
		if !ok {
			c.say(path, "%s where an array belongs", kindOf(v))
			return
		}
		for i, item := range items {
			c.value(item, c.snapshot.Item(t), fmt.Sprintf("%s[%d]", path, i))
		}
	case "ObjectType", "DiscriminatedObjectType":
		o, ok := v.(Object)
		if !ok {
			c.say(path, "%s where an object belongs", kindOf(v))
			return
		}
		c.object(o, t, path)
	default:
		c.scalar(v, t, path)
	}
}

func (c *checker) scalar(v Value, t *Type, path string) {
	want := map[string]string{"StringType": "a string", "IntegerType": "an integer", "BooleanType": "a boolean"}[t.Kind]
	if want == "" {
		return
	}
	if kindOf(v) != want {
		c.say(path, "%s where %s belongs", kindOf(v), want)
		return
	}
	n, ok := v.(int64)
	if ok && (t.MinValue != nil && n < *t.MinValue || t.MaxValue != nil && n > *t.MaxValue) {
		c.say(path, "%d is out of range", n)
	}
}

// unionValue: a union with a plain string among its members is open; a value outside its list is a warning to the compiler, a fault here.
func (c *checker) unionValue(v Value, t *Type, path string) {
	var literals []string
	for _, e := range c.snapshot.union(t) {
		if e.Kind == "StringLiteralType" {
			literals = append(literals, e.Value)
		}
	}
	text, ok := v.(string)
	switch {
	case !ok:
		c.say(path, "%s where one of %s belongs", kindOf(v), strings.Join(literals, ", "))
	case len(literals) > 0 && !slices.Contains(literals, text) && !strings.Contains(text, "«"):
		c.say(path, "'%s' is not one of %s", text, strings.Join(literals, ", "))
	}
}

func (c *checker) typed(have, want *Type, path string) {
	if have == nil || have.Kind == "AnyType" || want.Kind == "AnyType" {
		return
	}
	if a, b := family(have.Kind), family(want.Kind); a != b {
		c.say(path, "a reference to %s where %s belongs", a, b)
	}
}

func (c *checker) object(o Object, t *Type, path string) {
	properties := t.Properties
	if t.Kind == "DiscriminatedObjectType" {
		var ok bool
		if properties, ok = c.variant(o, t, path); !ok {
			return
		}
	}
	for _, key := range o.Keys() {
		if path == "" && slices.Contains(c.skip, key) {
			continue
		}
		v, _ := o.Get(key)
		at := join(path, key)
		p, ok := properties[key]
		switch {
		case ok && p.Flags&ReadOnly != 0 && p.Flags&Constant == 0 && v != nil:
			c.say(at, "is read-only")
		case ok:
			c.value(v, c.snapshot.deref(p.Type), at)
		case t.AdditionalProperties != nil:
			c.value(v, c.snapshot.deref(*t.AdditionalProperties), at)
		default:
			c.say(at, "no such property%s", hint(key, properties))
		}
	}
	for key, p := range properties {
		if _, there := o.Get(key); !there && p.Flags&Required != 0 && p.Flags&ReadOnly == 0 {
			c.say(join(path, key), "is required")
		}
	}
}

// variant picks the members that go with the value of the discriminator.
func (c *checker) variant(o Object, t *Type, path string) (map[string]Property, bool) {
	v, _ := o.Get(t.Discriminator)
	text, _ := v.(string)
	chosen, ok := c.snapshot.variants(t)[text]
	if !ok {
		c.say(join(path, t.Discriminator), "'%s' is not one of the kinds", text)
		return nil, false
	}
	out := map[string]Property{}
	for k, p := range t.BaseProperties {
		out[k] = p
	}
	for k, p := range chosen.Properties {
		out[k] = p
	}
	return out, true
}

func hint(key string, properties map[string]Property) string {
	var names []string
	for name := range properties {
		if strings.EqualFold(name, key) {
			return "; did you mean '" + name + "'?"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if near := finding.Nearest(key, names); near != "" {
		return "; did you mean '" + near + "'?"
	}
	return ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func family(kind string) string {
	switch kind {
	case "StringType", "StringLiteralType", "UnionType":
		return "a string"
	case "IntegerType":
		return "an integer"
	case "BooleanType":
		return "a boolean"
	case "ArrayType":
		return "an array"
	}
	return "an object"
}

func kindOf(v Value) string {
	switch v.(type) {
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		return "a fraction"
	case string:
		return "a string"
	case []Value:
		return "an array"
	}
	return "an object"
}
