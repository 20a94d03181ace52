package telemetry

import (
	"fmt"
	"regexp"
	"slices"
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
