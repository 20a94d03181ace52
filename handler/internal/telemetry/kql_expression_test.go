package telemetry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (p *kql) expression() func(r record) any {
	left := p.conjunction()
	for p.accept("or") {
		a, b := left, p.conjunction()
		left = func(r record) any { return truth(a(r)) || truth(b(r)) }
	}
	return left
}

func (p *kql) conjunction() func(r record) any {
	left := p.comparison()
	for p.accept("and") {
		a, b := left, p.comparison()
		left = func(r record) any { return truth(a(r)) && truth(b(r)) }
	}
	return left
}

func truth(v any) bool { yes, _ := v.(bool); return yes }

// comparison is false where a side is missing, but for !=.
func (p *kql) comparison() func(r record) any {
	left := p.product()
	op := p.peek()
	if !slices.Contains([]string{"==", "!=", "<", "<=", ">", ">=", "startswith"}, op) {
		return left
	}
	p.at++
	right := p.product()
	return func(r record) any {
		a, b := left(r), right(r)
		switch {
		case op == "startswith":
			text, _ := a.(string)
			return strings.HasPrefix(text, b.(string))
		case a == nil || b == nil:
			return op == "!="
		}
		c := compare(a, b)
		return map[string]bool{"==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op]
	}
}

func compare(a, b any) int {
	switch x := a.(type) {
	case time.Time:
		return x.Compare(b.(time.Time))
	case string:
		y, ok := b.(string)
		if !ok {
			return 1
		}
		return strings.Compare(x, y)
	}
	return int(max(min(number64(a)-number64(b), 1), -1) * 2)
}

func number64(v any) float64 {
	switch n := v.(type) {
	case float64:
		return n
	case bool:
		return number(n)
	}
	panic(fmt.Sprintf("%v is no number", v))
}

func (p *kql) product() func(r record) any {
	left := p.primary()
	for p.accept("*") {
		a, b := left, p.primary()
		left = func(r record) any {
			x, y := a(r), b(r)
			if x == nil || y == nil {
				return nil
			}
			return number64(x) * number64(y)
		}
	}
	return left
}

func (p *kql) primary() func(r record) any {
	token := p.next()
	switch {
	case token == "(":
		inner := p.expression()
		p.expect(")")
		return inner
	case token[0] == '"':
		text := strings.Trim(token, `"`)
		return func(record) any { return text }
	case token[0] >= '0' && token[0] <= '9':
		return literal(token)
	case p.accept("("):
		return p.call(token)
	}
	path := []string{token}
	for {
		if p.accept(".") {
			path = append(path, p.next())
		} else if p.accept("[") {
			path = append(path, strings.Trim(p.next(), `"`))
			p.expect("]")
		} else {
			return func(r record) any { return at0(r, path) }
		}
	}
}

func literal(token string) func(r record) any {
	if d, err := time.ParseDuration(token); err == nil && token != "0" {
		return func(record) any { return d }
	}
	n, err := strconv.ParseFloat(token, 64)
	if err != nil {
		panic(err)
	}
	return func(record) any { return n }
}

// at0 is the value at a path of a row; nil = there is none.
func at0(r record, path []string) any {
	value, ok := r[path[0]]
	if !ok {
		panic("no column " + path[0])
	}
	for _, name := range path[1:] {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

// parsed is the lines that were parsed: every rule reads every line many times.
var parsed = map[string]any{}

func parseOnce(text string) any {
	object, ok := parsed[text]
	if !ok {
		_ = json.Unmarshal([]byte(text), &object)
		parsed[text] = object
	}
	return object
}

func (p *kql) call(name string) func(r record) any {
	argument := p.expression()
	p.expect(")")
	return func(r record) any {
		v := argument(r)
		switch name {
		case "ago":
			return p.now.Add(-v.(time.Duration))
		case "isnull":
			return v == nil
		case "isnotnull":
			return v != nil
		case "parse_json":
			return parseOnce(v.(string))
		case "tostring":
			if v == nil {
				return ""
			}
			return fmt.Sprint(v)
		case "toint", "tolong", "todouble":
			n, ok := v.(float64)
			if !ok {
				return nil
			}
			return n
		case "tobool":
			b, ok := v.(bool)
			if !ok {
				return nil
			}
			return b
		}
		panic("unknown function " + name)
	}
}
