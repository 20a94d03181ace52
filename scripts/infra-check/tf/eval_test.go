package tf

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"spillway/scripts/infra-check/finding"
)

// expand works a configuration out that is given as text, file by file.
func expand(t *testing.T, files map[string]string, variables map[string]cty.Value) (*Result, []finding.Finding) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var findings finding.List
	result := NewProgram(dir, &findings).Expand(variables)
	return result, findings.Sorted()
}

func TestModulesLocalsAndLoopsWorkOut(t *testing.T) {
	t.Parallel()
	result, findings := expand(t, map[string]string{
		"main.tf": `
variable "regions" { type = list(string) }
variable "shape" {
  type = object({ a = string, b = optional(number) })
  default = { a = "x" }
}
locals {
  tags = { env = "t" }
}
module "group" {
  source   = "./group"
  for_each = { for i, r in var.regions : r => i }
  region   = each.key
  number   = each.value
  tags     = local.tags
}
output "ids" { value = { for k, g in module.group : k => g.id } }
output "b" { value = var.shape.b == null ? "none" : var.shape.b }
`,
		"group/main.tf": `
variable "region" { type = string }
variable "number" { type = number }
variable "tags" { type = map(string) }
resource "azurerm_resource_group" "this" {
  count    = var.number == 1 ? 0 : 1
  name     = "rg-${var.number}"
  location = var.region
  tags     = var.tags
}
output "id" { value = one([for g in azurerm_resource_group.this : g.id]) }
`,
	}, map[string]cty.Value{"regions": cty.TupleVal([]cty.Value{cty.StringVal("x"), cty.StringVal("y"), cty.StringVal("z")})})
	// one() is not among the functions: the finding says so, and nothing else is found.
	if len(findings) != 1 || !strings.Contains(findings[0].Message, "one") {
		t.Fatal(findings)
	}
	var got []string
	for _, i := range result.Instances {
		got = append(got, i.Address+" "+i.Name)
	}
	if want := `module.group["x"].azurerm_resource_group.this[0] rg-0,module.group["z"].azurerm_resource_group.this[0] rg-2`; strings.Join(got, ",") != want {
		t.Errorf("%v", got)
	}
	if result.Outputs["b"] != "none" {
		t.Errorf("an optional attribute that is not given is %v", result.Outputs["b"])
	}
}

func TestDynamicBlocksRepeat(t *testing.T) {
	t.Parallel()
	result, findings := expand(t, map[string]string{"main.tf": `
resource "azurerm_monitor_action_group" "people" {
  name                = "ag"
  resource_group_name = "rg"
  short_name          = "s"
  dynamic "email_receiver" {
    for_each = ["a@b", "c@d"]
    content {
      name          = "p-${email_receiver.key}"
      email_address = email_receiver.value
    }
  }
}
`}, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	b, err := json.Marshal(result.Instances[0].Values["email_receiver"])
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"email_address":"a@b","name":"p-0"},{"email_address":"c@d","name":"p-1"}]`; string(b) != want {
		t.Errorf("%s", b)
	}
}

func TestFaultsAreFoundWhereTheyStand(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		`main.tf:1: there is no local.b [tf-names]`:             "output \"x\" { value = local.b }\nlocals { a = 1 }\noutput \"y\" { value = local.a }",
		`main.tf:1: local.a refers to itself [tf-names]`:        "locals { a = local.a }",
		`main.tf:1: root: variable v gets no value [tf-wiring]`: "variable \"v\" { type = string }\noutput \"x\" { value = var.v }",
		`.: no .tf files`: "",
	} {
		files := map[string]string{"main.tf": text}
		if text == "" {
			files = map[string]string{"readme": ""}
		}
		_, findings := expand(t, files, nil)
		found := false
		for _, f := range findings {
			found = found || strings.HasPrefix(f.String(), want)
		}
		if !found {
			t.Errorf("want %q, have %v", want, findings)
		}
	}
}
