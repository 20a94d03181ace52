package rules

import (
	"slices"
	"strings"

	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/parity"
	"spillway/scripts/infra-check/plan"
)

const (
	deployments = "Microsoft.CognitiveServices/accounts/deployments"
	filters     = "Microsoft.CognitiveServices/accounts/raiPolicies"
)

// Terraform holds a plan against what a set of facts cannot show: order. azurerm locks the account itself; azapi has to be told, and
// to come afterwards.
func Terraform(example string, instances []plan.Instance, out *finding.List) {
	after := func(i plan.Instance, what ...string) bool {
		return slices.ContainsFunc(i.After, func(address string) bool {
			return slices.ContainsFunc(what, func(w string) bool { return strings.HasSuffix(address, w) })
		})
	}
	for _, i := range instances {
		if update := parity.Get(i.Values, "timeouts|update"); update != "60m" && slices.Contains([]string{"azurerm_cognitive_account", "azurerm_cognitive_deployment"}, i.Type) {
			out.Add("rule-serial", example, "%s: an update may take %v: deployments of one account are written one by one, and need 60m", i.Address, update)
		}
		kind, _ := i.Values["type"].(string)
		if i.Type == "azapi_resource" && strings.HasPrefix(kind, deployments) {
			locks, _ := i.Values["locks"].([]any)
			if len(locks) != 1 || locks[0] != i.Values["parent_id"] {
				out.Add("rule-serial", example, "%s: locks must name the account", i.Address)
			}
			if !after(i, "azurerm_cognitive_deployment.this") {
				out.Add("rule-serial", example, "%s: must depend on azurerm_cognitive_deployment.this: another provider's lock is not shared", i.Address)
			}
		}
		if i.Type == "azurerm_cognitive_deployment" && !after(i, "azurerm_cognitive_account_rai_policy.this") {
			out.Add("rule-serial", example, "%s: must depend on the content filters", i.Address)
		}
		// Azure refuses a private endpoint while a deployment of the account is being written. In Bicep the module's outputs wait by themselves.
		if i.Type == "azurerm_private_endpoint" && (!after(i, "azurerm_cognitive_deployment.this") || !after(i, "azapi_resource.spilling")) {
			out.Add("rule-serial", example, "%s: must depend on the deployments of the accounts", i.Address)
		}
		if strings.HasSuffix(i.Type, "function_app_flex_consumption") && !after(i, "azurerm_role_assignment.host") {
			out.Add("rule-serial", example, "%s: must depend on the role on its storage", i.Address)
		}
	}
}
