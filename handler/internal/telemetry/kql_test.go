package telemetry

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The part of Kusto that the alerts are written in, so that they can be run over
// log lines. It is no Kusto engine: Microsoft's parser reads the same files in the
// end-to-end tests.

// record is one row: its columns by name. Numbers are float64, instants time.Time.
type record map[string]any

// runQuery runs a query over rows of AppTraces, as of now.
func runQuery(t *testing.T, query string, rows []record, now time.Time) []record {
	t.Helper()
	query = regexp.MustCompile(`(?m)^//.*$`).ReplaceAllString(query, "")
	p := &kql{tokens: kqlTokens.FindAllString(query, -1), now: now}
	defer func() {
		if fault := recover(); fault != nil {
			t.Fatalf("%v at token %d of %s", fault, p.at, query)
		}
	}()
	p.expect("AppTraces")
	return p.pipeline(rows)
}

var kqlTokens = regexp.MustCompile(`"[^"]*"|[0-9]+[smhd]\b|[0-9]+(?:\.[0-9]+)?|[A-Za-z_][A-Za-z_0-9]*|==|!=|<=|>=|[|(),.=<>*/+\-\[\]]`)

type kql struct {
	tokens []string
	at     int
	now    time.Time
}

func (p *kql) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *kql) next() string {
	token := p.peek()
	p.at++
	return token
}

func (p *kql) accept(token string) bool {
	if p.peek() != token {
		return false
	}
	p.at++
	return true
}

func (p *kql) expect(token string) {
	if got := p.next(); got != token {
		panic(fmt.Sprintf("%q, want %q", got, token))
	}
}

// pipeline runs operators until the text or the parenthesis ends.
func (p *kql) pipeline(rows []record) []record {
	for p.accept("|") {
		rows = p.operator(rows)
	}
	return rows
}

func (p *kql) operator(rows []record) []record {
	switch op := p.next(); op {
	case "where":
		keep := p.expression()
		return slices.DeleteFunc(slices.Clone(rows), func(r record) bool { return !truth(keep(r)) })
	case "extend":
		return p.project(rows, true)
	case "project":
		return p.project(rows, false)
	case "mv-expand", "mv":
		p.expect("-")
		if kind := p.next(); kind == "apply" {
			return p.apply(rows)
		}
		return p.expand(rows)
	case "summarize":
		return p.summarize(rows)
	default:
		panic("unknown operator " + op)
	}
}

// column is name = expression, or an expression that is a column.
type column struct {
	name  string
	value func(r record) any
}

func (p *kql) columns() (all []column) {
	for {
		name := p.peek()
		if p.at+1 < len(p.tokens) && p.tokens[p.at+1] == "=" {
			p.at += 2
		}
		all = append(all, column{name, p.expression()})
		if !p.accept(",") {
			return all
		}
	}
}

func (p *kql) project(rows []record, extend bool) []record {
	columns := p.columns()
	var out []record
	for _, r := range rows {
		made := record{}
		if extend {
			for name, value := range r {
				made[name] = value
			}
		}
		for _, c := range columns {
			made[c.name] = c.value(r)
		}
		out = append(out, made)
	}
	return out
}

// expand makes a row of each element of a list.
func (p *kql) expand(rows []record) (out []record) {
	c := p.columns()[0]
	for _, r := range rows {
		list, _ := c.value(r).([]any)
		for _, element := range list {
			out = append(out, with(r, c.name, element))
		}
	}
	return out
}

func with(r record, name string, value any) record {
	made := record{name: value}
	for n, v := range r {
		if n != name {
			made[n] = v
		}
	}
	return made
}

// apply runs a pipeline over the elements of a list of each row; its columns are
// added to the row.
func (p *kql) apply(rows []record) (out []record) {
	c := p.columns()[0]
	if p.accept("to") {
		p.expect("typeof")
		p.at += 3
	}
	p.expect("on")
	p.expect("(")
	p.tokens = slices.Insert(p.tokens, p.at, "|")
	begin := p.at
	for _, r := range rows {
		p.at = begin
		var inner []record
		list, _ := c.value(r).([]any)
		for _, element := range list {
			inner = append(inner, with(r, c.name, element))
		}
		for _, made := range p.pipeline(inner) {
			for name, value := range made {
				r = with(r, name, value)
			}
			out = append(out, r)
		}
	}
	if len(rows) == 0 {
		p.pipeline(nil)
	}
	p.expect(")")
	return out
}

// aggregate is one column of summarize.
type aggregate struct {
	name string
	of   func(group []record) any
}

func (p *kql) summarize(rows []record) (out []record) {
	var aggregates []aggregate
	for p.peek() != "by" && p.peek() != "|" && p.peek() != "" && p.peek() != ")" {
		name := p.next()
		p.expect("=")
		aggregates = append(aggregates, aggregate{name, p.aggregation()})
		p.accept(",")
	}
	var by []column
	if p.accept("by") {
		by = p.columns()
	}
	groups, keys := map[string][]record{}, []string{}
	for _, r := range rows {
		key := ""
		for _, c := range by {
			key += fmt.Sprintf("%v\x00", c.value(r))
		}
		if groups[key] == nil {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], r)
	}
	if len(by) == 0 && len(keys) == 0 {
		keys = []string{""}
	}
	for _, key := range keys {
		made := record{}
		for _, c := range by {
			made[c.name] = c.value(groups[key][0])
		}
		for _, a := range aggregates {
			made[a.name] = a.of(groups[key])
		}
		out = append(out, made)
	}
	return out
}

// aggregation is a function over a group; an …if form has a condition.
func (p *kql) aggregation() func(group []record) any {
	name := p.next()
	p.expect("(")
	var arguments []func(r record) any
	for !p.accept(")") {
		arguments = append(arguments, p.expression())
		p.accept(",")
	}
	kind, conditional := strings.CutSuffix(strings.TrimSuffix(name, "_if"), "if")
	conditional = conditional || strings.HasSuffix(name, "_if")
	return func(group []record) any {
		var values []any
		for _, r := range group {
			if yes, _ := arguments[len(arguments)-1](r).(bool); conditional && !yes {
				continue
			}
			if v := arguments[0](r); v != nil && v != "" {
				values = append(values, v)
			}
		}
		return reduce(kind, values)
	}
}

func reduce(kind string, values []any) any {
	switch kind {
	case "make_list":
		return values
	case "dcount":
		distinct := map[any]bool{}
		for _, v := range values {
			distinct[v] = true
		}
		return float64(len(distinct))
	case "sum":
		sum := 0.0
		for _, v := range values {
			sum += number64(v)
		}
		return sum
	case "max", "min", "take_any":
		var found any
		for _, v := range values {
			if found == nil || kind == "max" && compare(v, found) > 0 || kind == "min" && compare(v, found) < 0 {
				found = v
			}
		}
		return found
	}
	panic("unknown aggregation " + kind)
}

// Expressions, by precedence.

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
