package mutants

const (
	openai  = "infra/bicep/modules/openai.bicep"
	flex    = "infra/bicep/modules/app-flex.bicep"
	stamp   = "infra/bicep/modules/stamp.bicep"
	state   = "infra/bicep/modules/state.bicep"
	monitor = "infra/bicep/modules/monitor.bicep"
	network = "infra/bicep/modules/network.bicep"
	door    = "infra/bicep/modules/frontdoor.bicep"
	pool    = "infra/bicep/modules/pool.bicep"
	vault   = "infra/bicep/modules/vault.bicep"
	mainB   = "infra/bicep/main.bicep"
)

// known are the twenty-five faults of the study that these checks come from; its prototype caught 17 of them.
func known() []Mutant {
	return []Mutant{
		{"misspelt property", flex, "httpsOnly:", "httpOnly:", "bicep-body"},
		{"misspelt property, deep", flex, "perInstanceConcurrency", "perInstanceConcurency", "bicep-body"},
		{"misspelt property, nested resource", state, "properties: { publicAccess: 'None' }", "properties: { publicAcces: 'None' }", "bicep-body"},
		{"value outside a closed set", state, "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS12'", "bicep-body"},
		{"text where a boolean belongs", flex, "httpsOnly: true", "httpsOnly: 'true'", "bicep-body"},
		{"number where a text belongs", openai, "format: 'OpenAI'", "format: 1", "bicep-body"},
		{"object where an array belongs", vault, "logs: [", "logs: {} //", "bicep-syntax"},
		{"unknown API version", flex, "Microsoft.Web/sites@2024-11-01", "Microsoft.Web/sites@2024-11-02", "bicep-types"},
		{"unknown resource type", flex, "Microsoft.Web/serverfarms@", "Microsoft.Web/serverfarm@", "bicep-types"},
		{"read-only property set", monitor, "DisableLocalAuth: true", "DisableLocalAuth: true\n    ConnectionString: 'x'", "bicep-body"},
		{"required property missing", monitor, "Application_Type: 'web'", "", "bicep-body"},
		{"syntax: bracket not closed", network, "addressPrefixes: [addressSpace]", "addressPrefixes: [addressSpace", "bicep-syntax"},
		{"syntax: no equals sign", monitor, "var metricsPublisher =", "var metricsPublisher", "bicep-syntax"},
		{"undeclared name", state, "name: name\n  location: location", "name: nam\n  location: location", "bicep-names"},
		{"module parameter that does not exist", mainB, "retentionDays: logRetentionDays", "retentionDay: logRetentionDays", "bicep-wiring"},
		{"module output that does not exist", mainB, "stateId: state.outputs.id", "stateId: state.outputs.identifier", "bicep-wiring"},
		{"module file missing", mainB, "'modules/identity.bicep'", "'modules/identities.bicep'", "bicep-wiring"},
		{"misspelt key of a module", mainB, "name: 'identity'\n  scope:", "name: 'identity'\n  scop:", "bicep-wiring"},
		{"misspelt function", mainB, "toLower(", "toLowr(", "bicep-names"},
		{"misspelt property path on a resource", monitor, "insights.properties.ConnectionString", "insights.properties.ConnectionStrin", "bicep-names"},
		{"expression of the wrong type", flex, "httpsOnly: true", "httpsOnly: concurrency", "bicep-body"},
		{"misspelt decorator", mainB, "@minLength(1)", "@minLenght(1)", "bicep-names"},
		{"misspelt user type", openai, "param deployments deployment[]", "param deployments deploymnt[]", "bicep-names"},
		{"well-typed and wrong: subnet delegation", stamp, "flex ? 'Microsoft.App/environments'", "flex ? 'Microsoft.Web/serverFarms'", "rule-network"},
		{"@batchSize(1) removed", openai, "@batchSize(1)\nresource models", "resource models", "rule-serial"},
	}
}

