package parity

import (
	"maps"
	"strings"

	"spillway/scripts/infra-check/bicep"
	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/tf"
)

// CompareOutputs compares what both languages hand back: the same names, and the same values where both are known.
func CompareOutputs(example string, b map[string]bicep.Value, t map[string]any, out *finding.List) {
	for _, name := range union(keys(b), keys(t)) {
		x, inBicep := b[name]
		y, inTerraform := t[name]
		switch {
		case !inTerraform:
			out.Add("parity", example, "only Bicep has the output %s", name)
		case !inBicep:
			out.Add("parity", example, "only Terraform has the output %s", name)
		case name == "AZURE_TENANT_ID" || y == tf.Unknown:
		default:
			if p, q := bicep.Canonical(compared(bicep.Plain(x))), bicep.Canonical(compared(y)); p != q && !strings.Contains(q, tf.Unknown) {
				out.Add("parity", example, "output %s is %s in Bicep and %s in Terraform", name, p, q)
			}
		}
	}
}

// compared leaves out of an object of outputs what the two languages come to by different means: the tenant, and addresses of containers,
// which have an output of their own that is compared.
func compared(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := maps.Clone(object)
	delete(out, "tenantId")
	delete(out, "packageContainers")
	return out
}

func keys[V any](m map[string]V) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}
