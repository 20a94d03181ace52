package document

import (
	"strings"
	"testing"
)

// reportOf checks a document and returns its faults and warnings as lines.
func reportOf(t *testing.T, text string) (faults, warnings string) {
	t.Helper()
	r := new(Report)
	d := r.Read("", []byte(text))
	if d == nil {
		t.Fatalf("%s: %v", text, r.Faults)
	}
	r.Check(d, "")
	for _, f := range r.Faults {
		faults += f.String() + "\n"
	}
	for _, w := range r.Warnings {
		warnings += w.String() + "\n"
	}
	return faults, warnings
}

// fenced is a document with these members of backends a and b and of its consumer.
func fenced(a, b, consumer, more string) string {
	return `{"backends": [
		{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": ["m"]` + a + `},
		{"name": "b", "endpoint": "https://b.openai.azure.com", "deployments": ["m"]` + b + `}],
		"consumers": [{"name": "c", "keySetting": "K"` + consumer + `}]` + more + `}`
}

func TestFencesThatCannotBeMet(t *testing.T) {
	eu, us := `, "geography": "eu"`, `, "geography": "us"`
	for name, c := range map[string]struct {
		text           string
		fault, warning string // what one of them has; "" = there are none
	}{
		"met":                                   {fenced(eu, us, `, "geographies": ["eu"]`, ""), "", ""},
		"a geography of nobody":                 {fenced(eu, us, `, "geographies": ["uk"]`, ""), `"uk" is the geography of no backend. Write "geography": "uk" at the backends`, ""},
		"no geographies at all":                 {fenced("", "", `, "geographies": ["uk"]`, ""), `"uk" is the geography of no backend. Write "geography": "uk"`, "no geography"},
		"a model outside":                       {fenced(eu, us+`, "deployments": ["n"]`[:0], `, "geographies": ["us"], "minPriority": 5`, ""), "minPriority, 5, on and in its geographies, us", ""},
		"a priority of nobody":                  {fenced("", "", `, "minPriority": 2`, ""), "minPriority, 2, on", ""},
		"met by a drained backend only":         {fenced(eu+`, "weight": 0`, us, `, "geographies": ["eu"]`, ""), "", "reaches drained backends only"},
		"met by a drained backend only, models": {fenced(`, "priority": 2, "weight": 0`, "", `, "minPriority": 2, "models": ["m"]`, ""), "", `"m" reaches drained backends only`},
		"not met in a region":                   {fenced(`, "priority": 2, "priorityIn": {"West Europe": 1}`, `, "priority": 1`, `, "minPriority": 2`, ""), "in region westeurope, this consumer has no backend", ""},
		"met in a region only":                  {fenced(`, "priorityIn": {"westeurope": 3}`, "", `, "minPriority": 3`, ""), "in regions that no priorityIn names, this consumer", ""},
		"null":                                  {fenced(eu, us, `, "geographies": null`, ""), "", "consumers[0].geographies"},
		"null elsewhere":                        {fenced(eu, us, "", `, "models": {"m": {"fallbacks": null}}`), "", "models.m.fallbacks"},
		"a backend in no geography":             {fenced(eu, "", `, "geographies": ["eu"]`, ""), "", "backends[1]"},
		"one deployment in two geographies": {
			strings.Replace(fenced(eu, us, "", ""), "https://b", "https://a", 1),
			`is "us" for the deployment that backend "a" has in "eu"`, "",
		},
		"one deployment in two geographies, by any name": {`{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com", "geography": "eu"},
			{"name": "b", "endpoint": "https://A.openai.azure.com/", "geography": "us", "deployments": ["m"]}], "consumers": [{"name": "c", "keySetting": "K"}]}`, `has in "eu"`, "same deployment"},
		"a model that nobody reaches":    {strings.Replace(fenced(eu, us, `, "models": ["m"]`, ""), `["m"], "geography": "us"`, `["m", "n"], "geography": "us"`, 1), "", `offers "n", which no consumer reaches`},
		"a model outside every fence":    {strings.Replace(fenced(eu, us, `, "geographies": ["eu"]`, ""), `["m"], "geography": "us"`, `["m", "n"], "geography": "us"`, 1), "", `offers "n", which no consumer reaches`},
		"a fallback that nobody reaches": {strings.Replace(strings.Replace(fenced(eu, us, `, "models": ["m"]`, `, "models": {"m": {"fallbacks": ["n"]}}`), `["m"], "geography": "us"`, `["m", "n"], "geography": "us"`, 1), `"consumers": [`, `"consumers": [{"name": "d", "keySetting": "D", "models": ["n"]}, `, 1), "", `"n" is never reached`},
		"two entries of a model":         {fenced(eu, us, "", `, "models": {"m": {}, "M": {}}`), `"M" is the same model as "m"`, ""},
		"a deployment in another case":   {strings.Replace(fenced(eu, us, "", ""), `["m"], "geography": "us"`, `["M"], "geography": "us"`, 1), "", `"M" is the model "m"`},
		"a deployment twice":             {strings.Replace(fenced(eu, us, "", ""), `["m"], "geography": "us"`, `["m", "M"], "geography": "us"`, 1), `"M" is named twice`, ""},
		"an alias in another case":       {fenced(eu, us, "", `, "models": {"m": {"aliases": ["M"]}}`), `"M" is the name of a model`, ""},
		"limits twice":                   {fenced(eu, us, `, "perModel": {"M": {"requestsPerMinute": 1}, "m": {"requestsPerMinute": 2}}`, ""), `"m" is the same model as "M"`, ""},
		"a model of a consumer twice":    {fenced(eu, us, `, "models": ["m", "M"]`, ""), "", `"M" is named twice`},
		"own models in another case":     {fenced(eu, us, `, "models": ["M"], "perModel": {"M": {"requestsPerMinute": 1}}`, ""), "", ""},
		"a token of two consumers": {
			strings.Replace(fenced(eu, us, `, "entra": {"role": "R"}`, ""), `"consumers": [`, `"consumers": [{"name": "d", "entra": {"appId": "11111111-2222-3333-4444-555555555555"}}, `, 1),
			"", `can match the same token as that of consumer "d"`,
		},
		"two rules that are one": {strings.Replace(fenced(eu, us, `, "entra": {"group": "ab"}`, ""), `"consumers": [`, `"consumers": [{"name": "d", "entra": {"group": "AB"}}, `, 1), `is the same as that of consumer "d"`, ""},
		"tokens of two applications": {
			strings.Replace(fenced(eu, us, `, "entra": {"appId": "11111111-2222-3333-4444-555555555556"}`, ""), `"consumers": [`, `"consumers": [{"name": "d", "entra": {"appId": "11111111-2222-3333-4444-555555555555"}}, `, 1),
			"", "",
		},
	} {
		faults, warnings := reportOf(t, c.text)
		if !strings.Contains(faults, c.fault) || (c.fault == "") != (faults == "") {
			t.Errorf("%s: faults %q, want %q", name, faults, c.fault)
		}
		if !strings.Contains(warnings, c.warning) || (c.warning == "") != (warnings == "") {
			t.Errorf("%s: warnings %q, want %q", name, warnings, c.warning)
		}
		for _, advice := range []string{"Widen", "lower", "Lower", "geographies.", "Remove geograph", "Remove minPriority"} {
			if strings.Contains(faults+warnings, advice) {
				t.Errorf("%s: advises to take a fence down: %s%s", name, faults, warnings)
			}
		}
	}
}

