package parity

import (
	"path"
	"slices"
	"strings"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/plan"
)

// ofBicepSpecial takes facts that are not one property each.
func ofBicepSpecial(inv Inventory, i arm.Resource, body map[string]any) {
	switch i.Type {
	case "Microsoft.Authorization/roleAssignments":
		assignment{i.Scope, Get(body, "properties|roleDefinitionId"), Get(body, "properties|principalId"), Get(body, "properties|principalType")}.add(inv)
	case "Microsoft.Insights/diagnosticSettings":
		var logs []string
		list, _ := Get(body, "properties|logs").([]any)
		for _, l := range list {
			logs = append(logs, text(Get(l, "categoryGroup"))+text(Get(l, "category")))
		}
		addDiagnostics(inv, i.Scope, logs)
	case "Microsoft.Web/sites/config":
		settings, _ := body["properties"].(map[string]any)
		for name, v := range settings {
			inv.add("settings of "+siteOf(i.Name), name, v)
		}
	case "Microsoft.Web/sites/basicPublishingCredentialsPolicies":
		inv.add("site "+siteOf(i.Name), path.Base(i.Name)+" publishing by password", Get(body, "properties|allow"))
	case "Microsoft.Web/sites":
		bicepSite(inv, i.Name, body)
	case "Microsoft.KeyVault/vaults/secrets":
		inv.add("secret "+i.Name, "value", Get(body, "properties|value"))
	case "Microsoft.Insights/actionGroups":
		addPeople(inv, i.Name, Get(body, "properties|emailReceivers"), "emailAddress")
	case "Microsoft.Network/virtualNetworks":
		bicepSubnets(inv, i.Name, body)
	case "Microsoft.Network/networkSecurityGroups":
		list, _ := Get(body, "properties|securityRules").([]any)
		for _, r := range list {
			addRule(inv, i.Name, text(Get(r, "name")), eachItem([]any{Get(r, "properties")}, "priority", "direction", "access", "protocol",
				"sourceAddressPrefix", "sourcePortRange", "destinationAddressPrefix", "destinationPortRange"))
		}
	case "Microsoft.Network/privateDnsZones/virtualNetworkLinks":
		inv.add("link of "+path.Dir(i.Name)+" to "+text(Get(body, "properties|virtualNetwork|id")), "registration", Get(body, "properties|registrationEnabled"))
	case "Microsoft.Network/privateEndpoints/privateDnsZoneGroups":
		inv.add("Microsoft.Network/privateEndpoints "+path.Dir(i.Name), "zone", Get(body, "properties|privateDnsZoneConfigs|0|properties|privateDnsZoneId"))
	}
}

func siteOf(name string) string { return strings.SplitN(name, "/", 2)[0] }

// assignment is a role that somebody has on something.
type assignment struct {
	scope                 string
	role, principal, kind any
}

func (a assignment) add(inv Inventory) {
	inv.add("role "+path.Base(text(a.role))+" for "+text(a.principal)+" on "+a.scope, "principal type", a.kind)
}

func addDiagnostics(inv Inventory, scope string, logs []string) {
	slices.Sort(logs)
	inv.add("audit of "+scope, "logs", logs)
}

func addPeople(inv Inventory, name string, receivers any, member string) {
	inv.add("action group "+name, "emails", flat(eachItem(receivers, member)))
}

func addRule(inv Inventory, group, name string, values any) {
	inv.add("rule "+name+" of "+group, "values", values)
}

func bicepSubnets(inv Inventory, network string, body map[string]any) {
	list, _ := Get(body, "properties|subnets").([]any)
	for _, s := range list {
		subject := "subnet " + network + "/" + text(Get(s, "name"))
		inv.add(subject, "prefix", Get(s, "properties|addressPrefix"))
		inv.add(subject, "delegation", Get(s, "properties|delegations|0|properties|serviceName"))
		inv.add(subject, "rules", Get(s, "properties|networkSecurityGroup|id"))
		inv.add(subject, "endpoint policies", Get(s, "properties|privateEndpointNetworkPolicies"))
	}
}

