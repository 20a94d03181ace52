package rules

import (
	"path"
	"slices"
	"strings"
)

// isolation: with private endpoints, every address is closed and every target has its endpoint and a name in each network.
func (c checker) isolation() {
	var networks []string
	c.each("Microsoft.Network/virtualNetworks ", func(name string, _ map[string]string) {
		// The network of an Application Gateway calls the app alone.
		if !strings.HasPrefix(name, "vnet-gateway-") {
			networks = append(networks, name)
		}
	})
	c.subnets()
	if len(networks) == 0 {
		return
	}
	kinds := map[string]string{
		"Microsoft.CognitiveServices/accounts": "account", "Microsoft.KeyVault/vaults": "vault", "Microsoft.Storage/storageAccounts": "blob",
	}
	for kind, group := range kinds {
		c.each(kind+" ", func(name string, facts map[string]string) {
			if facts["public address"] != "false" || facts["network default"] != `"Deny"` {
				c.say("rule-network", "%s %s is open to the internet although the network is private", kind, name)
			}
			want := group
			if strings.HasSuffix(name, "state") {
				want = "table"
			}
			for _, network := range networks {
				if kind == "Microsoft.Storage/storageAccounts" && !strings.HasSuffix(name, "state") && suffixOf(name) != suffixOf(network) {
					continue // packages of another region
				}
				if !c.endpoint(network, kind+"/"+name, want) {
					c.say("rule-network", "%s has no private endpoint for %s of %s", network, want, name)
				}
			}
		})
	}
}

// suffixOf is the number of the region: st…2 and vnet-…-2 have 2.
func suffixOf(name string) string {
	_, after, _ := strings.Cut(name, "tokentokentok")
	return strings.Trim(after, "-")
}

// endpoint looks for a private endpoint in a network for a group of a target, with a zone that the network sees.
func (c checker) endpoint(network, target, group string) bool {
	found := false
	c.each("Microsoft.Network/privateEndpoints ", func(name string, facts map[string]string) {
		if facts["target"] != `"«`+target+`»"` || facts["group"] != `["`+group+`"]` || !strings.Contains(facts["subnet"], "/"+network+"/subnets/endpoints»") {
			return
		}
		found = true
		zone := strings.TrimSuffix(strings.TrimPrefix(facts["zone"], `"«Microsoft.Network/privateDnsZones/`), `»"`)
		if _, linked := c.inv["link of "+zone+" to «Microsoft.Network/virtualNetworks/"+network+"»"]; !linked {
			c.say("rule-network", "endpoint %s: its zone %s is not linked to %s", name, zone, network)
		}
		if !strings.HasPrefix(zone, "privatelink.") || !zoneFits(zone, group) {
			c.say("rule-network", "endpoint %s: zone %s is not the one for %s", name, zone, group)
		}
	})
	return found
}

func zoneFits(zone, group string) bool {
	part := map[string]string{"blob": ".blob.", "table": ".table.", "vault": ".vaultcore.", "account": ".openai."}[group]
	return part != "" && strings.Contains(zone, part)
}

// subnets: the delegation goes with the plan, and rules are on both.
func (c checker) subnets() {
	c.each("subnet ", func(name string, facts map[string]string) {
		network, subnet, _ := strings.Cut(name, "/")
		if facts["rules"] == "" || facts["rules"] == "null" {
			c.say("rule-network", "subnet %s has no network security group", name)
		}
		if subnet != "app" {
			if facts["delegation"] != "null" {
				c.say("rule-network", "subnet %s holds private endpoints and must not be delegated", name)
			}
			return
		}
		want := `"Microsoft.App/environments"`
		if c.skuOf("func-"+strings.TrimPrefix(network, "vnet-")) != `"FC1"` {
			want = `"Microsoft.Web/serverFarms"`
		}
		if facts["delegation"] != want {
			c.say("rule-network", "subnet %s is delegated to %s, the plan needs %s", name, facts["delegation"], want)
		}
	})
}