// wiring are faults in how files, modules and names go together.
func wiring() []Mutant {
	return []Mutant{
		{"module parameter left out", mainB, "    retentionDays: logRetentionDays\n", "", "bicep-wiring"},
		{"for-expression inside a function call", mainB, "accountNames: accountNames\n    openAiSuffix", "accountNames: concat([for a in accountList: a.key], [])\n    openAiSuffix", "bicep-syntax"},
		{"name known only after deployment", flex, "name: 'plan-${token}${suffix}'", "name: 'plan-${site.properties.defaultHostName}'", "bicep-start"},
		{"condition known only after deployment", mainB, "= if (hasFrontDoor) {\n  name: 'frontdoor-profile'", "= if (!empty(monitor.outputs.workspaceId)) {\n  name: 'frontdoor-profile'", "bicep-start"},
		{"loop over what is known only after deployment", mainB, "  for (a, i) in accountList: if (!contains", "  for (a, i) in document.outputs.config.backends: if (!contains", "bicep-start"},
		{"wrong number of arguments", mainB, "uniqueString(subscription().id, environmentName, location)", "uniqueString()", "bicep-names"},
		{"parameter never used", pool, "param options object", "param options object\nparam unused string = ''", "bicep-names"},
		{"variable declared twice", pool, "var backends =", "var routed = []\nvar backends =", "bicep-names"},
		{"variable in a circle", stamp, "var storageSuffix = environment().suffixes.storage", "var storageSuffix = zones.blob", "bicep-names"},
		{"optional member read as if it were always there", mainB, "keyAuth: a.value.?keyAuth ?? false", "keyAuth: a.value.keyAuth", "bicep-names"},
		{"import of a type that is not exported", openai, "import { contentFilter, deployment }", "import { contentFilters, deployment }", "bicep-names"},
		{"file to load is not there", "infra/bicep/modules/alerts.bicep", "alert-budget.kql", "alert-budgets.kql", "bicep-body"},
		{"conditional module read without its condition", mainB, "vaultId: hasVault ? vault!.outputs.id : ''", "vaultId: vault!.outputs.id", "bicep-wiring"},
		{"empty name of a resource that is switched off", door, "name: replace(hasDomain ? customDomain : 'unused', '.', '-')", "name: replace(customDomain, '.', '-')", "bicep-body"},
		{"example gives a value outside its type", "infra/bicep/examples/minimum.bicepparam", "sku: 'GlobalStandard'", "sku: 'GlobalStandart'", "bicep-wiring"},
		{"example gives a parameter that does not exist", "infra/bicep/examples/premium.bicepparam", "param premiumSku", "param premiumSize", "bicep-wiring"},
		{"property given twice", flex, "httpsOnly: true", "httpsOnly: true\n    httpsOnly: true", "bicep-syntax"},
		{"branch that no example takes", flex, "zoneRedundant: zoneRedundant", "zoneRedundant: maximumInstances > 5000 ? true : zoneRedundant", "bicep-coverage"},
		{"comparison of a number with a text", flex, "alwaysReady == 0", "alwaysReady < '1'", "bicep-body"},
		{"subnet outside its network", network, "cidrSubnet(addressSpace, 24, 1)", "cidrSubnet(addressSpace, 24, 9)", "bicep-body"},
		{"account with the name of an endpoint", "infra/bicep/examples/minimum.bicepparam", "  sweden: {", "  packages: {", "bicep-body"},
		{"spillover to another kind of deployment", "infra/bicep/examples/ptu-payg.bicepparam", "spillover: 'overflow'", "spillover: 'gpt-5.1'", "bicep-body"},
		{"Private Link on the Standard sku", "infra/bicep/examples/locked-down.bicepparam", "frontDoor = 'Premium'", "frontDoor = 'Standard'", "bicep-body"},
		{"domain outside its zone", "infra/bicep/examples/multi-region.bicepparam", "dnsZone = 'contoso.com'", "dnsZone = 'contoso.net'", "bicep-body"},
		{"secret without a name", "infra/bicep/examples/ptu-payg.bicepparam", "SEARCH_KEY: readEnvironmentVariable", "OTHER_KEY: readEnvironmentVariable", "bicep-body"},
		{"output declared as another type", state, "output id string = storage.id", "output id int = 'x'", "bicep-wiring"},
	}
}