func bicepSite(inv Inventory, name string, body map[string]any) {
	subject := "site " + name
	facts := map[string]string{
		"location": "location", "tags": "tags", "https only": "properties|httpsOnly", "tls": "properties|siteConfig|minTlsVersion",
		"scm tls": "properties|siteConfig|scmMinTlsVersion", "http2": "properties|siteConfig|http20Enabled",
		"default action":          "properties|siteConfig|ipSecurityRestrictionsDefaultAction",
		"scm shares restrictions": "properties|siteConfig|scmIpSecurityRestrictionsUseMain",
		"vault identity":          "properties|keyVaultReferenceIdentity", "plan": "properties|serverFarmId",
		"runtime": "properties|functionAppConfig|runtime|name", "runtime version": "properties|functionAppConfig|runtime|version",
		"memory":            "properties|functionAppConfig|scaleAndConcurrency|instanceMemoryMB",
		"most instances":    "properties|functionAppConfig|scaleAndConcurrency|maximumInstanceCount",
		"concurrency":       "properties|functionAppConfig|scaleAndConcurrency|triggers|http|perInstanceConcurrency",
		"package":           "properties|functionAppConfig|deployment|storage|value",
		"package identity":  "properties|functionAppConfig|deployment|storage|authentication|userAssignedIdentityResourceId",
		"subnet":            "properties|virtualNetworkSubnetId",
		"health path":       "properties|siteConfig|healthCheckPath",
		"minimum instances": "properties|siteConfig|minimumElasticInstanceCount",
		"scale limit":       "properties|siteConfig|functionAppScaleLimit",
	}
	for fact, where := range facts {
		if v := Get(body, where); v != nil {
			inv.add(subject, fact, v)
		}
	}
	inv.add(subject, "public address", Get(body, "properties|publicNetworkAccess") == "Enabled")
	if ready := emptyIsNone(Get(body, "properties|functionAppConfig|scaleAndConcurrency|alwaysReady")); ready != nil {
		inv.add(subject, "always ready", eachItem(ready, "name", "instanceCount"))
	}
	identities, _ := Get(body, "identity|userAssignedIdentities").(map[string]any)
	for id := range identities {
		inv.add(subject, "identity", id)
	}
	var rules []any
	list, _ := Get(body, "properties|siteConfig|ipSecurityRestrictions").([]any)
	for _, r := range list {
		source := Get(r, "ipAddress")
		rules = append(rules, []any{Get(r, "name"), Get(r, "priority"), Get(r, "action"), source, Get(r, "headers|x-azure-fdid")})
	}
	inv.add(subject, "restrictions", rules)
}

// ofTerraformSpecial is the other half of ofBicepSpecial.
func ofTerraformSpecial(inv Inventory, i plan.Instance) {
	v := i.Values
	switch i.Type {
	case "azurerm_role_assignment":
		assignment{text(v["scope"]), v["role_definition_id"], v["principal_id"], v["principal_type"]}.add(inv)
	case "azurerm_monitor_diagnostic_setting":
		var logs []string
		list, _ := v["enabled_log"].([]any)
		for _, l := range list {
			logs = append(logs, text(Get(l, "category_group"))+text(Get(l, "category")))
		}
		addDiagnostics(inv, text(v["target_resource_id"]), logs)
	case "azurerm_storage_account":
		inv.add("Microsoft.Storage/storageAccounts "+i.Name, "sku", text(v["account_tier"])+"_"+text(v["account_replication_type"]))
	case "azurerm_monitor_action_group":
		addPeople(inv, i.Name, v["email_receiver"], "email_address")
	case "azurerm_network_security_rule":
		addRule(inv, text(v["network_security_group_name"]), i.Name, eachItem([]any{v}, "priority", "direction", "access", "protocol",
			"source_address_prefix", "source_port_range", "destination_address_prefix", "destination_port_range"))
	case "azurerm_subnet":
		subject := "subnet " + i.Name
		inv.add(subject, "prefix", Get(v, "address_prefixes|0"))
		inv.add(subject, "delegation", Get(v, "delegation|0|service_delegation|0|name"))
		inv.add(subject, "endpoint policies", v["private_endpoint_network_policies"])
	case "azurerm_subnet_network_security_group_association":
		_, subnet, _ := strings.Cut(strings.Trim(text(v["subnet_id"]), "»"), "virtualNetworks/")
		inv.add("subnet "+strings.Replace(subnet, "/subnets", "", 1), "rules", v["network_security_group_id"])
	case "azurerm_private_dns_zone_virtual_network_link":
		zone := strings.TrimSuffix(strings.TrimPrefix(text(v["private_dns_zone_id"]), "«Microsoft.Network/privateDnsZones/"), "»")
		inv.add("link of "+zone+" to "+text(v["virtual_network_id"]), "registration", v["registration_enabled"])
	case "azurerm_private_endpoint":
		inv.add("Microsoft.Network/privateEndpoints "+i.Name, "zone", Get(v, "private_dns_zone_group|0|private_dns_zone_ids|0"))
	case "azapi_resource":
		ofAzapi(inv, i)
	case "azurerm_function_app_flex_consumption", "azurerm_linux_function_app":
		tfSite(inv, i)
	case "azapi_resource_action":
		inv.add("site "+idName(v["resource_id"]), "vault identity", Get(v, "body|properties|keyVaultReferenceIdentity"))
	case "azapi_update_resource":
		site := strings.SplitN(idName(v["resource_id"]), "»", 2)[0]
		inv.add("site "+site, path.Base(text(v["resource_id"]))+" publishing by password", Get(v, "body|properties|allow"))
	}
}

func idName(v any) string {
	return strings.TrimSuffix(strings.TrimPrefix(text(v), "«Microsoft.Web/sites/"), "»")
}

func ofAzapi(inv Inventory, i plan.Instance) {
	switch kind, _, _ := strings.Cut(text(i.Values["type"]), "@"); kind {
	case "Microsoft.KeyVault/vaults/secrets":
		inv.add("secret "+i.Name, "value", Get(i.Values, "body|properties|value"))
	case "Microsoft.CognitiveServices/accounts/deployments":
		for _, s := range modelShapes() {
			if s.arm == kind {
				body, _ := i.Values["body"].(map[string]any)
				s.take(inv, i.Name, body, func(f field) (string, convert) { return f.arm, f.armAs })
			}
		}
	}
}
