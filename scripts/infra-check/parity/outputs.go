package parity

import (
	"maps"

	"spillway/scripts/infra-check/finding"
)

// CompareOutputs compares what both languages hand back: the same names, and the same values where both are known.
func CompareOutputs(example string, b, t map[string]any, out *finding.List) {
	for _, name := range union(b, t) {
		x, inBicep := b[name]
		y, inTerraform := t[name]
		switch {
		case !inTerraform:
			out.Add("parity", example, "only Bicep has the output %s", name)
		case !inBicep:
			out.Add("parity", example, "only Terraform has the output %s", name)
		case name == "AZURE_TENANT_ID" || name == "DNS_NAME_SERVERS":
		default:
			if p, q := Canonical(compared(x)), Canonical(compared(y)); p != q {
				out.Add("parity", example, "output %s is %s in Bicep and %s in Terraform", name, p, q)
			}
		}
	}
}

// compared leaves out of an object of outputs what the two languages come to by different means: the tenant, addresses of containers,
// which have an output of their own that is compared, and name servers, which Azure makes up.
func compared(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := maps.Clone(object)
	delete(out, "tenantId")
	delete(out, "dnsNameServers")
	delete(out, "packageContainers")
	return out
}
