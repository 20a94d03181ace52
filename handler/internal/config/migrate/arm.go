package migrate

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// arm evaluates the expressions of an ARM template that names and addresses
// are made of: literals, parameters with a default, variables, concat, format,
// and resourceId. Anything else is unknown.
type arm struct{ parameters, variables *value }

// text is what a text of the template amounts to; ok is false when that
// depends on something that only a deployment knows.
func (a arm) text(raw string) (string, bool) { return a.evaluate(raw, 0) }

// evaluate is text inside of depth others: variables may refer to themselves.
func (a arm) evaluate(raw string, depth int) (string, bool) {
	inner, isExpression := strings.CutPrefix(raw, "[")
	if !isExpression || strings.HasPrefix(inner, "[") || !strings.HasSuffix(inner, "]") {
		return raw, true
	}
	value, rest, ok := a.value(strings.TrimSuffix(inner, "]"), depth+1)
	return value, ok && strings.TrimSpace(rest) == ""
}

// value evaluates what the code begins with; rest is what follows it.
func (a arm) value(code string, depth int) (value, rest string, ok bool) {
	code = strings.TrimSpace(code)
	if depth > 32 || code == "" {
		return "", "", false
	}
	if code[0] == '\'' {
		return armLiteral(code)
	}
	if n := strings.IndexFunc(code, func(r rune) bool { return r < '0' || r > '9' }); n != 0 {
		if n < 0 {
			n = len(code)
		}
		return code[:n], code[n:], true
	}
	name, arguments, found := strings.Cut(code, "(")
	if !found {
		return "", "", false
	}
	var values []string
	for rest = strings.TrimSpace(arguments); !strings.HasPrefix(rest, ")"); {
		value, rest, ok = a.value(strings.TrimPrefix(rest, ","), depth+1)
		if !ok {
			return "", "", false
		}
		values = append(values, value)
		rest = strings.TrimSpace(rest)
		if !strings.HasPrefix(rest, ",") && !strings.HasPrefix(rest, ")") {
			return "", "", false
		}
	}
	value, ok = a.call(strings.ToLower(strings.TrimSpace(name)), values, depth)
	return value, rest[1:], ok
}

// armLiteral reads 'text', in which ” stands for one quote.
func armLiteral(code string) (value, rest string, ok bool) {
	var out strings.Builder
	for i := 1; i < len(code); i++ {
		switch {
		case code[i] != '\'':
			out.WriteByte(code[i])
		case i+1 < len(code) && code[i+1] == '\'':
			out.WriteByte('\'')
			i++
		default:
			return out.String(), code[i+1:], true
		}
	}
	return "", "", false
}

var armExpression = lazily(`\{(\d+)\}`)

func (a arm) call(name string, values []string, depth int) (string, bool) {
	if len(values) == 0 {
		return "", false
	}
	switch name {
	case "concat":
		return strings.Join(values, ""), true
	case "format":
		return armExpression().ReplaceAllStringFunc(values[0], func(h string) string {
			n, err := strconv.Atoi(strings.Trim(h, "{}"))
			if err != nil || n+1 >= len(values) {
				return h
			}
			return values[n+1]
		}), true
	case "resourceid":
		return strings.Join(values, "/"), true
	case "parameters":
		return a.scalar(a.parameters.at(values[0]).at("defaultValue"), depth)
	case "variables":
		return a.scalar(a.variables.at(values[0]), depth)
	case "tolower":
		return strings.ToLower(values[0]), true
	}
	return "", false
}

func (a arm) scalar(v *value, depth int) (string, bool) {
	if v == nil || v.isMap || v.isList {
		return "", false
	}
	return a.evaluate(v.text, depth)
}

// name is the last segment of a resource's name or id. What cannot be worked
// out is replaced by the last literal in it.
func (a arm) name(raw string) string {
	text, ok := a.text(raw)
	if !ok {
		literals := regexp.MustCompile(`'([^']*)'`).FindAllStringSubmatch(raw, -1)
		text = raw
		if len(literals) > 0 {
			text = literals[len(literals)-1][1]
		}
	}
	text = strings.TrimRight(text, "/")
	return text[strings.LastIndexByte(text, '/')+1:]
}

// isoPattern is the part of ISO 8601 durations that API Management uses.
var isoPattern = lazily(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$`)

// isoSeconds reads PT1M30S.
func isoSeconds(text string) (int, error) {
	m := isoPattern().FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("read duration %q: it is no ISO 8601 duration", text)
	}
	seconds := 0
	for i, unit := range []int{86400, 3600, 60, 1} {
		n, _ := strconv.Atoi("0" + m[i+1])
		seconds += min(n, 1e6) * unit
	}
	return seconds, nil
}
