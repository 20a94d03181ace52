package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/finding"
)

// Compiled holds the compiled template against what previews do not show: order, conditions, and branches.
func Compiled(main *arm.Template, out *finding.List) {
	main.All(func(t *arm.Template) {
		for _, symbol := range slices.Sorted(maps.Keys(t.Resources)) {
			d := t.Resources[symbol]
			where := t.Where + "." + symbol
			oneByOne(t, where, d, out)
			named(t, where, d, out)
			// A loop over nothing is a condition too.
			if d.Condition == "" && !strings.Contains(t.Expanded(fmt.Sprint(d.Copy.Count)), "createArray()") {
				guarded(t, where, d.Expressions, out)
			}
		}
		for name, o := range t.Outputs {
			guarded(t, t.Where+".output "+name, arm.Expressions(o), out)
		}
	})
}

func oneByOne(t *arm.Template, where string, d arm.Declared, out *finding.List) {
	if d.Type != deployments && d.Type != filters {
		return
	}
	if d.Copy.Mode != "serial" || d.Copy.BatchSize != 1 {
		out.Add("rule-serial", where, "needs @batchSize(1): parallel writes to one account are refused with 409")
	}
	waits := slices.ContainsFunc(d.DependsOn, func(symbol string) bool { return t.Resources[symbol].Type == filters })
	if d.Type == deployments && !waits {
		out.Add("rule-serial", where, "must wait for the content filters")
	}
}

var ofParameter = regexp.MustCompile(`parameters\('\w+'\)`)

// named: a name is worked out even where the condition does not hold, and must not be empty then.
func named(t *arm.Template, where string, d arm.Declared, out *finding.List) {
	condition, name := t.Expanded(d.Condition), t.Expanded(d.Name)
	if condition == "" || strings.Contains(name, "guid(") {
		return
	}
	for _, parameter := range ofParameter.FindAllString(name, -1) {
		if strings.Contains(condition, "empty("+parameter+")") && arm.Unguarded(name, parameter) {
			out.Add("rule-conditions", where, "its name is empty where %s is, although it is switched off then: take another name by a condition", parameter)
		}
	}
}

// guarded: what may not be there is read inside a condition.
func guarded(t *arm.Template, where string, expressions []string, out *finding.List) {
	for symbol, d := range t.Resources {
		if d.Condition == "" || d.Existing {
			continue
		}
		for _, read := range []string{"reference('" + symbol + "'", "reference(format('" + symbol + "["} {
			if slices.ContainsFunc(expressions, func(e string) bool { return arm.Unguarded(e, read) }) {
				out.Add("rule-conditions", where, "reads %s, which is there on a condition, without one", symbol)
			}
		}
	}
}

var comparison = regexp.MustCompile(`(equals|greater|less|greaterOrEquals|lessOrEquals)\(parameters\('(\w+)'\), (?:'([^']*)'|(\d+))\)`)

// Coverage checks that the examples, given as the values of the parameters of each, decide every comparison of a parameter with a
// constant both ways, and take each switch in both positions. What is never made is never checked.
func Coverage(main *arm.Template, examples []map[string]any, out *finding.List) {
	decided := map[string]map[bool]bool{}
	note := func(what string, is bool) {
		if decided[what] == nil {
			decided[what] = map[bool]bool{}
		}
		decided[what][is] = true
	}
	compared := map[string][]string{}
	main.All(func(t *arm.Template) {
		texts := append(arm.Expressions(t.Variables), arm.Expressions(t.Outputs)...)
		for _, d := range t.Resources {
			texts = append(texts, d.Expressions...)
		}
		for _, m := range comparison.FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
			compared[m[0]] = m[1:]
		}
	})
	for _, values := range examples {
		for what, m := range compared {
			if v, ok := values[m[1]]; ok {
				note(what, compare(m[0], v, m[2]+m[3]))
			}
		}
		for name, p := range main.Parameters {
			if is, ok := values[name].(bool); ok && p.Type == "bool" {
				note("parameters('"+name+"')", is)
			}
		}
	}
	for _, what := range slices.Sorted(maps.Keys(decided)) {
		for _, is := range []bool{true, false} {
			if !decided[what][is] {
				out.Add("rule-coverage", "main.bicep", "no example makes %s %t", what, is)
			}
		}
	}
}

func compare(how string, v any, constant string) bool {
	n, isNumber := v.(float64)
	if !isNumber {
		return fmt.Sprint(v) == constant
	}
	var c float64
	_, _ = fmt.Sscan(constant, &c)
	return map[string]bool{"greater": n > c, "greaterOrEquals": n >= c, "less": n < c, "lessOrEquals": n <= c, "equals": n == c}[how]
}
