// One Azure OpenAI account with its filters and deployments, and the right to use it.
import { contentFilter, deployment } from 'types.bicep'

param name string
param key string
param location string
param tags object
param deployments deployment[]
param contentFilters { *: contentFilter[] }
param principalId string
param operatorId string
param operatorType string
@description('Files, batches and vector stores live here.')
param stateful bool
param isolated bool
param keyAuth bool
param vaultName string
param restore bool
param role string
param workspaceId string

var openAiUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
var openAiContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'a001fd3d-188f-4b5d-821b-7da978bf7442'
)
var filters = filter(items(contentFilters), f => length(filter(deployments, d => (d.?filter ?? '') == f.key)) > 0)

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: { name: 'S0' }
  properties: {
    customSubDomainName: name
    disableLocalAuth: !keyAuth
    publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: isolated ? 'Deny' : 'Allow'
      ipRules: []
      virtualNetworkRules: []
    }
    restore: restore
  }
}

@batchSize(1)
resource policies 'Microsoft.CognitiveServices/accounts/raiPolicies@2025-06-01' = [
  for f in filters: {
    parent: account
    name: f.key
    properties: {
      basePolicyName: 'Microsoft.DefaultV2'
      mode: 'Blocking'
      contentFilters: f.value
    }
  }
]

// One at a time: parallel writes to the deployments of one account are refused with 409.
@batchSize(1)
resource models 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = [
  for d in deployments: {
    parent: account
    name: d.name
    sku: {
      name: d.sku
      capacity: d.capacity
    }
    properties: {
      model: {
        format: 'OpenAI'
        name: d.model
        version: d.version
      }
      versionUpgradeOption: d.?upgrade ?? 'NoAutoUpgrade'
      raiPolicyName: d.?filter ?? 'Microsoft.DefaultV2'
      spilloverDeploymentName: d.?spillover
    }
    dependsOn: [policies]
  }
]

resource user 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, openAiUser)
  scope: account
  properties: {
    roleDefinitionId: openAiUser
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// Files, batches and vector stores: OpenAI User may not write them.
resource files 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (stateful) {
  name: guid(account.id, principalId, openAiContributor)
  scope: account
  properties: {
    roleDefinitionId: openAiContributor
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource operator 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(account.id, operatorId, openAiUser)
  scope: account
  properties: {
    roleDefinitionId: openAiUser
    principalId: operatorId
    principalType: operatorType
  }
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = if (keyAuth) {
  name: keyAuth ? vaultName : 'unused'
}

resource accountKey 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (keyAuth) {
  parent: vault
  name: 'aoai-key-${key}'
  properties: { value: account.listKeys().key1 }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  name: 'audit'
  scope: account
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
  }
}

output id string = account.id
