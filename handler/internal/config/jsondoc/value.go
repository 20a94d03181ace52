package jsondoc

import (
	"fmt"
	"reflect"
)

// value fills whatever the field is.
func (d *decoder) value(n *Node, v reflect.Value, path string, f field) {
	switch v.Interface().(type) {
	case Duration:
		d.duration(n, v, path, f)
		return
	case Pairs:
		d.pairs(n, v, path, f)
		return
	}
	switch v.Kind() { //nolint:exhaustive // no field of ours is of another kind
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, f)
	case reflect.Struct:
		if d.is(n, Object, path, f) {
			d.object(n, v, path)
		}
	case reflect.Slice:
		d.many(n, v, path, f)
	case reflect.Map:
		d.table(n, v, path, f)
	default:
		d.scalar(n, v, path, f)
	}
}

// many fills a slice from a list or, when its items carry their own name, from
// an object.
func (d *decoder) many(n *Node, v reflect.Value, path string, f field) {
	element := v.Type().Elem()
	if key := keyed(element); key >= 0 {
		d.named(n, v, path, f)
		return
	}
	if !d.is(n, Array, path, f) {
		return
	}
	d.length(n, path, f)
	for i, item := range n.Items {
		one := reflect.New(element).Elem()
		d.value(item, one, Index(path, i), f.item())
		v.Set(reflect.Append(v, one))
	}
}

func (d *decoder) length(n *Node, path string, f field) {
	switch {
	case len(n.Items) < f.least:
		d.fault(n, path, "is an empty list", fmt.Sprintf("Write at least one, for example %s.", f.sample()))
	case f.most > 0 && len(n.Items) > f.most:
		d.fault(n, path, fmt.Sprintf("has %d entries", len(n.Items)), fmt.Sprintf("Keep at most %d.", f.most))
	}
}

// named fills a slice of structs from an object, in the order of the text.
func (d *decoder) named(n *Node, v reflect.Value, path string, f field) {
	element := v.Type().Elem()
	d.members(n, path, f, func(m Member, at string) {
		one := reflect.New(element).Elem()
		one.Field(keyed(element)).SetString(m.Name)
		d.value(m.Value, one, at, field{})
		v.Set(reflect.Append(v, one))
	})
}

// table fills a map from an object.
func (d *decoder) table(n *Node, v reflect.Value, path string, f field) {
	v.Set(reflect.MakeMap(v.Type()))
	d.members(n, path, f, func(m Member, at string) {
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(m.Value, one, at, f.item())
		v.SetMapIndex(reflect.ValueOf(m.Name), one)
	})
}

// members goes through an object whose names are free.
func (d *decoder) members(n *Node, path string, f field, each func(m Member, at string)) {
	if !d.is(n, Object, path, f) {
		return
	}
	seen := map[string]*Node{}
	for _, m := range n.Members {
		at := Join(path, m.Name)
		if !d.once(m, at, seen) {
			continue
		}
		if !d.matches(f.keys, m.Name) {
			d.fault(&Node{Offset: m.Offset}, at, "is not allowed as a name here", "Write "+f.keysay+".")
			continue
		}
		each(m, at)
	}
}

// pairs fills Pairs from an object or from a list of names.
func (d *decoder) pairs(n *Node, v reflect.Value, path string, f field) {
	pairs := Pairs{}
	if n.Kind != Array && n.Kind != Object {
		d.fault(n, path, fmt.Sprintf("must be a list or an object, not %v", n.Kind), fmt.Sprintf("Write names in a list, or %s.", f.written(Object)))
		return
	}
	if n.Kind == Array {
		f.pattern, f.say = f.keys, f.keysay
		for i, item := range n.Items {
			var name string
			d.scalar(item, reflect.ValueOf(&name).Elem(), Index(path, i), f.item())
			pairs = append(pairs, Pair{Name: name, Value: name})
		}
	} else {
		d.members(n, path, f, func(m Member, at string) {
			var value string
			d.scalar(m.Value, reflect.ValueOf(&value).Elem(), at, f.item())
			pairs = append(pairs, Pair{Name: m.Name, Value: value})
		})
	}
	v.Set(reflect.ValueOf(pairs))
}

// is reports whether the value is of the kind that belongs there.
func (d *decoder) is(n *Node, kind Kind, path string, f field) bool {
	if n.Kind == kind {
		return true
	}
	d.fault(n, path, fmt.Sprintf("must be %v, not %v", kind, n.Kind), "Write "+f.written(kind)+".")
	return false
}

// written is how the field could be written.
func (f field) written(kind Kind) string {
	if f.example != "" {
		return "for example " + f.example
	}
	return map[Kind]string{
		Object: "{...}", Array: "[...]", String: "it in double quotes", Bool: "true or false, without quotes",
		Number: "the number without quotes",
	}[kind]
}