// Limits of a model that only "*" serves are those of its own pool, at the price of
// "*".
func TestLimitedModelOfTheWildcardHasItsOwnPool(t *testing.T) {
	r := new(Report)
	d := r.Read("", []byte(`{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com"}], "models": {"*": {"strategy": "least-busy"}},
		"consumers": [{"name": "c", "keySetting": "K", "perModel": {"Llama": {"requestsPerMinute": 1}}}]}`))
	r.Check(d, "")
	l := NewLayout(d, "")
	if model, ok := l.Model("LLAMA"); !ok || model != "Llama" || len(l.Models) != 2 || l.Entry(model).Strategy != "least-busy" || len(r.Faults) > 0 {
		t.Errorf("%q, %v, %v, %v", model, l.Models, l.Entry(model), r.Faults)
	}
}

func TestAdoption(t *testing.T) {
	t.Parallel()
	eu := `, "geography": "eu"`
	for name, c := range map[string]struct{ text, fault string }{ // "" = there is none
		"a consumer":                         {fenced(`, "adopt": "c"`, "", "", ""), ""},
		"a stateful backend":                 {fenced(`, "adopt": "c", "stateful": true`+eu, eu, `, "geographies": ["eu"]`, ""), ""},
		"nobody":                             {fenced(`, "adopt": "d"`, "", "", ""), `"d" is the name of no consumer`},
		"almost a consumer":                  {strings.Replace(fenced(`, "adopt": "team-b"`, "", "", ""), `"name": "c"`, `"name": "team-a"`, 1), `Did you mean "team-a"?`},
		"a consumer in another case":         {fenced(`, "adopt": "C"`, "", "", ""), `Did you mean "c"?`},
		"no name":                            {fenced(`, "adopt": "c d"`, "", "", ""), "the name of a consumer"},
		"outside the geographies":            {fenced(`, "adopt": "c", "geography": "us"`, eu, `, "geographies": ["eu"]`, ""), "whose geographies this backend is not in"},
		"a backend that keeps nothing":       {fenced(`, "adopt": "c", "kind": "openai", "auth": {"mode": "none"}`, "", "", ""), "has nothing to adopt"},
		"a compatible backend that keeps":    {fenced(`, "adopt": "c", "kind": "openai", "auth": {"mode": "none"}, "stateful": true`, "", "", ""), ""},
		"two consumers of one resource":      {two(`, "adopt": "c"`, `, "adopt": "d"`), `names another consumer than backend "a" of the same resource`},
		"one consumer of one resource twice": {two(`, "adopt": "c"`, `, "adopt": "c"`), ""},
	} {
		faults, _ := reportOf(t, c.text)
		if !strings.Contains(faults, c.fault) || (c.fault == "") != (faults == "") {
			t.Errorf("%s: faults %q, want %q", name, faults, c.fault)
		}
	}
}

// two is a document with two consumers, and these members of two backends of one
// resource.
func two(a, b string) string {
	text := strings.Replace(fenced(a, b, "", ""), `"consumers": [`, `"consumers": [{"name": "d", "keySetting": "D"}, `, 1)
	return strings.Replace(text, `https://b.openai.azure.com", "deployments": ["m"]`, `https://A.openai.azure.com/", "deployments": ["n"]`, 1)
}
