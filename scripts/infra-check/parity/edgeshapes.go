package parity

func edgeShapes() []shape {
	tags := same("tags", "tags", "tags")
	on := func(v any) any { return v == nil || v == true || v == "Enabled" }
	return []shape{
		{"Microsoft.Cdn/profiles", []string{"azurerm_cdn_frontdoor_profile"}, []field{
			tags, same("sku", "sku|name", "sku_name"), same("timeout", "properties|originResponseTimeoutSeconds", "response_timeout_seconds"),
		}},
		{"Microsoft.Cdn/profiles/afdEndpoints", []string{"azurerm_cdn_frontdoor_endpoint"}, []field{
			tags, {"on", "properties|enabledState", "enabled", on, on},
		}},
		{"Microsoft.Cdn/profiles/originGroups", []string{"azurerm_cdn_frontdoor_origin_group"}, []field{
			{"affinity", "properties|sessionAffinityState", "session_affinity_enabled", isEnabled, nil},
			same("probe path", "properties|healthProbeSettings|probePath", "health_probe|0|path"),
			same("probe protocol", "properties|healthProbeSettings|probeProtocol", "health_probe|0|protocol"),
			same("probe method", "properties|healthProbeSettings|probeRequestType", "health_probe|0|request_type"),
			same("probe seconds", "properties|healthProbeSettings|probeIntervalInSeconds", "health_probe|0|interval_in_seconds"),
			same("samples", "properties|loadBalancingSettings|sampleSize", "load_balancing|0|sample_size"),
			same("successes", "properties|loadBalancingSettings|successfulSamplesRequired", "load_balancing|0|successful_samples_required"),
			same("latency", "properties|loadBalancingSettings|additionalLatencyInMilliseconds", "load_balancing|0|additional_latency_in_milliseconds"),
		}},
		{"Microsoft.Cdn/profiles/originGroups/origins", []string{"azurerm_cdn_frontdoor_origin"}, []field{
			same("host", "properties|hostName", "host_name"), same("host header", "properties|originHostHeader", "origin_host_header"),
			same("priority", "properties|priority", "priority"), same("weight", "properties|weight", "weight"),
			same("https port", "properties|httpsPort", "https_port"),
			same("certificate", "properties|enforceCertificateNameCheck", "certificate_name_check_enabled"),
			same("private link", "properties|sharedPrivateLinkResource|privateLink|id", "private_link|0|private_link_target_id"),
			same("private link group", "properties|sharedPrivateLinkResource|groupId", "private_link|0|target_type"),
		}},
		{"Microsoft.Cdn/profiles/afdEndpoints/routes", []string{"azurerm_cdn_frontdoor_route"}, []field{
			same("paths", "properties|patternsToMatch", "patterns_to_match"), same("protocols", "properties|supportedProtocols", "supported_protocols"),
			same("forwarding", "properties|forwardingProtocol", "forwarding_protocol"),
			{"redirect", "properties|httpsRedirect", "https_redirect_enabled", isEnabled, nil},
			{"default domain", "properties|linkToDefaultDomain", "link_to_default_domain", isEnabled, nil},
			{"domains", "properties|customDomains", "cdn_frontdoor_custom_domain_ids", ids, nil},
			same("group", "properties|originGroup|id", "cdn_frontdoor_origin_group_id"),
		}},
		{"Microsoft.Cdn/profiles/customDomains", []string{"azurerm_cdn_frontdoor_custom_domain"}, []field{
			same("host", "properties|hostName", "host_name"), same("certificate", "properties|tlsSettings|certificateType", "tls|0|certificate_type"),
			same("tls", "properties|tlsSettings|minimumTlsVersion", "tls|0|minimum_version"), same("zone", "properties|azureDnsZone|id", "dns_zone_id"),
		}},
		{"Microsoft.Cdn/profiles/securityPolicies", []string{"azurerm_cdn_frontdoor_security_policy"}, []field{
			same("firewall", "properties|parameters|wafPolicy|id", "security_policies|0|firewall|0|cdn_frontdoor_firewall_policy_id"),
			{
				"domains", "properties|parameters|associations|0|domains", "security_policies|0|firewall|0|association|0|domain", ids,
				func(v any) any { return flat(eachItem(v, "cdn_frontdoor_domain_id")) },
			},
		}},
		{"Microsoft.Network/FrontDoorWebApplicationFirewallPolicies", []string{"azurerm_cdn_frontdoor_firewall_policy"}, []field{
			tags, same("sku", "sku|name", "sku_name"), same("mode", "properties|policySettings|mode", "mode"),
			{"body check", "properties|policySettings|requestBodyCheck", "request_body_check_enabled", isEnabled, nil},
			{"rules", "properties|customRules|rules", "custom_rule", armRules, tfRules},
			{"managed", "properties|managedRules|managedRuleSets", "managed_rule", armManaged, tfManaged},
		}},
	}
}

