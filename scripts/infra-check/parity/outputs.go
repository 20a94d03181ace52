package parity

import (
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
			if p, q := bicep.Canonical(bicep.Plain(x)), bicep.Canonical(y); p != q && !strings.Contains(q, tf.Unknown) {
				out.Add("parity", example, "output %s is %s in Bicep and %s in Terraform", name, p, q)
			}
		}
	}
}

func keys[V any](m map[string]V) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}
