package arm

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// scope is what expressions may name: parameters, and the variables of the lambda around them.
type scope struct {
	parameters map[string]any
	variables  map[string]any
}

// value works out a whole value: texts in brackets, in objects and lists.
func (s scope) value(v any) (any, error) {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "[[") {
			return v[1:], nil
		}
		if !strings.HasPrefix(v, "[") || !strings.HasSuffix(v, "]") || json.Valid([]byte(v)) {
			return v, nil
		}
		n, err := parse(v[1 : len(v)-1])
		if err != nil {
			return nil, err
		}
		return s.eval(n)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			var err error
			if out[i], err = s.value(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			key, err := s.value(name)
			if err != nil {
				return nil, err
			}
			if out[text(key)], err = s.value(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func (s scope) eval(n node) (any, error) {
	switch {
	case n.of != nil:
		of, err := s.eval(*n.of)
		if err != nil {
			return nil, err
		}
		return memberOf(of, n.member)
	case n.call == "":
		return n.literal, nil
	case n.call == "lambda":
		return n, nil
	case n.call == "if":
		condition, err := s.eval(n.args[0])
		if err != nil {
			return nil, err
		}
		if condition == true {
			return s.eval(n.args[1])
		}
		return s.eval(n.args[2])
	}
	args := make([]any, len(n.args))
	for i, arg := range n.args {
		var err error
		if args[i], err = s.eval(arg); err != nil {
			return nil, err
		}
	}
	return s.call(n.call, args)
}

// memberOf reads a member. One of a reference makes a longer reference: «Microsoft.Web/sites/name.defaultHostName».
func memberOf(of any, member string) (any, error) {
	switch of := of.(type) {
	case map[string]any:
		if v, ok := of[member]; ok {
			return v, nil
		}
	case []any:
		for i, item := range of {
			if fmt.Sprint(i) == member {
				return item, nil
			}
		}
	case string:
		if strings.HasPrefix(of, "«") {
			return strings.TrimSuffix(of, "»") + "." + member + "»", nil
		}
	}
	return nil, fmt.Errorf("%v has no member %s", of, member)
}

func (s scope) call(name string, args []any) (any, error) {
	if f, ok := functions()[name]; ok {
		return f(args)
	}
	switch name {
	case "parameters", "lambdavariables":
		if v, ok := map[string]map[string]any{"parameters": s.parameters, "lambdavariables": s.variables}[name][text(args[0])]; ok {
			return v, nil
		}
		return nil, fmt.Errorf("%s('%s') is not known", name, args[0])
	case "filter":
		var out []any
		for _, item := range list(args[0]) {
			keep, err := s.apply(args[1], item)
			if err != nil {
				return nil, err
			}
			if keep == true {
				out = append(out, item)
			}
		}
		return out, nil
	case "toobject":
		out := map[string]any{}
		for _, item := range list(args[0]) {
			key, err := s.apply(args[1], item)
			if err != nil {
				return nil, err
			}
			if out[text(key)], err = s.apply(args[2], item); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("function %s is not known to the checks", name)
}

func (s scope) apply(lambda, item any) (any, error) {
	n, ok := lambda.(node)
	if !ok || len(n.args) != 2 {
		return nil, fmt.Errorf("%v is no lambda of one variable", lambda)
	}
	inner := scope{parameters: s.parameters, variables: map[string]any{}}
	maps.Copy(inner.variables, s.variables)
	inner.variables[text(n.args[0].literal)] = item
	return inner.eval(n.args[1])
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

var slot = regexp.MustCompile(`\{(\d+)\}`)

// function works a call out.
type function func([]any) (any, error)

// functions are those that previews of these templates are left with.
func functions() map[string]function {
	out := logic()
	maps.Copy(out, texts())
	maps.Copy(out, objects())
	maps.Copy(out, azure())
	return out
}

// plain is a function that cannot fail.
func plain(f func([]any) any) function {
	return func(args []any) (any, error) { return f(args), nil }
}

func logic() map[string]function {
	return map[string]function{
		"true":  plain(func([]any) any { return true }),
		"not":   plain(func(a []any) any { return a[0] != true }),
		"and":   plain(func(a []any) any { return !slices.ContainsFunc(a, func(v any) bool { return v != true }) }),
		"empty": plain(func(a []any) any { return length(a[0]) == 0 }),
		"contains": plain(func(a []any) any {
			return slices.ContainsFunc(list(a[0]), func(v any) bool { return v == a[1] })
		}),
		"fail": func(a []any) (any, error) { return nil, fmt.Errorf("the template refuses: %s", a[0]) },
	}
}

func texts() map[string]function {
	return map[string]function{
		"tolower": plain(func(a []any) any { return strings.ToLower(text(a[0])) }),
		"replace": plain(func(a []any) any { return strings.ReplaceAll(text(a[0]), text(a[1]), text(a[2])) }),
		"split": plain(func(a []any) any {
			var out []any
			for part := range strings.SplitSeq(text(a[0]), text(a[1])) {
				out = append(out, part)
			}
			return out
		}),
		"format": plain(func(a []any) any {
			return slot.ReplaceAllStringFunc(text(a[0]), func(s string) string {
				var i int
				_, _ = fmt.Sscanf(s, "{%d}", &i)
				return text(a[i+1])
			})
		}),
		"string": func(a []any) (any, error) {
			b, err := json.Marshal(a[0])
			return string(b), err
		},
		"json": func(a []any) (any, error) {
			var v any
			return v, json.Unmarshal([]byte(text(a[0])), &v)
		},
	}
}

func objects() map[string]function {
	return map[string]function{
		"createarray": plain(func(a []any) any { return a }),
		"createobject": plain(func(a []any) any {
			out := map[string]any{}
			for i := 0; i+1 < len(a); i += 2 {
				out[text(a[i])] = a[i+1]
			}
			return out
		}),
		"union": plain(func(a []any) any {
			out := map[string]any{}
			for _, v := range a {
				m, _ := v.(map[string]any)
				maps.Copy(out, m)
			}
			return out
		}),
		"tryget": plain(func(a []any) any {
			m, _ := a[0].(map[string]any)
			return m[text(a[1])]
		}),
		"items": plain(func(a []any) any {
			m, _ := a[0].(map[string]any)
			var out []any
			for _, key := range slices.Sorted(maps.Keys(m)) {
				out = append(out, map[string]any{"key": key, "value": m[key]})
			}
			return out
		}),
	}
}

// azure are what only Azure knows, as references, and ids.
func azure() map[string]function {
	return map[string]function{
		"environment": plain(func([]any) any {
			return map[string]any{"suffixes": map[string]any{"storage": "core.windows.net", "keyvaultDns": ".vault.azure.net"}}
		}),
		"reference": plain(func(a []any) any { return Reference(text(a[0])) }),
		"listkeys":  plain(func(a []any) any { return strings.TrimSuffix(Reference(text(a[0])), "»") + ".listKeys()»" }),
		"guid":      plain(func([]any) any { return "guid" }),
		"resourceid": plain(func(a []any) any {
			return "/subscriptions/" + text(a[0]) + "/resourceGroups/" + text(a[1]) + resourceID(a[2], a[3:])
		}),
		"extensionresourceid": plain(func(a []any) any { return text(a[0]) + resourceID(a[1], a[2:]) }),
	}
}

func length(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return 0
}

// resourceID puts the names between the segments of a type.
func resourceID(kind any, names []any) string {
	segments := strings.Split(text(kind), "/")
	out := "/providers/" + segments[0]
	for i, name := range names {
		out += "/" + segments[i+1] + "/" + text(name)
	}
	return out
}