// frontDoor: nobody gets past it, and it knows when a region cannot serve.
func (c checker) frontDoor() {
	there, private := false, false
	c.each("Microsoft.Cdn/profiles ", func(string, map[string]string) { there = true })
	c.each("Microsoft.Cdn/profiles/originGroups/origins ", func(_ string, facts map[string]string) {
		private = private || strings.Contains(facts["private link"], "sites")
	})
	if !there {
		return
	}
	c.want("rule-network", "Microsoft.Cdn/profiles ", map[string]string{"timeout": "240"})
	c.want("rule-network", "Microsoft.Cdn/profiles/originGroups ", map[string]string{
		"probe path": `"/health/ready"`, "affinity": "false", "probe method": `"GET"`,
	})
	c.each("site ", func(name string, facts map[string]string) {
		fdid := strings.Contains(facts["restrictions"], "AzureFrontDoor.Backend") && strings.Contains(facts["restrictions"], "frontDoorId")
		if facts["default action"] != `"Deny"` || !fdid && !private {
			c.say("rule-network", "%s can be called past Front Door", name)
		}
	})
	c.each("Microsoft.Network/FrontDoorWebApplicationFirewallPolicies ", func(name string, facts map[string]string) {
		if bots := `["Microsoft_BotManagerRuleSet","1.1",`; strings.Contains(facts["managed"], bots) && !strings.Contains(facts["managed"], bots+"null") {
			c.say("rule-network", "%s has one action for all bot rules: every SDK is an unknown bot to them", name)
		}
	})
	c.each("Microsoft.Cdn/profiles/afdEndpoints ", func(name string, _ map[string]string) {
		guarded := false
		c.each("Microsoft.Cdn/profiles/securityPolicies ", func(_ string, facts map[string]string) {
			guarded = guarded || strings.Contains(facts["domains"], "/"+path.Base(name)+"»")
		})
		if !guarded {
			c.say("rule-network", "Front Door endpoint %s has no firewall", name)
		}
	})
}

// gateway: nobody gets past an Application Gateway, it does not hold streams back, and it knows when a region cannot serve.
func (c checker) gateway() {
	c.want("rule-network", "Microsoft.Network/applicationGateways ", map[string]string{
		"probe": `"/health/ready"`, "probe codes": `["200"]`, "response buffer": "false", "affinity": `"Disabled"`, "timeout": "240", "sku": `"WAF_v2"`, "protocol": `"Https"`,
		"firewall": `"«Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies/waf-gateway-tokentokentok»"`,
	})
	c.want("rule-network", "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies ", map[string]string{"body limit": "false", "upload limit": "false"})
	if c.has("Microsoft.Network/applicationGateways ", "agw-") {
		c.each("site ", func(name string, facts map[string]string) {
			if facts["default action"] != `"Deny"` || !strings.Contains(facts["restrictions"], ".ipAddress»/32") {
				c.say("rule-network", "%s can be called past the Application Gateway, or not by it", name)
			}
		})
	}
}

// zones: an Elastic Premium plan over zones has an instance for each.
func (c checker) zones() {
	c.each("Microsoft.Web/serverfarms ", func(name string, facts map[string]string) {
		if facts["zones"] == "true" && facts["sku"] != `"FC1"` && len(facts["workers"]) < 2 && facts["workers"] < "3" {
			c.say("rule-names", "%s is over zones and has %s workers, needs three", name, orAbsent(facts["workers"]))
		}
	})
}

// alertNames are the alerts that both templates have.
func alertNames() []string {
	return []string{"no-backend", "breaker-open", "backend-auth", "disagreement", "condition", "configuration", "failures", "throttled", "instance", "operator-keys", "budget", "daily-cap"}
}

func (c checker) alerts() {
	var have []string
	c.each("Microsoft.Insights/scheduledQueryRules ", func(name string, facts map[string]string) {
		have = append(have, strings.TrimSuffix(strings.TrimPrefix(name, "alert-"), "-tokentokentok"))
		if !strings.Contains(facts["query"], "AppTraces") && !strings.Contains(facts["query"], "_LogOperation") {
			c.say("rule-alerts", "alert %s reads no log", name)
		}
	})
	c.each("Microsoft.Insights/webtests ", func(name string, _ map[string]string) {
		if !c.has("Microsoft.Insights/metricAlerts ", "alert-availability-") {
			c.say("rule-alerts", "nothing says when %s fails", name)
		}
	})
	for _, name := range alertNames() {
		if len(have) > 0 && !slices.Contains(have, name) {
			c.say("rule-alerts", "alert %s is missing", name)
		}
	}
}
