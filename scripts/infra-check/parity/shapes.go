package parity

import (
	"slices"
	"strings"
)

// convert brings a value of one side to the form that both sides share.
type convert func(any) any

// field is one fact of a resource: where it is in the ARM body and in the Terraform arguments.
type field struct {
	name  string
	arm   string
	tf    string
	armAs convert
	tfAs  convert
}

// shape is one kind of resource on both sides.
type shape struct {
	arm    string
	tf     []string
	fields []field
}

func (s shape) take(inv Inventory, name string, values map[string]any, side func(field) (string, convert)) {
	subject := s.arm + " " + name
	if s.arm == "Microsoft.Insights/workbooks" {
		subject = s.arm + " workbook" // its name is a hash, and not the same one
	}
	for _, f := range s.fields {
		path, as := side(f)
		v := Get(values, path)
		if as != nil {
			v = as(v)
		}
		if v != nil {
			inv.add(subject, f.name, v)
		}
	}
}

func not(v any) any {
	b, ok := v.(bool)
	if !ok {
		return v
	}
	return !b
}

func isEnabled(v any) any { return v == "Enabled" }

// presence: Key Vault has no false for purge protection, only absence.
func presence(v any) any { return v == true }

func firstItem(v any) any {
	if list, ok := v.([]any); ok && len(list) == 1 {
		return list[0]
	}
	return v
}

// zeroIsNone: a number that is not given and that Azure works out is 0 in a plan with mocks.
func zeroIsNone(v any) any {
	if v == 0.0 {
		return nil
	}
	return v
}

// emptyIsNone: Terraform writes an empty optional list as no block.
func emptyIsNone(v any) any {
	if list, ok := v.([]any); ok && len(list) == 0 {
		return nil
	}
	return v
}

func lower(v any) any { return strings.ToLower(text(v)) }

func same(name, arm, tf string) field { return field{name: name, arm: arm, tf: tf} }

// shapes is the table of what corresponds to what.
func shapes() []shape {
	return slices.Concat(platformShapes(), modelShapes(), edgeShapes(), gatewayShapes(), networkShapes())
}

func platformShapes() []shape {
	location, tags := same("location", "location", "location"), same("tags", "tags", "tags")
	return []shape{
		{"Microsoft.Resources/resourceGroups", []string{"azurerm_resource_group"}, []field{location, tags}},
		{"Microsoft.ManagedIdentity/userAssignedIdentities", []string{"azurerm_user_assigned_identity"}, []field{location, tags}},
		{"Microsoft.OperationalInsights/workspaces", []string{"azurerm_log_analytics_workspace"}, []field{
			location, tags, same("sku", "properties|sku|name", "sku"), same("retention", "properties|retentionInDays", "retention_in_days"),
			same("cap", "properties|workspaceCapping|dailyQuotaGb", "daily_quota_gb"),
			{"keys refused", "properties|features|disableLocalAuth", "local_authentication_enabled", nil, not},
		}},
		{"Microsoft.Insights/components", []string{"azurerm_application_insights"}, []field{
			location, tags, same("workspace", "properties|WorkspaceResourceId", "workspace_id"),
			{"keys refused", "properties|DisableLocalAuth", "local_authentication_enabled", nil, not},
		}},
		{"Microsoft.Storage/storageAccounts", []string{"azurerm_storage_account"}, []field{
			location, tags, same("sku", "sku|name", "sku"),
			same("shared keys", "properties|allowSharedKeyAccess", "shared_access_key_enabled"),
			same("public blobs", "properties|allowBlobPublicAccess", "allow_nested_items_to_be_public"),
			same("cross tenant", "properties|allowCrossTenantReplication", "cross_tenant_replication_enabled"),
			same("Entra by default", "properties|defaultToOAuthAuthentication", "default_to_oauth_authentication"),
			same("tls", "properties|minimumTlsVersion", "min_tls_version"),
			same("https only", "properties|supportsHttpsTrafficOnly", "https_traffic_only_enabled"),
			{"public address", "properties|publicNetworkAccess", "public_network_access_enabled", isEnabled, nil},
			same("network default", "properties|networkAcls|defaultAction", "network_rules|0|default_action"),
			{"network bypass", "properties|networkAcls|bypass", "network_rules|0|bypass", nil, firstItem},
		}},
		{"Microsoft.Storage/storageAccounts/blobServices/containers", []string{"azurerm_storage_container"}, []field{
			{"public", "properties|publicAccess", "container_access_type", func(v any) any { return v != "None" }, func(v any) any { return v != "private" }},
		}},
		{"Microsoft.KeyVault/vaults", []string{"azurerm_key_vault"}, []field{
			location, tags,
			{"sku", "properties|sku|name", "sku_name", lower, lower},
			same("rbac", "properties|enableRbacAuthorization", "rbac_authorization_enabled"),
			same("soft delete days", "properties|softDeleteRetentionInDays", "soft_delete_retention_days"),
			{"purge protection", "properties|enablePurgeProtection", "purge_protection_enabled", presence, nil},
			{"public address", "properties|publicNetworkAccess", "public_network_access_enabled", isEnabled, nil},
			same("network default", "properties|networkAcls|defaultAction", "network_acls|0|default_action"),
			same("network bypass", "properties|networkAcls|bypass", "network_acls|0|bypass"),
		}},
		{"Microsoft.Web/serverfarms", []string{"azurerm_service_plan"}, []field{
			location, tags, same("sku", "sku|name", "sku_name"), same("zones", "properties|zoneRedundant", "zone_balancing_enabled"),
			{"workers", "sku|capacity", "worker_count", nil, zeroIsNone},
			{"most workers", "properties|maximumElasticWorkerCount", "maximum_elastic_worker_count", nil, zeroIsNone},
		}},
		{"Microsoft.Insights/scheduledQueryRules", []string{"azurerm_monitor_scheduled_query_rules_alert_v2"}, []field{
			location, tags, same("severity", "properties|severity", "severity"), same("every", "properties|evaluationFrequency", "evaluation_frequency"),
			same("window", "properties|windowSize", "window_duration"), same("query", "properties|criteria|allOf|0|query", "criteria|0|query"),
			same("operator", "properties|criteria|allOf|0|operator", "criteria|0|operator"),
			same("threshold", "properties|criteria|allOf|0|threshold", "criteria|0|threshold"),
			same("aggregation", "properties|criteria|allOf|0|timeAggregation", "criteria|0|time_aggregation_method"),
			same("groups", "properties|actions|actionGroups", "action|0|action_groups"),
			same("title", "properties|description", "description"), same("scopes", "properties|scopes", "scopes"),
		}},
		{"Microsoft.Insights/workbooks", []string{"azurerm_application_insights_workbook"}, []field{
			location, tags, same("title", "properties|displayName", "display_name"), same("content", "properties|serializedData", "data_json"),
		}},
	}
}
