package rules

import (
	"maps"
	"slices"
	"strings"
)

// always are the settings without which the app does not work, or works with a key.
func always() []string {
	return []string{
		"AzureWebJobsStorage__accountName", "AzureWebJobsStorage__credential", "AzureWebJobsStorage__clientId", "AZURE_CLIENT_ID", "AzureWebJobsDisableHomepage",
		"APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "SPILLWAY_CONFIG", "SPILLWAY_AUTH",
		"SPILLWAY_STATE__tableServiceUri", "SPILLWAY_STATE__credential", "SPILLWAY_STATE__clientId",
	}
}

// notOnFlex are settings that Flex Consumption refuses or ignores (docs/functions-host.md#plans).
func notOnFlex() []string {
	return []string{
		"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_WORKER_RUNTIME_VERSION", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE",
		"WEBSITE_CONTENTAZUREFILECONNECTIONSTRING", "WEBSITE_CONTENTSHARE", "SCM_DO_BUILD_DURING_DEPLOYMENT", "ENABLE_ORYX_BUILD",
		"WEBSITE_VNET_ROUTE_ALL", "WEBSITE_USE_PLACEHOLDER",
	}
}

// onPremium are the settings that an Elastic Premium plan needs instead.
func onPremium() []string {
	return []string{"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID"}
}

// sites: runtime and app settings of every function app.
func (c checker) sites() {
	c.each("site ", func(name string, facts map[string]string) {
		settings := c.inv["settings of "+name]
		flex := c.skuOf(name) == `"FC1"`
		for _, s := range always() {
			if orAbsent(settings[s]) == "absent" || settings[s] == `""` {
				c.say("rule-settings", "%s: app setting %s is missing", name, s)
			}
		}
		for _, s := range slices.Sorted(maps.Keys(settings)) {
			c.setting(name, s, settings[s], flex)
		}
		c.transcripts(name, settings)
		if !flex {
			for _, s := range onPremium() {
				if settings[s] == "" {
					c.say("rule-settings", "%s: app setting %s is missing on a Premium plan", name, s)
				}
			}
			return
		}
		if facts["runtime"] != `"custom"` || facts["runtime version"] != `"1.0"` {
			c.say("rule-settings", "%s: the runtime is %s %s, must be custom 1.0: another one is accepted and never starts", name, facts["runtime"], facts["runtime version"])
		}
		if facts["package identity"] == "" {
			c.say("rule-settings", "%s: packages are not read with the identity", name)
		}
	})
}

// skuOf is the sku of the plan with the same ending as the site.
func (c checker) skuOf(site string) string {
	return c.inv["Microsoft.Web/serverfarms plan-"+strings.TrimPrefix(site, "func-")]["sku"]
}

func (c checker) setting(site, name, value string, flex bool) {
	switch {
	case flex && slices.Contains(notOnFlex(), name):
		c.say("rule-settings", "%s: %s is not for Flex Consumption", site, name)
	case name == "AzureWebJobsStorage" || name == "APPINSIGHTS_INSTRUMENTATIONKEY":
		c.say("rule-settings", "%s: %s holds a key", site, name)
	case strings.HasPrefix(name, "AzureFunctionsJobHost__extensionBundle"):
		c.say("rule-settings", "%s: %s: the host would fetch an extension bundle that nothing uses", site, name)
	}
	for _, secret := range []string{"AccountKey=", "SharedAccessSignature", "&sig="} {
		if strings.Contains(value, secret) {
			c.say("rule-security", "%s: %s holds %s…", site, name, secret)
		}
	}
	if slices.Contains([]string{"AzureWebJobsStorage__credential", "SPILLWAY_STATE__credential"}, name) && value != `"managedidentity"` {
		c.say("rule-settings", "%s: %s is %s, must be managedidentity", site, name, value)
	}
	if name == "APPLICATIONINSIGHTS_AUTHENTICATION_STRING" && !strings.HasSuffix(value, `;Authorization=AAD"`) {
		c.say("rule-settings", "%s: %s must end in Authorization=AAD: the component refuses keys", site, name)
	}
}
