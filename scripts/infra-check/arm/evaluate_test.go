package arm

import (
	"reflect"
	"testing"
)

// Every form of an expression that previews have, and what cannot be worked out.
func TestExpressionsWorkOut(t *testing.T) {
	t.Parallel()
	s := scope{parameters: map[string]any{"secrets": map[string]any{"A_KEY": "x"}}}
	for expression, want := range map[string]any{
		"plain":                                "plain",
		"[[text":                               "[text",
		`["[0-9]{2}"]`:                         `["[0-9]{2}"]`,
		"[format('{0}-{1}', 'it''s', true())]": "it's-true",
		"[createArray(1, 'b')[1]]":             "b",
		"[reference('/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Web/sites/f', '2024-11-01').a.b]": "«Microsoft.Web/sites/f.a.b»",
		"[if(empty(tryGet(parameters('secrets'), 'B')), 'none', fail('never'))]":                                                                "none",
		"[filter(split('a//b', '/'), lambda('x', not(empty(lambdaVariables('x')))))[1]]":                                                        "b",
		"[toObject(items(parameters('secrets')), lambda('s', toLower(lambdaVariables('s').key)), lambda('s', lambdaVariables('s').value))]":     map[string]any{"a_key": "x"},
	} {
		if got, err := s.value(expression); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v %v, want %v", expression, got, err, want)
		}
	}
	for _, expression := range []string{
		"[fail('no')]", "[parameters('b')]", "[unheardOf()]", "[format('{0}', 'x']", "['x]", "[createArray(1)[7]]", "[format('x',, 'y')]", "[createArray(1)[0]",
	} {
		if got, err := s.value(expression); err == nil {
			t.Errorf("%s: %v", expression, got)
		}
	}
}

func TestOnlyReadsOutsideOfConditionsAreUnguarded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"[reference('v').a]":                                     true,
		"[if(variables('has'), reference('v').a, '')]":           false,
		"[concat(if(true(), 'x', ''), reference('v').a)]":        true,
		"[format('reference(''v'').a {0}', if(true(), 1, 2))]":   false,
		"[if(x(), createObject('value', reference('v').a), '')]": false,
	} {
		if got := Unguarded(text, "reference('v')"); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
