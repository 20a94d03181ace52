package parity

func modelShapes() []shape {
	location, tags := same("location", "location", "location"), same("tags", "tags", "tags")
	return []shape{
		{"Microsoft.CognitiveServices/accounts", []string{"azurerm_cognitive_account"}, []field{
			location, tags, same("kind", "kind", "kind"), same("sku", "sku|name", "sku_name"),
			same("subdomain", "properties|customSubDomainName", "custom_subdomain_name"),
			{"keys refused", "properties|disableLocalAuth", "local_auth_enabled", nil, not},
			{"public address", "properties|publicNetworkAccess", "public_network_access_enabled", isEnabled, nil},
			same("network default", "properties|networkAcls|defaultAction", "network_acls|0|default_action"),
		}},
		{"Microsoft.CognitiveServices/accounts/deployments", []string{"azurerm_cognitive_deployment"}, []field{
			same("model", "properties|model|name", "model|0|name"), same("version", "properties|model|version", "model|0|version"),
			same("format", "properties|model|format", "model|0|format"), same("sku", "sku|name", "sku|0|name"),
			same("capacity", "sku|capacity", "sku|0|capacity"), same("filter", "properties|raiPolicyName", "rai_policy_name"),
			same("upgrade", "properties|versionUpgradeOption", "version_upgrade_option"),
			same("spillover", "properties|spilloverDeploymentName", ""),
		}},
		{"Microsoft.CognitiveServices/accounts/raiPolicies", []string{"azurerm_cognitive_account_rai_policy"}, []field{
			same("base", "properties|basePolicyName", "base_policy_name"), same("mode", "properties|mode", "mode"),
			{"filters", "properties|contentFilters", "content_filter", armFilters, tfFilters},
		}},
	}
}

// A filter on both sides: name, source, threshold, blocking, enabled.
func armFilters(v any) any {
	return eachItem(v, "name", "source", "severityThreshold", "blocking", "enabled")
}

func tfFilters(v any) any {
	return eachItem(v, "name", "source", "severity_threshold", "block_enabled", "filter_enabled")
}

// eachItem makes a list of lists: the named members of each item, in this order.
func eachItem(v any, members ...string) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, len(list))
	for i, item := range list {
		row := make([]any, len(members))
		for j, m := range members {
			row[j] = Get(item, m)
		}
		out[i] = row
	}
	return out
}
