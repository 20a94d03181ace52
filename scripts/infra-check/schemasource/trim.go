// Package schemasource makes tf/schema.json.gz again from what `terraform providers schema -json` prints.
package schemasource

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
)

// Source names what the schema was cut from.
const Source = "azurerm 5.2.0 (built from v1.44.1-0.20260824201233-fae580791926), azapi 1.15.0"

// Wanted is every resource and data source of infra/terraform.
func Wanted() []string {
	return []string{
		"azapi_resource", "azapi_resource_action", "azapi_update_resource",
		"azurerm_application_insights", "azurerm_application_insights_workbook",
		"azurerm_cdn_frontdoor_custom_domain", "azurerm_cdn_frontdoor_endpoint", "azurerm_cdn_frontdoor_firewall_policy",
		"azurerm_cdn_frontdoor_origin", "azurerm_cdn_frontdoor_origin_group", "azurerm_cdn_frontdoor_profile",
		"azurerm_cdn_frontdoor_route", "azurerm_cdn_frontdoor_security_policy",
		"azurerm_cognitive_account", "azurerm_cognitive_account_rai_policy", "azurerm_cognitive_deployment",
		"azurerm_dns_cname_record", "azurerm_dns_txt_record", "azurerm_dns_zone",
		"azurerm_function_app_flex_consumption", "azurerm_key_vault", "azurerm_linux_function_app",
		"azurerm_log_analytics_workspace", "azurerm_monitor_action_group", "azurerm_monitor_diagnostic_setting",
		"azurerm_monitor_scheduled_query_rules_alert_v2", "azurerm_network_security_group", "azurerm_network_security_rule",
		"azurerm_private_dns_zone", "azurerm_private_dns_zone_virtual_network_link", "azurerm_private_endpoint",
		"azurerm_resource_group", "azurerm_role_assignment", "azurerm_service_plan", "azurerm_storage_account",
		"azurerm_storage_container", "azurerm_subnet", "azurerm_subnet_network_security_group_association",
		"azurerm_user_assigned_identity", "azurerm_virtual_network",
	}
}

// Trim keeps the wanted resources, and of each what checks need. The same input gives the same bytes.
func Trim(providers []byte) ([]byte, error) {
	var all struct {
		Providers map[string]struct {
			Resources map[string]struct {
				Block any `json:"block"`
			} `json:"resource_schemas"`
		} `json:"provider_schemas"`
	}
	if err := json.Unmarshal(providers, &all); err != nil {
		return nil, fmt.Errorf("read the providers' schema: %w", err)
	}
	out := map[string]any{}
	for _, provider := range all.Providers {
		for name, r := range provider.Resources {
			if slices.Contains(Wanted(), name) {
				out[name] = strip(r.Block)
			}
		}
	}
	for _, name := range Wanted() {
		if out[name] == nil {
			return nil, fmt.Errorf("the providers have no %s", name)
		}
	}
	text, err := json.Marshal(map[string]any{"source": Source, "resources": out})
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	var b bytes.Buffer
	zw, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	if _, err := zw.Write(text); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return b.Bytes(), nil
}

// strip leaves out words that describe and do not check.
func strip(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for key, inner := range m {
		_, text := inner.(string)
		flag, isFlag := inner.(bool)
		switch {
		case text && (key == "description" || key == "description_kind" || key == "nesting_mode"):
		case isFlag && !flag:
		default:
			out[key] = strip(inner)
		}
	}
	return out
}
