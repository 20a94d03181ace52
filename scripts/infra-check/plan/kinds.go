package plan

import "strings"

// Kind is how a Terraform resource is called in ARM: its type, the attribute that names its parent, what stands between the
// parent's name and its own, and which properties its results are. "=" begins what the name is followed by in a result that
// says nothing else.
type Kind struct {
	ARM     string
	Parent  string
	Between string
	Results map[string]string
}

// id puts the names between the segments of the type.
func (k Kind) id(name string) string {
	segments := strings.Split(k.ARM, "/")
	out := segments[0]
	for i, n := range strings.Split(name, "/") {
		out += "/" + segments[min(i+1, len(segments)-1)] + "/" + n
	}
	return out
}

// Kinds is the resources whose results other resources use; the references come out as they do from Bicep, so that the two can be compared.
func Kinds() map[string]Kind {
	return map[string]Kind{
		"azurerm_resource_group": {ARM: "Microsoft.Resources/resourceGroups"},
		"azurerm_user_assigned_identity": {ARM: "Microsoft.ManagedIdentity/userAssignedIdentities", Results: map[string]string{
			"client_id": "clientId", "principal_id": "principalId", "tenant_id": "tenantId",
		}},
		"azurerm_public_ip":                              {ARM: "Microsoft.Network/publicIPAddresses", Results: map[string]string{"ip_address": "ipAddress"}},
		"azurerm_application_gateway":                    {ARM: "Microsoft.Network/applicationGateways"},
		"azurerm_web_application_firewall_policy":        {ARM: "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies"},
		"azurerm_application_insights_standard_web_test": {ARM: "Microsoft.Insights/webtests"},
		"azurerm_log_analytics_workspace":                {ARM: "Microsoft.OperationalInsights/workspaces"},
		"azurerm_application_insights": {ARM: "Microsoft.Insights/components", Results: map[string]string{
			"connection_string": "ConnectionString",
		}},
		"azurerm_monitor_action_group": {ARM: "Microsoft.Insights/actionGroups"},
		"azurerm_storage_account": {ARM: "Microsoft.Storage/storageAccounts", Results: map[string]string{
			"primary_blob_endpoint": "primaryEndpoints.blob", "primary_table_endpoint": "primaryEndpoints.table",
			"primary_blob_host": "=.blob.core.windows.net",
		}},
		"azurerm_storage_container": {
			ARM: "Microsoft.Storage/storageAccounts/blobServices/containers", Parent: "storage_account_id", Between: "/default/",
		},
		"azurerm_key_vault": {ARM: "Microsoft.KeyVault/vaults", Results: map[string]string{"vault_uri": "vaultUri"}},
		"azurerm_cognitive_account": {ARM: "Microsoft.CognitiveServices/accounts", Results: map[string]string{
			"primary_access_key": "listKeys().key1", "endpoint": "endpoint",
		}},
		"azurerm_cognitive_deployment":         {ARM: "Microsoft.CognitiveServices/accounts/deployments", Parent: "cognitive_account_id", Between: "/"},
		"azurerm_cognitive_account_rai_policy": {ARM: "Microsoft.CognitiveServices/accounts/raiPolicies", Parent: "cognitive_account_id", Between: "/"},
		"azurerm_service_plan":                 {ARM: "Microsoft.Web/serverfarms"},
		"azurerm_function_app_flex_consumption": {ARM: "Microsoft.Web/sites", Results: map[string]string{
			"default_hostname": "defaultHostName",
		}},
		"azurerm_linux_function_app": {ARM: "Microsoft.Web/sites", Results: map[string]string{"default_hostname": "defaultHostName"}},
		"azurerm_virtual_network":    {ARM: "Microsoft.Network/virtualNetworks"},
		"azurerm_subnet":             {ARM: "Microsoft.Network/virtualNetworks/subnets", Parent: "virtual_network_name", Between: "/"},
		"azurerm_private_dns_zone":   {ARM: "Microsoft.Network/privateDnsZones"},
		"azurerm_dns_zone":           {ARM: "Microsoft.Network/dnsZones", Results: map[string]string{"name_servers": "nameServers"}},
		"azurerm_cdn_frontdoor_profile": {ARM: "Microsoft.Cdn/profiles", Results: map[string]string{
			"resource_guid": "frontDoorId",
		}},
		"azurerm_cdn_frontdoor_endpoint": {
			ARM: "Microsoft.Cdn/profiles/afdEndpoints", Parent: "cdn_frontdoor_profile_id", Between: "/",
			Results: map[string]string{"host_name": "hostName"},
		},
		"azurerm_cdn_frontdoor_origin_group": {ARM: "Microsoft.Cdn/profiles/originGroups", Parent: "cdn_frontdoor_profile_id", Between: "/"},
		"azurerm_cdn_frontdoor_custom_domain": {
			ARM: "Microsoft.Cdn/profiles/customDomains", Parent: "cdn_frontdoor_profile_id", Between: "/",
			Results: map[string]string{"validation_token": "validationProperties.validationToken"},
		},
		"azurerm_cdn_frontdoor_origin": {
			ARM: "Microsoft.Cdn/profiles/originGroups/origins", Parent: "cdn_frontdoor_origin_group_id", Between: "/",
		},
		"azurerm_cdn_frontdoor_route": {ARM: "Microsoft.Cdn/profiles/afdEndpoints/routes", Parent: "cdn_frontdoor_endpoint_id", Between: "/"},
		"azurerm_cdn_frontdoor_security_policy": {
			ARM: "Microsoft.Cdn/profiles/securityPolicies", Parent: "cdn_frontdoor_profile_id", Between: "/",
		},
		"azurerm_dns_a_record":                  {ARM: "Microsoft.Network/dnsZones/A", Parent: "zone_name", Between: "/"},
		"azurerm_dns_cname_record":              {ARM: "Microsoft.Network/dnsZones/CNAME", Parent: "zone_name", Between: "/"},
		"azurerm_dns_txt_record":                {ARM: "Microsoft.Network/dnsZones/TXT", Parent: "zone_name", Between: "/"},
		"azurerm_private_endpoint":              {ARM: "Microsoft.Network/privateEndpoints"},
		"azurerm_cdn_frontdoor_firewall_policy": {ARM: "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies"},
		"azurerm_network_security_group":        {ARM: "Microsoft.Network/networkSecurityGroups"},
	}
}

// Reference is how a result of a resource with this name in ARM is written.
func Reference(kindName, name, result string) string {
	k, ok := Kinds()[kindName]
	if !ok {
		return "«" + kindName + "/" + name + "." + result + "»"
	}
	switch property := k.Results[result]; {
	case result == "id":
		return "«" + k.id(name) + "»"
	case strings.HasPrefix(property, "="):
		return name + property[1:]
	case property == "":
		return "«" + k.id(name) + "." + result + "»"
	default:
		return "«" + k.id(name) + "." + property + "»"
	}
}
