package arm

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

type object map[string]any

func (o object) Keys() []string { return slices.Sorted(maps.Keys(o)) }

func (o object) Get(k string) (Value, bool) {
	v, ok := o[k]
	return v, ok
}

func plan(change func(object)) object {
	o := object{
		"name": "p", "location": "x", "kind": "functionapp", "sku": object{"name": "FC1", "tier": "FlexConsumption"},
		"properties": object{"reserved": true, "maximumElasticWorkerCount": int64(3)},
	}
	change(o)
	return o
}

func TestBodiesAreHeldAgainstTheirType(t *testing.T) {
	t.Parallel()
	s, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	body, name := s.Lookup("microsoft.web/serverFarms@2024-11-01")
	if name != "Microsoft.Web/serverfarms@2024-11-01" {
		t.Fatalf("the type is %q", name)
	}
	for want, change := range map[string]func(object){
		"":                                       func(object) {},
		"propertys no such property":             func(o object) { o["propertys"] = object{} },
		"properties.reserved a string":           func(o object) { o["properties"] = object{"reserved": "true"} },
		"properties.maximumElasticWorkerCount a": func(o object) { o["properties"] = object{"maximumElasticWorkerCount": true} },
		"properties an array where an object":    func(o object) { o["properties"] = []any{} },
		"properties.status is read-only":         func(o object) { o["properties"] = object{"status": "Ready"} },
		"location is required":                   func(o object) { delete(o, "location") },
	} {
		problems := s.Check(plan(change), body)
		if want == "" {
			if len(problems) > 0 {
				t.Errorf("a good body: %v", problems)
			}
			continue
		}
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Path+" "+problems[0].Message, want) {
			t.Errorf("want %q, have %v", want, problems)
		}
	}
}

func TestNearMissesAreNamed(t *testing.T) {
	t.Parallel()
	s, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	body, _ := s.Lookup("Microsoft.Web/serverfarms@2024-11-01")
	problems := s.Check(plan(func(o object) { o["locations"] = "x"; o["properties"] = object{"Reserved": true} }), body)
	said := ""
	for _, p := range problems {
		said += p.Message + "\n"
	}
	if !strings.Contains(said, "did you mean 'reserved'") || !strings.Contains(said, "did you mean 'location'") {
		t.Error(said)
	}
}
