package mutants

// security are well-formed templates that break a promise.
func security() []Mutant {
	return []Mutant{
		{"storage accepts shared keys", state, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "rule-security"},
		{"blobs may be public", "infra/bicep/modules/packages.bicep", "allowBlobPublicAccess: false", "allowBlobPublicAccess: true", "rule-security"},
		{"account accepts keys", openai, "disableLocalAuth: !keyAuth", "disableLocalAuth: false", "rule-security"},
		{"component accepts keys", monitor, "DisableLocalAuth: true", "DisableLocalAuth: false", "rule-security"},
		{"workspace accepts keys", monitor, "features: { disableLocalAuth: true }", "features: { disableLocalAuth: false }", "rule-security"},
		{"FTP publishing by password", flex, "resource ftp 'basicPublishingCredentialsPolicies' = {\n    name: 'ftp'\n    properties: { allow: false }", "resource ftp 'basicPublishingCredentialsPolicies' = {\n    name: 'ftp'\n    properties: { allow: true }", "rule-security"},
		{"http allowed", flex, "httpsOnly: true", "httpsOnly: false", "rule-security"},
		{"TLS 1.0", flex, "minTlsVersion: '1.2'\n      scm", "minTlsVersion: '1.0'\n      scm", "rule-security"},
		{"vault with access policies", vault, "enableRbacAuthorization: true", "enableRbacAuthorization: false", "rule-security"},
		{"account without subdomain", openai, "customSubDomainName: name", "customSubDomainName: key", "rule-security"},
		{"a wider role: Cognitive Services Contributor", openai, "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd", "25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68", "rule-roles"},
		{"files without their role", openai, "if (stateful)", "if (stateful && false)", "rule-roles"},
		{"role on the resource group", openai, "  name: guid(account.id, principalId, openAiUser)\n  scope: account\n", "  name: guid(account.id, principalId, openAiUser)\n", "rule-roles"},
		{"table role on the account of packages", "infra/bicep/modules/packages.bicep", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "rule-roles"},
		{"one digit wrong in a role", vault, "4633458b-17de-408a-b874-0445c86b69e6", "4633458b-17de-408a-b874-0445c86b69e7", "rule-roles"},
		{"no principal type", monitor, "    principalType: 'ServicePrincipal'\n", "", "rule-roles"},
		{"account open although the network is private", openai, "defaultAction: isolated ? 'Deny' : 'Allow'", "defaultAction: 'Allow'", "rule-network"},
		{"state open although the network is private", state, "publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'", "publicNetworkAccess: 'Enabled'", "rule-network"},
		{"no private endpoint for the vault", stamp, "= if (isolated && hasVault) {", "= if (isolated && hasVault && false) {", "rule-network"},
		{"endpoint in the wrong zone", stamp, "zoneId: resourceId('Microsoft.Network/privateDnsZones', zones.account)", "zoneId: resourceId('Microsoft.Network/privateDnsZones', zones.blob)", "rule-network"},
		{"subnet without rules", network, "          networkSecurityGroup: { id: endpointRules.id }\n", "", "rule-network"},
		{"underscore in the subnet's name", network, "name: 'app'\n        properties", "name: 'app_out'\n        properties", "rule-names"},
		{"Front Door can be gone around", stamp, "        headers: { 'x-azure-fdid': [frontDoorId] }\n", "", "rule-network"},
		{"open by default behind Front Door", flex, "closed ? 'Deny' : 'Allow'", "closed ? 'Allow' : 'Deny'", "rule-network"},
		{"Front Door without firewall", door, "domains: hasDomain ? [{ id: endpoint.id }, { id: domain.id }] : [{ id: endpoint.id }]", "domains: hasDomain ? [{ id: domain.id }] : []", "rule-network"},
		{"probe that is always healthy", door, "probePath: '/health/ready'", "probePath: '/health/live'", "rule-network"},
		{"sticky sessions", door, "sessionAffinityState: 'Disabled'", "sessionAffinityState: 'Enabled'", "rule-network"},
	}
}

