package plan

import (
	"fmt"
	"strings"
)

// Kind is how a Terraform resource is called in ARM: its type, the attribute that names its parent, and which of its results, besides the
// id, other resources use.
type Kind struct{ ARM, Parent, Results string }

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
		"azurerm_resource_group":                         {"Microsoft.Resources/resourceGroups", "", ""},
		"azurerm_user_assigned_identity":                 {"Microsoft.ManagedIdentity/userAssignedIdentities", "", "client_id principal_id tenant_id"},
		"azurerm_public_ip":                              {"Microsoft.Network/publicIPAddresses", "", "ip_address"},
		"azurerm_application_gateway":                    {"Microsoft.Network/applicationGateways", "", ""},
		"azurerm_web_application_firewall_policy":        {"Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies", "", ""},
		"azurerm_application_insights_standard_web_test": {"Microsoft.Insights/webtests", "", ""},
		"azurerm_log_analytics_workspace":                {"Microsoft.OperationalInsights/workspaces", "", ""},
		"azurerm_application_insights":                   {"Microsoft.Insights/components", "", "connection_string"},
		"azurerm_monitor_action_group":                   {"Microsoft.Insights/actionGroups", "", ""},
		"azurerm_storage_account":                        {"Microsoft.Storage/storageAccounts", "", "primary_blob_endpoint primary_table_endpoint primary_blob_host"},
		"azurerm_storage_container":                      {"Microsoft.Storage/storageAccounts/blobServices/containers", "storage_account_id", ""},
		"azurerm_key_vault":                              {"Microsoft.KeyVault/vaults", "", "vault_uri"},
		"azurerm_cognitive_account":                      {"Microsoft.CognitiveServices/accounts", "", "primary_access_key endpoint"},
		"azurerm_cognitive_deployment":                   {"Microsoft.CognitiveServices/accounts/deployments", "cognitive_account_id", ""},
		"azurerm_cognitive_account_rai_policy":           {"Microsoft.CognitiveServices/accounts/raiPolicies", "cognitive_account_id", ""},
		"azurerm_service_plan":                           {"Microsoft.Web/serverfarms", "", ""},
		"azurerm_function_app_flex_consumption":          {"Microsoft.Web/sites", "", "default_hostname"},
		"azurerm_linux_function_app":                     {"Microsoft.Web/sites", "", "default_hostname"},
		"azurerm_virtual_network":                        {"Microsoft.Network/virtualNetworks", "", ""},
		"azurerm_subnet":                                 {"Microsoft.Network/virtualNetworks/subnets", "virtual_network_name", ""},
		"azurerm_private_dns_zone":                       {"Microsoft.Network/privateDnsZones", "", ""},
		"azurerm_dns_zone":                               {"Microsoft.Network/dnsZones", "", ""},
		"azurerm_cdn_frontdoor_profile":                  {"Microsoft.Cdn/profiles", "", "resource_guid"},
		"azurerm_cdn_frontdoor_endpoint":                 {"Microsoft.Cdn/profiles/afdEndpoints", "cdn_frontdoor_profile_id", "host_name"},
		"azurerm_cdn_frontdoor_origin_group":             {"Microsoft.Cdn/profiles/originGroups", "cdn_frontdoor_profile_id", ""},
		"azurerm_cdn_frontdoor_custom_domain":            {"Microsoft.Cdn/profiles/customDomains", "cdn_frontdoor_profile_id", "validation_token"},
		"azurerm_cdn_frontdoor_origin":                   {"Microsoft.Cdn/profiles/originGroups/origins", "cdn_frontdoor_origin_group_id", ""},
		"azurerm_cdn_frontdoor_route":                    {"Microsoft.Cdn/profiles/afdEndpoints/routes", "cdn_frontdoor_endpoint_id", ""},
		"azurerm_cdn_frontdoor_security_policy":          {"Microsoft.Cdn/profiles/securityPolicies", "cdn_frontdoor_profile_id", ""},
		"azurerm_dns_a_record":                           {"Microsoft.Network/dnsZones/A", "zone_name", ""},
		"azurerm_dns_cname_record":                       {"Microsoft.Network/dnsZones/CNAME", "zone_name", ""},
		"azurerm_dns_txt_record":                         {"Microsoft.Network/dnsZones/TXT", "zone_name", ""},
		"azurerm_private_endpoint":                       {"Microsoft.Network/privateEndpoints", "", ""},
		"azurerm_cdn_frontdoor_firewall_policy":          {"Microsoft.Network/FrontDoorWebApplicationFirewallPolicies", "", ""},
		"azurerm_network_security_group":                 {"Microsoft.Network/networkSecurityGroups", "", ""},
		"azapi_resource":                                 {"Microsoft.Resources/any", "parent_id", ""},
	}
}

// result is what ARM calls a result, and the shape of the values that it may have: NAME and NNNN make one like no other. "=" begins what a
// resource's name is followed by in a result that says nothing else.
type result struct{ property, shape string }

func results() map[string]result {
	return map[string]result{
		"client_id":              {"clientId", "22222222-2222-2222-2222-22222222NNNN"},
		"connection_string":      {"ConnectionString", "InstrumentationKey=22222222-2222-2222-2222-22222222NNNN"},
		"default_hostname":       {"defaultHostName", "NAME.azurewebsites.net"},
		"endpoint":               {"endpoint", "https://NAME.openai.azure.com/"},
		"host_name":              {"hostName", "NAME.azurefd.net"},
		"ip_address":             {"ipAddress", "203.0.113.10"},
		"primary_access_key":     {"listKeys().key1", "key-NAME"},
		"primary_blob_endpoint":  {"primaryEndpoints.blob", "https://NAME.blob.core.windows.net/"},
		"primary_blob_host":      {"=.blob.core.windows.net", "NAME.blob.core.windows.net"},
		"primary_table_endpoint": {"primaryEndpoints.table", "https://NAME.table.core.windows.net/"},
		"principal_id":           {"principalId", "33333333-2222-2222-2222-22222222NNNN"},
		"resource_guid":          {"frontDoorId", "22222222-2222-2222-2222-22222222NNNN"},
		"tenant_id":              {"tenantId", "44444444-2222-2222-2222-22222222NNNN"},
		"validation_token":       {"validationProperties.validationToken", "token-NAME"},
		"vault_uri":              {"vaultUri", "https://NAME.vault.azure.net/"},
	}
}

// Reference is how a result of a resource with this name in ARM is written.
func Reference(kindName, name, result string) string {
	k := Kinds()[kindName]
	switch property := results()[result].property; {
	case result == "id":
		return "«" + k.id(name) + "»"
	case strings.HasPrefix(property, "="):
		return name + property[1:]
	default:
		return "«" + k.id(name) + "." + property + "»"
	}
}

// sample is the value that a result is given, so that what is made of it can be traced: of the right shape, and like no other.
type sample struct{ result, value string }

// samples are the values for a resource, the nth, if it is one whose results others use. Mocks give ids of the shape that the provider wants,
// all of a kind the same: only the name at their end is changed.
func (r Instance) samples(n int) []sample {
	k, known := Kinds()[r.Type]
	if !known {
		return nil
	}
	name := fmt.Sprintf("r%04d", n)
	id, _ := r.Values["id"].(string)
	out := []sample{{"id", id[:strings.LastIndexByte(id, '/')+1] + name}}
	for _, result := range strings.Fields(k.Results) {
		out = append(out, sample{result, strings.NewReplacer("NAME", name, "NNNN", name[1:]).Replace(results()[result].shape)})
	}
	return out
}
