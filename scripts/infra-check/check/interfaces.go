package check

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"spillway/scripts/infra-check/parity"
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
		case parity.Canonical(p.Default) != parity.Canonical(other):
			r.findings.Add("parity", "main.bicep", "the default of %s is %s in Bicep and %s in Terraform", name, parity.Canonical(p.Default), parity.Canonical(other))
		}
	}
	for name := range r.defaults {
		if !seen[name] && !slices.Contains(onlyTerraform(), name) {
			r.findings.Add("parity", "variables.tf", "variable %s has no parameter in Bicep", name)
		}
	}
	folders, _ := filepath.Glob(filepath.Join(r.root, "infra/terraform/modules/*")) // the pattern is well formed
	for _, folder := range append(folders, filepath.Join(r.root, "infra/terraform")) {
		r.unused(folder)
	}
}

var declared = regexp.MustCompile(`(?m)^variable "(\w+)"`)

// unused looks for variables of a module that nothing reads: Terraform accepts them.
func (r *run) unused(folder string) {
	var text []byte
	files, _ := filepath.Glob(filepath.Join(folder, "*.tf")) // the pattern is well formed
	for _, file := range files {
		b, err := os.ReadFile(file) //nolint:gosec // a file of the tree that is checked
		if err != nil {
			r.findings.Add("read", file, "%v", err)
		}
		text = append(text, b...)
	}
	for _, m := range declared.FindAllSubmatch(text, -1) {
		if !regexp.MustCompile(`\bvar\.` + string(m[1]) + `\b`).Match(text) {
			r.findings.Add("tf-names", strings.TrimPrefix(folder, r.root+"/"), "nothing reads the variable %s", m[1])
		}
	}
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