// product are templates that deploy and give an app that does not work.
func product() []Mutant {
	return []Mutant{
		{"runtime version that is not in the catalogue", flex, "version: '1.0'", "version: '1.1'", "rule-settings"},
		{"WEBSITE_RUN_FROM_PACKAGE on Flex", stamp, "AZURE_CLIENT_ID: identity.clientId", "AZURE_CLIENT_ID: identity.clientId\n    WEBSITE_RUN_FROM_PACKAGE: '1'", "rule-settings"},
		{"FUNCTIONS_WORKER_RUNTIME on Flex", stamp, "AZURE_CLIENT_ID: identity.clientId", "AZURE_CLIENT_ID: identity.clientId\n    FUNCTIONS_WORKER_RUNTIME: 'custom'", "rule-settings"},
		{"key in AzureWebJobsStorage", stamp, "AzureWebJobsStorage__accountName: packages.outputs.name", "AzureWebJobsStorage__accountName: packages.outputs.name\n    AzureWebJobsStorage: 'DefaultEndpointsProtocol=https;AccountKey=x'", "rule-settings"},
		{"misspelt SPILLWAY_ setting", mainB, "SPILLWAY_AUTH: auth", "SPILLWAY_AUTHS: auth", "rule-settings"},
		{"state address left out", mainB, "          SPILLWAY_STATE__tableServiceUri: state.outputs.tableEndpoint\n", "", "rule-settings"},
		{"transcripts without the address of blobs", mainB, "SPILLWAY_TRANSCRIPTS: 'transcripts', SPILLWAY_STATE__blobServiceUri: state.outputs.blobEndpoint", "SPILLWAY_TRANSCRIPTS: 'transcripts'", "rule-settings"},
		{"address of blobs with a slash at its end", state, "'https://${storage.name}.blob.${environment().suffixes.storage}'", "storage.properties.primaryEndpoints.blob", "rule-settings"},
		{"transcripts in a container that is not made", mainB, "SPILLWAY_TRANSCRIPTS: 'transcripts'", "SPILLWAY_TRANSCRIPTS: 'transcript'", "rule-settings"},
		{"transcripts that the app may not write", state, "transcriptWriter 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (transcripts)", "transcriptWriter 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (transcripts && isolated && empty(operatorId))", "rule-roles"},
		{"transcripts behind a closed door", mainB, "stateGroups: transcripts ? ['table', 'blob'] : ['table']", "stateGroups: ['table']", "rule-network"},
		{"credential misspelt", stamp, "SPILLWAY_STATE__credential: 'managedidentity'", "SPILLWAY_STATE__credential: 'managed-identity'", "rule-settings"},
		{"telemetry without Entra ID", stamp, ";Authorization=AAD", "", "rule-settings"},
		{"extension bundle by app setting", stamp, "AZURE_CLIENT_ID: identity.clientId", "AZURE_CLIENT_ID: identity.clientId\n    AzureFunctionsJobHost__extensionBundle__id: 'x'", "rule-settings"},
		{"two backends of one name", pool, "name: '${r.key}-${r.deployment.name}'", "name: r.key", "rule-pool"},
		{"backend names the model instead of the deployment", pool, "deployments: { '${r.deployment.model}': r.deployment.name }", "deployments: { '${r.deployment.model}': r.deployment.model }", "rule-pool"},
		{"key setting that is not made", stamp, "k => 'AOAI_KEY_${toUpper(", "k => 'AOAI_KEYS_${toUpper(", "rule-pool"},
		{"backend without the identity", pool, "{ mode: 'managed-identity', clientId: identityClientId }", "{ mode: 'managed-identity' }", "rule-pool"},
		{"spillover target made afterwards", "infra/bicep/examples/ptu-payg.bicepparam", "spillover: 'overflow'", "spillover: 'later'", "rule-serial"},
		{"deployments do not wait for the filters", openai, "    dependsOn: [policies]\n", "", "rule-serial"},
		{"an alert is missing", "infra/bicep/modules/alerts.bicep", "name: 'disagreement'", "name: 'agreement'", "rule-alerts"},
		{"storage name too long", mainB, "name: 'st${token}state'", "name: 'storage${token}state'", "rule-names"},
		{"group without the tag that destroy.sh looks for", mainB, "union(tags, { 'azd-env-name': environmentName })", "union(tags, { 'azd-env': environmentName })", "rule-names"},
	}
}
