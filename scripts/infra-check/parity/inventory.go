// Package parity compares what the Bicep and the Terraform of one example come to: the same resources with the same app settings,
// roles, skus, locks and rules. It knows which ARM property is which Terraform argument; what is not listed here is not compared.
package parity

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/plan"
)

// Inventory is facts by subject: "storageAccounts/st…" to "sku" to a canonical text.
type Inventory map[string]map[string]string

func (inv Inventory) add(subject, fact string, v any) {
	if inv[subject] == nil {
		inv[subject] = map[string]string{}
	}
	inv[subject][fact] = Canonical(v)
}

// OfBicep takes the facts out of a preview.
func OfBicep(resources []arm.Resource) Inventory {
	inv := Inventory{}
	for _, r := range resources {
		for _, s := range shapes() {
			if s.arm == r.Type {
				s.take(inv, r.Name, r.Body, func(f field) (string, convert) { return f.arm, f.armAs })
			}
		}
		ofBicepSpecial(inv, r, r.Body)
	}
	return inv
}

// OfTerraform takes the facts out of a plan.
func OfTerraform(instances []plan.Instance) Inventory {
	inv := Inventory{}
	for _, i := range instances {
		for _, s := range shapes() {
			if slices.Contains(s.tf, i.Type) {
				s.take(inv, i.Name, i.Values, func(f field) (string, convert) { return f.tf, f.tfAs })
			}
		}
		ofTerraformSpecial(inv, i)
	}
	return inv
}

// Compare adds a finding for every fact that differs between Bicep and Terraform.
func Compare(example string, b, t Inventory, out *finding.List) {
	for _, subject := range union(b, t) {
		switch {
		case b[subject] == nil:
			out.Add("parity", example, "only Terraform makes %s", subject)
		case t[subject] == nil:
			out.Add("parity", example, "only Bicep makes %s", subject)
		default:
			for _, fact := range union(b[subject], t[subject]) {
				if x, y := orNone(b[subject], fact), orNone(t[subject], fact); x != y {
					out.Add("parity", example, "%s: %s is %s in Bicep and %s in Terraform", subject, fact, x, y)
				}
			}
		}
	}
}

func orNone(facts map[string]string, fact string) string {
	if v, ok := facts[fact]; ok {
		return v
	}
	return "absent"
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// Get walks "sku|0|name" through maps and lists; names of properties may hold dots. It is nil where nothing is.
func Get(v any, path string) any {
	if path == "" {
		return nil
	}
	for step := range strings.SplitSeq(path, "|") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n >= len(x) {
				return nil
			}
			v = x[n]
		default:
			return nil
		}
	}
	return v
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// Canonical is JSON with sorted members, for comparisons. Texts that are JSON themselves are read first.
func Canonical(v any) string {
	if s, ok := v.(string); ok && strings.HasPrefix(s, "{") {
		var inner any
		if json.Unmarshal([]byte(s), &inner) == nil {
			v = inner
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
