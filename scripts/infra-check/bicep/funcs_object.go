package bicep

import (
	"slices"
	"strings"
)

func containsText(s, part string) (bool, string) {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part)), ""
}

// items sorts by key, as the service does.
func items(c call) (Value, string) {
	o, ok := c.object(0)
	if !ok {
		return nil, "an object is needed, not " + describe(c.args[0])
	}
	out := sortedItems(o)
	if out == nil {
		out = []Value{}
	}
	return out, ""
}

// union joins arrays without repeats, or objects all the way down.
func union(c call) (Value, string) {
	if _, ok := c.list(0); ok {
		out := []Value{}
		for i := range c.args {
			list, ok := c.list(i)
			if !ok {
				return nil, "arrays and objects cannot be joined"
			}
			for _, v := range list {
				if !slices.ContainsFunc(out, func(x Value) bool { return equal(x, v) }) {
					out = append(out, v)
				}
			}
		}
		return out, ""
	}
	var objects []*Object
	for i := range c.args {
		o, ok := c.object(i)
		if !ok {
			return nil, "objects are needed, not " + describe(c.args[i])
		}
		objects = append(objects, o)
	}
	return merge(true, objects...), ""
}

func shallowMerge(c call) (Value, string) {
	list, ok := c.list(0)
	if !ok {
		return nil, "an array of objects is needed"
	}
	var objects []*Object
	for _, v := range list {
		o, ok := v.(*Object)
		if !ok {
			return nil, "an array of objects is needed, not of " + describe(v)
		}
		objects = append(objects, o)
	}
	return merge(false, objects...), ""
}

func mapItems(c call) (Value, string) {
	list, ok1 := c.list(0)
	f, ok2 := c.lambda(1)
	if !ok1 || !ok2 {
		return nil, "an array and a lambda are needed, not " + describe(c.args[0])
	}
	out := []Value{}
	for i, v := range list {
		out = append(out, f.call(v, int64(i)))
	}
	return out, ""
}

func filter(c call) (Value, string) {
	list, ok1 := c.list(0)
	f, ok2 := c.lambda(1)
	if !ok1 || !ok2 {
		return nil, "an array and a lambda are needed, not " + describe(c.args[0])
	}
	out := []Value{}
	for i, v := range list {
		keep, ok := f.call(v, int64(i)).(bool)
		if !ok {
			return nil, "the lambda must give a boolean"
		}
		if keep {
			out = append(out, v)
		}
	}
	return out, ""
}

func reduce(c call) (Value, string) {
	list, ok1 := c.list(0)
	f, ok2 := c.lambda(2)
	if !ok1 || !ok2 {
		return nil, "an array, a start and a lambda are needed"
	}
	out := c.args[1]
	for _, v := range list {
		out = f.call(out, v)
	}
	return out, ""
}

func toObject(c call) (Value, string) {
	list, ok1 := c.list(0)
	key, ok2 := c.lambda(1)
	if !ok1 || !ok2 {
		return nil, "an array and a lambda are needed"
	}
	out := NewObject()
	for _, v := range list {
		value := v
		if len(c.args) == 3 {
			f, ok := c.lambda(2)
			if !ok {
				return nil, "the third argument is a lambda"
			}
			value = f.call(v)
		}
		out.Set(asText(key.call(v)), value)
	}
	return out, ""
}
