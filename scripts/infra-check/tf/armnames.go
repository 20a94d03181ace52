package tf

import "strings"

// kind is how a Terraform resource is called in ARM: its type, the attribute that names its parent, what stands between the
// parent's name and its own, and which properties its results are; "=" begins what the name is followed by in a result that
// says nothing else.
type kind struct {
	arm     string
	parent  string
	between string
	results map[string]string
}

// kindTable is the resources whose results other resources use; the references come out as they do from Bicep, so that the two can be compared.
func kindTable() map[string]kind {
	return map[string]kind{
		"azurerm_resource_group": {arm: "Microsoft.Resources/resourceGroups"},
		"azurerm_user_assigned_identity": {arm: "Microsoft.ManagedIdentity/userAssignedIdentities", results: map[string]string{
			"client_id": "properties.clientId", "principal_id": "properties.principalId", "tenant_id": "properties.tenantId",
		}},
		"azurerm_log_analytics_workspace": {arm: "Microsoft.OperationalInsights/workspaces"},
		"azurerm_application_insights": {arm: "Microsoft.Insights/components", results: map[string]string{
			"connection_string": "properties.ConnectionString",
		}},
		"azurerm_monitor_action_group": {arm: "Microsoft.Insights/actionGroups"},
		"azurerm_storage_account": {arm: "Microsoft.Storage/storageAccounts", results: map[string]string{
			"primary_blob_endpoint": "properties.primaryEndpoints.blob", "primary_table_endpoint": "properties.primaryEndpoints.table",
			"primary_blob_host": "=.blob.core.windows.net",
		}},
		"azurerm_storage_container": {
			arm: "Microsoft.Storage/storageAccounts/blobServices/containers", parent: "storage_account_id", between: "/default/",
		},
		"azurerm_key_vault": {arm: "Microsoft.KeyVault/vaults", results: map[string]string{"vault_uri": "properties.vaultUri"}},
		"azurerm_cognitive_account": {arm: "Microsoft.CognitiveServices/accounts", results: map[string]string{
			"primary_access_key": "listKeys().key1", "endpoint": "properties.endpoint",
		}},
		"azurerm_cognitive_deployment":         {arm: "Microsoft.CognitiveServices/accounts/deployments", parent: "cognitive_account_id", between: "/"},
		"azurerm_cognitive_account_rai_policy": {arm: "Microsoft.CognitiveServices/accounts/raiPolicies", parent: "cognitive_account_id", between: "/"},
		"azurerm_service_plan":                 {arm: "Microsoft.Web/serverfarms"},
		"azurerm_function_app_flex_consumption": {arm: "Microsoft.Web/sites", results: map[string]string{
			"default_hostname": "properties.defaultHostName",
		}},
		"azurerm_linux_function_app": {arm: "Microsoft.Web/sites", results: map[string]string{"default_hostname": "properties.defaultHostName"}},
		"azurerm_virtual_network":    {arm: "Microsoft.Network/virtualNetworks"},
		"azurerm_private_dns_zone":   {arm: "Microsoft.Network/privateDnsZones"},
		"azurerm_dns_zone":           {arm: "Microsoft.Network/dnsZones", results: map[string]string{"name_servers": "properties.nameServers"}},
		"azurerm_cdn_frontdoor_profile": {arm: "Microsoft.Cdn/profiles", results: map[string]string{
			"resource_guid": "properties.frontDoorId",
		}},
		"azurerm_cdn_frontdoor_endpoint": {
			arm: "Microsoft.Cdn/profiles/afdEndpoints", parent: "cdn_frontdoor_profile_id", between: "/",
			results: map[string]string{"host_name": "properties.hostName"},
		},
		"azurerm_cdn_frontdoor_origin_group": {arm: "Microsoft.Cdn/profiles/originGroups", parent: "cdn_frontdoor_profile_id", between: "/"},
		"azurerm_cdn_frontdoor_custom_domain": {
			arm: "Microsoft.Cdn/profiles/customDomains", parent: "cdn_frontdoor_profile_id", between: "/",
			results: map[string]string{"validation_token": "properties.validationProperties.validationToken"},
		},
		"azurerm_cdn_frontdoor_origin": {
			arm: "Microsoft.Cdn/profiles/originGroups/origins", parent: "cdn_frontdoor_origin_group_id", between: "/",
		},
		"azurerm_cdn_frontdoor_route": {arm: "Microsoft.Cdn/profiles/afdEndpoints/routes", parent: "cdn_frontdoor_endpoint_id", between: "/"},
		"azurerm_cdn_frontdoor_security_policy": {
			arm: "Microsoft.Cdn/profiles/securityPolicies", parent: "cdn_frontdoor_profile_id", between: "/",
		},
		"azurerm_dns_cname_record":              {arm: "Microsoft.Network/dnsZones/CNAME", parent: "zone_name", between: "/"},
		"azurerm_dns_txt_record":                {arm: "Microsoft.Network/dnsZones/TXT", parent: "zone_name", between: "/"},
		"azurerm_private_endpoint":              {arm: "Microsoft.Network/privateEndpoints"},
		"azurerm_cdn_frontdoor_firewall_policy": {arm: "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies"},
		"azurerm_network_security_group":        {arm: "Microsoft.Network/networkSecurityGroups"},
	}
}

// nameOf is the name in ARM, with the parents' names before it.
func (s *Schema) nameOf(kindName string, values map[string]any) string {
	name, _ := values["name"].(string)
	k := s.kinds[kindName]
	switch parent, _ := values[k.parent].(string); {
	case kindName == "azurerm_subnet":
		network, _ := values["virtual_network_name"].(string)
		return network + "/" + name
	case k.parent != "" && strings.HasPrefix(parent, "«"):
		return idName(parent) + k.between + name
	case k.parent != "":
		return parent + k.between + name
	case kindName == "azapi_resource":
		parent, _ := values["parent_id"].(string)
		return idName(parent) + "/" + name
	}
	return name
}

// idName takes the name out of «Microsoft.Web/sites/name.id».
func idName(reference string) string {
	text := strings.TrimSuffix(strings.Trim(reference, "«»"), ".id")
	parts := strings.SplitN(text, "/", 3)
	if len(parts) < 3 {
		return text
	}
	// A type has as many segments after the provider as the name has segments.
	segments := strings.Split(parts[1]+"/"+parts[2], "/")
	return strings.Join(segments[(len(segments)+1)/2:], "/")
}

// reference is how a result reads: «Microsoft.Web/sites/name.properties.defaultHostName».
func (s *Schema) reference(kindName, name, result string) string {
	if kindName == "azurerm_subnet" && result == "id" {
		network, subnet, _ := strings.Cut(name, "/")
		return "«Microsoft.Network/virtualNetworks/" + network + ".id»/subnets/" + subnet
	}
	k, ok := s.kinds[kindName]
	if !ok {
		return "«" + kindName + "/" + name + "." + result + "»"
	}
	property, ok := k.results[result]
	if suffix, literal := strings.CutPrefix(property, "="); literal {
		return name + suffix
	}
	if ok {
		result = property
	}
	return "«" + k.arm + "/" + name + "." + result + "»"
}
