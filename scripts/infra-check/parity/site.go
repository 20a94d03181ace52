package parity

import "spillway/scripts/infra-check/plan"

// tfSite brings both function app resources of azurerm to the facts of a site.
func tfSite(inv Inventory, i plan.Instance) {
	v, subject := i.Values, "site "+i.Name
	flex := i.Type == "azurerm_function_app_flex_consumption"
	facts := map[string]any{
		"location": v["location"], "tags": v["tags"], "https only": v["https_only"], "plan": v["service_plan_id"],
		"tls": Get(v, "site_config|0|minimum_tls_version"), "scm tls": Get(v, "site_config|0|scm_minimum_tls_version"),
		"http2": Get(v, "site_config|0|http2_enabled"), "default action": Get(v, "site_config|0|ip_restriction_default_action"),
		"scm shares restrictions": Get(v, "site_config|0|scm_use_main_ip_restriction"),
		"public address":          v["public_network_access_enabled"], "identity": Get(v, "identity|0|identity_ids|0"),
		"subnet": v["virtual_network_subnet_id"], "scm publishing by password": v["webdeploy_publish_basic_authentication_enabled"],
	}
	if flex {
		facts["runtime"], facts["runtime version"] = v["runtime_name"], v["runtime_version"]
		facts["memory"], facts["most instances"] = v["instance_memory_in_mb"], v["maximum_instance_count"]
		facts["concurrency"], facts["package"] = v["http_concurrency"], v["storage_container_endpoint"]
		facts["package identity"] = v["storage_user_assigned_identity_id"]
		if ready := emptyIsNone(v["always_ready"]); ready != nil {
			facts["always ready"] = eachItem(ready, "name", "instance_count")
		}
	} else {
		facts["vault identity"] = v["key_vault_reference_identity_id"]
		facts["ftp publishing by password"] = v["ftp_publish_basic_authentication_enabled"]
		facts["health path"] = Get(v, "site_config|0|health_check_path")
		facts["minimum instances"] = Get(v, "site_config|0|elastic_instance_minimum")
		facts["scale limit"] = Get(v, "site_config|0|app_scale_limit")
	}
	for fact, value := range facts {
		if value != nil {
			inv.add(subject, fact, value)
		}
	}
	inv.add(subject, "restrictions", tfRestrictions(v))
	for name, value := range Settings(i) {
		inv.add("settings of "+i.Name, name, value)
	}
}

// Settings are the app settings that a function app ends up with: the given ones and those that the provider adds.
func Settings(i plan.Instance) map[string]any {
	out := map[string]any{}
	given, _ := i.Values["app_settings"].(map[string]any)
	for name, v := range given {
		if name != "AzureWebJobsStorage" || v != "" {
			out[name] = v
		}
	}
	out["APPLICATIONINSIGHTS_CONNECTION_STRING"] = Get(i.Values, "site_config|0|application_insights_connection_string")
	if i.Type == "azurerm_linux_function_app" {
		out["AzureWebJobsStorage__accountName"] = i.Values["storage_account_name"]
		out["FUNCTIONS_EXTENSION_VERSION"] = i.Values["functions_extension_version"]
		if Get(i.Values, "site_config|0|application_stack|0|use_custom_runtime") == true {
			out["FUNCTIONS_WORKER_RUNTIME"] = "custom"
		}
	}
	return out
}

func tfRestrictions(v map[string]any) any {
	var rules []any
	list, _ := Get(v, "site_config|0|ip_restriction").([]any)
	for _, r := range list {
		source := Get(r, "ip_address")
		if source == nil {
			source = Get(r, "service_tag")
		}
		rules = append(rules, []any{Get(r, "name"), Get(r, "priority"), Get(r, "action"), source, Get(r, "headers|0|x_azure_fdid")})
	}
	return rules
}
