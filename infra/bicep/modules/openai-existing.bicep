// An Azure OpenAI account that somebody else made: the identity gets the right to use it, nothing else changes.
param name string
param principalId string
param role string
@description('Files, batches and vector stores live here.')
param stateful bool

var openAiUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
var openAiContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'a001fd3d-188f-4b5d-821b-7da978bf7442'
)

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: name
}

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

output id string = account.id