func networkShapes() []shape {
	tags := same("tags", "tags", "tags")
	return []shape{
		{"Microsoft.Network/dnsZones", []string{"azurerm_dns_zone"}, []field{tags}},
		{"Microsoft.Network/dnsZones/CNAME", []string{"azurerm_dns_cname_record"}, []field{
			same("to", "properties|CNAMERecord|cname", "record"), same("ttl", "properties|TTL", "ttl"),
		}},
		{"Microsoft.Network/dnsZones/TXT", []string{"azurerm_dns_txt_record"}, []field{
			same("value", "properties|TXTRecords|0|value|0", "record|0|value"), same("ttl", "properties|TTL", "ttl"),
		}},
		{"Microsoft.Network/privateEndpoints", []string{"azurerm_private_endpoint"}, []field{
			same("location", "location", "location"), tags, same("subnet", "properties|subnet|id", "subnet_id"),
			same("target", "properties|privateLinkServiceConnections|0|properties|privateLinkServiceId", "private_service_connection|0|private_connection_resource_id"),
			same("group", "properties|privateLinkServiceConnections|0|properties|groupIds", "private_service_connection|0|subresource_names"),
		}},
		{"Microsoft.Network/privateDnsZones", []string{"azurerm_private_dns_zone"}, []field{tags}},
		{"Microsoft.Network/virtualNetworks", []string{"azurerm_virtual_network"}, []field{
			same("location", "location", "location"), tags, same("space", "properties|addressSpace|addressPrefixes", "address_space"),
		}},
		{"Microsoft.Network/networkSecurityGroups", []string{"azurerm_network_security_group"}, []field{same("location", "location", "location"), tags}},
	}
}

func ids(v any) any { return flat(eachItem(v, "id")) }

// flat turns [[a],[b]] into [a,b].
func flat(v any) any {
	list, _ := v.([]any)
	out := make([]any, 0, len(list))
	for _, item := range list {
		row, _ := item.([]any)
		out = append(out, row...)
	}
	return out
}

func armRules(v any) any {
	rows, _ := eachItem(v, "name", "priority", "ruleType", "action", "rateLimitThreshold", "rateLimitDurationInMinutes", "matchConditions").([]any)
	for _, row := range rows {
		r, _ := row.([]any)
		r[6] = eachItem(r[6], "matchVariable", "operator", "matchValue", "transforms")
	}
	return rows
}

func tfRules(v any) any {
	rows, _ := eachItem(v, "name", "priority", "type", "action", "rate_limit_threshold", "rate_limit_duration_in_minutes", "match_condition").([]any)
	for _, row := range rows {
		r, _ := row.([]any)
		r[6] = eachItem(r[6], "match_variable", "operator", "match_values", "transforms")
	}
	return rows
}

func armManaged(v any) any {
	rows, _ := eachItem(v, "ruleSetType", "ruleSetVersion", "ruleSetAction", "exclusions").([]any)
	for _, row := range rows {
		r, _ := row.([]any)
		r[3] = eachItem(r[3], "matchVariable", "selectorMatchOperator", "selector")
	}
	return rows
}

func tfManaged(v any) any {
	rows, _ := eachItem(v, "type", "version", "action", "exclusion").([]any)
	for _, row := range rows {
		r, _ := row.([]any)
		r[3] = eachItem(r[3], "match_variable", "operator", "selector")
		// The provider asks for an action of the whole set where Bicep gives none: logging is the one that refuses nobody.
		if r[0] == "Microsoft_BotManagerRuleSet" && r[2] == "Log" {
			r[2] = nil
		}
	}
	return emptyToList(rows)
}

func emptyToList(rows []any) any {
	if rows == nil {
		return []any{}
	}
	return rows
}
