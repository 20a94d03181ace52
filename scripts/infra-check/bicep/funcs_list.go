package bicep

import "slices"

func length(c call) (Value, string) {
	switch v := c.args[0].(type) {
	case []Value:
		return int64(len(v)), ""
	case *Object:
		return int64(len(v.keys)), ""
	case string:
		return int64(len(v)), ""
	}
	return nil, "an array, object or string is needed"
}

func empty(c call) (Value, string) {
	switch v := c.args[0].(type) {
	case nil:
		return true, ""
	case string:
		return v == "", ""
	case []Value:
		return len(v) == 0, ""
	case *Object:
		return len(v.keys) == 0, ""
	case Ref:
		return false, "" // what Azure gives is there
	}
	return nil, "an array, object or string is needed, not " + describe(c.args[0])
}

func contains(c call) (Value, string) {
	switch v := c.args[0].(type) {
	case *Object:
		_, ok := v.Get(c.text(1))
		return ok, ""
	case []Value:
		return slices.ContainsFunc(v, func(x Value) bool { return equal(x, c.args[1]) }), ""
	case string:
		found, _ := containsText(v, c.text(1))
		return found, ""
	}
	return nil, "an array, object or string is needed, not " + describe(c.args[0])
}

func first(c call) (Value, string) {
	if v, ok := c.list(0); ok && len(v) > 0 {
		return v[0], ""
	}
	return nil, ""
}

func last(c call) (Value, string) {
	if v, ok := c.list(0); ok && len(v) > 0 {
		return v[len(v)-1], ""
	}
	return nil, ""
}

func take(c call) (Value, string) {
	n, ok := c.args[1].(int64)
	if !ok {
		return nil, "a number is needed"
	}
	switch v := c.args[0].(type) {
	case []Value:
		return v[:min(int(n), len(v))], ""
	case string:
		return v[:min(int(n), len(v))], ""
	}
	return nil, "an array or string is needed"
}

func flatten(c call) (Value, string) {
	list, ok := c.list(0)
	if !ok {
		return nil, "an array is needed"
	}
	out := []Value{}
	for _, v := range list {
		inner, ok := v.([]Value)
		if !ok {
			return nil, "an array of arrays is needed"
		}
		out = append(out, inner...)
	}
	return out, ""
}

func concat(c call) (Value, string) {
	if _, isText := c.args[0].(string); isText {
		out := ""
		for _, s := range c.texts() {
			out += s
		}
		return out, ""
	}
	return flatten(call{args: []Value{c.args}})
}

func rangeOf(c call) (Value, string) {
	start, ok1 := c.args[0].(int64)
	n, ok2 := c.args[1].(int64)
	if !ok1 || !ok2 {
		return nil, "numbers are needed"
	}
	out := []Value{}
	for i := range n {
		out = append(out, start+i)
	}
	return out, ""
}

func largest(c call) (Value, string) {
	return extreme(c, func(a, b int64) int64 { return max(a, b) })
}

func smallest(c call) (Value, string) {
	return extreme(c, func(a, b int64) int64 { return min(a, b) })
}

func extreme(c call, pick func(a, b int64) int64) (Value, string) {
	var out int64
	for i, v := range c.args {
		n, ok := v.(int64)
		if !ok {
			return nil, "numbers are needed, not " + describe(v)
		}
		if i == 0 {
			out = n
		}
		out = pick(out, n)
	}
	return out, ""
}
