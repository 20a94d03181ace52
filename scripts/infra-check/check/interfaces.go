package check

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"spillway/scripts/infra-check/hclfile"
)

// onlyBicep and onlyTerraform are the parameters that one language alone has, with the reason in infra/README.md.
func onlyBicep() []string     { return []string{"restoreAccounts", "recoverVault", "secretNames"} }
func onlyTerraform() []string { return []string{"subscription_id", "purge_accounts_on_destroy"} }

// interfaces compares names and defaults of the parameters, and looks for what nothing reads.
func (r *run) interfaces() {
	seen := map[string]bool{}
	for name, p := range r.main.Parameters {
		snake := Snake(name)
		seen[snake] = true
		other, ok := r.defaults[snake]
		switch {
		case slices.Contains(onlyBicep(), name):
		case !ok:
			r.findings.Add("parity", "main.bicep", "parameter %s has no variable %s in Terraform", name, snake)
		case asJSON(p.Default) != asJSON(other):
			r.findings.Add("parity", "main.bicep", "the default of %s is %s in Bicep and %s in Terraform", name, asJSON(p.Default), asJSON(other))
		}
	}
	for name := range r.defaults {
		if !seen[name] && !slices.Contains(onlyTerraform(), name) {
			r.findings.Add("parity", "variables.tf", "variable %s has no parameter in Bicep", name)
		}
	}
	folders, _ := filepath.Glob(filepath.Join(r.root, "infra/terraform/modules/*")) // the pattern is well formed
	for _, folder := range append(folders, filepath.Join(r.root, "infra/terraform")) {
		files, _ := filepath.Glob(filepath.Join(folder, "*.tf")) // the pattern is well formed
		unused, err := hclfile.Unused(files)
		if err != nil {
			r.findings.Add("tf-names", folder, "%v", err)
		}
		for _, name := range unused {
			r.findings.Add("tf-names", strings.TrimPrefix(folder, r.root+"/"), "nothing reads %s", name)
		}
	}
}

func asJSON(v *any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
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
