package rules

import (
	"fmt"
	"slices"
	"strings"

	"spillway/scripts/infra-check/bicep"
	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/tf"
)

const deployments = "Microsoft.CognitiveServices/accounts/deployments"

// Bicep holds worked-out Bicep against what a set of facts cannot show: order.
func Bicep(example string, instances []*bicep.Instance, out *finding.List) {
	made := map[string][]string{}
	for _, i := range instances {
		if i.Type != deployments && i.Type != "Microsoft.CognitiveServices/accounts/raiPolicies" {
			continue
		}
		if !oneByOne(i.Decl) {
			out.Add("rule-serial", i.Decl.Pos.String(), "%s: needs @batchSize(1): parallel writes to one account are refused with 409", i.Decl.Name)
		}
		if i.Type != deployments {
			continue
		}
		if !slices.Contains(i.After, "policies") {
			out.Add("rule-serial", i.Decl.Pos.String(), "%s must wait for the content filters", i.Decl.Name)
		}
		account, name, _ := strings.Cut(i.Name, "/")
		if target, ok := i.Body.Find("properties.spilloverDeploymentName").(string); ok && !slices.Contains(made[account], target) {
			out.Add("rule-serial", example, "%s spills over to %s, which is not made before it", i.Name, target)
		}
		made[account] = append(made[account], name)
	}
}

func oneByOne(r *bicep.Resource) bool {
	if _, loops := r.Value.(*bicep.For); !loops {
		return false
	}
	return slices.ContainsFunc(r.Decorators, func(d bicep.Decorator) bool {
		if d.Name != "batchSize" || len(d.Args) != 1 {
			return false
		}
		n, ok := d.Args[0].(*bicep.Literal)
		return ok && n.Value == int64(1)
	})
}

// Terraform holds worked-out Terraform against the same: azurerm locks the account itself; azapi has to be told, and to come afterwards.
func Terraform(example string, instances []tf.Instance, out *finding.List) {
	for _, i := range instances {
		if i.Type != "azapi_resource" || !strings.HasPrefix(fmt.Sprint(i.Values["type"]), deployments) {
			continue
		}
		locks, _ := i.Values["locks"].([]any)
		if len(locks) != 1 || locks[0] != i.Values["parent_id"] {
			out.Add("rule-serial", i.Where, "%s: locks must name the account", i.Address)
		}
		if !slices.Contains(i.After, "azurerm_cognitive_deployment.this") {
			out.Add("rule-serial", i.Where, "%s: must depend on azurerm_cognitive_deployment.this: another provider's lock is not shared", i.Address)
		}
	}
	for _, i := range instances {
		if i.Type == "azurerm_cognitive_deployment" && !slices.Contains(i.After, "azurerm_cognitive_account_rai_policy.this") {
			out.Add("rule-serial", i.Where, "%s: must depend on the content filters", i.Address)
		}
		if strings.HasSuffix(i.Type, "function_app_flex_consumption") && !slices.Contains(i.After, "azurerm_role_assignment.host") {
			out.Add("rule-serial", i.Where, "%s: must depend on the role on its storage", i.Address)
		}
	}
}
