package parity

import (
	"slices"
	"strings"
)

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
		{"Microsoft.Network/dnsZones/A", []string{"azurerm_dns_a_record"}, []field{
			same("to", "properties|targetResource|id", "target_resource_id"), same("ttl", "properties|TTL", "ttl"),
		}},
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

// gatewayShapes are an Application Gateway and what is around it.
func gatewayShapes() []shape {
	tags, location := same("tags", "tags", "tags"), same("location", "location", "location")
	return []shape{
		{"Microsoft.Network/publicIPAddresses", []string{"azurerm_public_ip"}, []field{
			tags, location, same("sku", "sku|name", "sku"), same("allocation", "properties|publicIPAllocationMethod", "allocation_method"), same("zones", "zones", "zones"),
		}},
		{"Microsoft.Network/applicationGateways", []string{"azurerm_application_gateway"}, []field{
			tags, location, same("zones", "zones", "zones"), same("sku", "properties|sku|tier", "sku|0|tier"),
			same("least", "properties|autoscaleConfiguration|minCapacity", "autoscale_configuration|0|min_capacity"),
			same("most", "properties|autoscaleConfiguration|maxCapacity", "autoscale_configuration|0|max_capacity"),
			same("request buffer", "properties|globalConfiguration|enableRequestBuffering", "global|0|request_buffering_enabled"),
			same("response buffer", "properties|globalConfiguration|enableResponseBuffering", "global|0|response_buffering_enabled"),
			same("http2", "properties|enableHttp2", "http2_enabled"), same("firewall", "properties|firewallPolicy|id", "firewall_policy_id"),
			same("tls", "properties|sslPolicy|policyName", "ssl_policy|0|policy_name"),
			same("subnet", "properties|gatewayIPConfigurations|0|properties|subnet|id", "gateway_ip_configuration|0|subnet_id"),
			same("address", "properties|frontendIPConfigurations|0|properties|publicIPAddress|id", "frontend_ip_configuration|0|public_ip_address_id"),
			same("port", "properties|frontendPorts|0|properties|port", "frontend_port|0|port"),
			same("certificate", "properties|sslCertificates|0|properties|keyVaultSecretId", "ssl_certificate|0|key_vault_secret_id"),
			{"apps", "properties|backendAddressPools|0|properties|backendAddresses", "backend_address_pool|0|fqdns", func(v any) any { return flat(eachItem(v, "fqdn")) }, nil},
			same("probe", "properties|probes|0|properties|path", "probe|0|path"), same("probe protocol", "properties|probes|0|properties|protocol", "probe|0|protocol"),
			same("probe seconds", "properties|probes|0|properties|interval", "probe|0|interval"),
			same("probe codes", "properties|probes|0|properties|match|statusCodes", "probe|0|match|0|status_code"),
			same("timeout", "properties|backendHttpSettingsCollection|0|properties|requestTimeout", "backend_http_settings|0|request_timeout"),
			same("affinity", "properties|backendHttpSettingsCollection|0|properties|cookieBasedAffinity", "backend_http_settings|0|cookie_based_affinity"),
			same("backend protocol", "properties|backendHttpSettingsCollection|0|properties|protocol", "backend_http_settings|0|protocol"),
			same("host", "properties|httpListeners|0|properties|hostName", "http_listener|0|host_name"),
			same("protocol", "properties|httpListeners|0|properties|protocol", "http_listener|0|protocol"),
		}},
		{"Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies", []string{"azurerm_web_application_firewall_policy"}, []field{
			tags, location, same("mode", "properties|policySettings|mode", "policy_settings|0|mode"),
			same("body check", "properties|policySettings|requestBodyCheck", "policy_settings|0|request_body_check"),
			same("body limit", "properties|policySettings|requestBodyEnforcement", "policy_settings|0|request_body_enforcement"),
			same("upload limit", "properties|policySettings|fileUploadEnforcement", "policy_settings|0|file_upload_enforcement"),
			{"rules", "properties|customRules", "custom_rules", gatewayRules, tfGatewayRules},
			{
				"managed", "properties|managedRules|managedRuleSets", "managed_rules|0|managed_rule_set",
				func(v any) any { return eachItem(v, "ruleSetType", "ruleSetVersion") }, func(v any) any { return eachItem(v, "type", "version") },
			},
			{
				"exclusions", "properties|managedRules|exclusions", "managed_rules|0|exclusion",
				func(v any) any { return eachItem(v, "matchVariable", "selectorMatchOperator", "selector") },
				func(v any) any { return eachItem(v, "match_variable", "selector_match_operator", "selector") },
			},
		}},
		{"Microsoft.Insights/webtests", []string{"azurerm_application_insights_standard_web_test"}, []field{
			location, same("url", "properties|Request|RequestUrl", "request|0|url"), same("every", "properties|Frequency", "frequency"),
			same("timeout", "properties|Timeout", "timeout"), same("status", "properties|ValidationRules|ExpectedHttpStatusCode", "validation_rules|0|expected_status_code"),
			same("certificate days", "properties|ValidationRules|SSLCertRemainingLifetimeCheck", "validation_rules|0|ssl_cert_remaining_lifetime"),
			{"from", "properties|Locations", "geo_locations", func(v any) any { return flat(eachItem(v, "Id")) }, nil},
		}},
		{"Microsoft.Insights/metricAlerts", []string{"azurerm_monitor_metric_alert"}, []field{
			tags, same("severity", "properties|severity", "severity"),
			{"scopes", "properties|scopes", "scopes", asSet, asSet},
			same("every", "properties|evaluationFrequency", "frequency"), same("window", "properties|windowSize", "window_size"),
			same("test", "properties|criteria|webTestId", "application_insights_web_test_location_availability_criteria|0|web_test_id"),
			same("places", "properties|criteria|failedLocationCount", "application_insights_web_test_location_availability_criteria|0|failed_location_count"),
			{
				"groups", "properties|actions", "action", func(v any) any { return flat(eachItem(v, "actionGroupId")) },
				func(v any) any { return flat(eachItem(v, "action_group_id")) },
			},
		}},
	}
}

func gatewayRules(v any) any {
	rows, _ := eachItem(v, "name", "priority", "ruleType", "action", "rateLimitThreshold", "rateLimitDuration", "matchConditions").([]any)
	for _, row := range rows {
		r, _ := row.([]any)
		r[6] = eachItem(r[6], "matchVariables|0|variableName", "operator", "matchValues", "transforms")
	}
	return rows
}

func tfGatewayRules(v any) any {
	rows, _ := eachItem(v, "name", "priority", "rule_type", "action", "rate_limit_threshold", "rate_limit_duration", "match_conditions").([]any)
	for _, row := range rows {
		r, _ := row.([]any)
		r[6] = eachItem(r[6], "match_variables|0|variable_name", "operator", "match_values", "transforms")
	}
	return rows
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
		r[3] = emptyIsNone(eachItem(r[3], "match_variable", "operator", "selector"))
		// The provider asks for an action of the whole set where Bicep gives none: logging is the one that refuses nobody.
		if r[0] == "Microsoft_BotManagerRuleSet" && r[2] == "Log" {
			r[2] = nil
		}
	}
	return emptyToList(rows)
}

// asSet puts texts into their order: it means nothing in Azure, and Terraform has one of its own.
func asSet(v any) any {
	list, _ := v.([]any)
	return slices.SortedFunc(slices.Values(list), func(a, b any) int { return strings.Compare(text(a), text(b)) })
}

func emptyToList(rows []any) any {
	if rows == nil {
		return []any{}
	}
	return rows
}
