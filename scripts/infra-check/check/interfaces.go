package check

import (
	"strings"
	"unicode"

	"spillway/scripts/infra-check/bicep"
)

// onlyBicep and onlyTerraform are the parameters that one language alone has, with the reason in infra/README.md.
func onlyBicep() []string     { return []string{"restoreAccounts", "recoverVault", "secretNames"} }
func onlyTerraform() []string { return []string{"subscription_id", "purge_accounts_on_destroy"} }

// interfaces compares names and defaults of the parameters.
func (r *run) interfaces() {
	b, t := r.bicep.Defaults("main.bicep"), r.tf.Defaults()
	seen := map[string]bool{}
	for name, value := range b {
		snake := Snake(name)
		seen[snake] = true
		other, ok := t[snake]
		switch {
		case contains(onlyBicep(), name):
		case !ok:
			r.findings.Add("parity", "main.bicep", "parameter %s has no variable %s in Terraform", name, snake)
		case bicep.Canonical(value) != bicep.Canonical(other):
			r.findings.Add("parity", "main.bicep", "the default of %s is %s in Bicep and %s in Terraform", name, bicep.Canonical(value), bicep.Canonical(other))
		}
	}
	for name := range t {
		if !seen[name] && !contains(onlyTerraform(), name) {
			r.findings.Add("parity", "variables.tf", "variable %s has no parameter in Bicep", name)
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Snake turns openAiSuffix into open_ai_suffix.
func Snake(camel string) string {
	var b strings.Builder
	for _, c := range camel {
		if unicode.IsUpper(c) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
