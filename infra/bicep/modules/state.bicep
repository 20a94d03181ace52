// The storage account that all instances of all regions share: tables for breakers, throttles, keys and usage; transcripts when asked for.
param name string
param location string
param tags object
param sku string
param isolated bool
param transcripts bool
param principalId string
param operatorId string
param operatorType string

var tableContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
)
var blobContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
)

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: isolated ? 'Deny' : 'Allow'
      bypass: 'None'
    }
  }

  resource blob 'blobServices' = {
    name: 'default'

    resource container 'containers' = if (transcripts) {
      name: 'transcripts'
      properties: { publicAccess: 'None' }
    }
  }
}

// Spillway makes its tables itself; this role is enough for that.
resource tables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, principalId, tableContributor)
  scope: storage
  properties: {
    roleDefinitionId: tableContributor
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource transcriptWriter 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (transcripts) {
  name: guid(storage.id, principalId, blobContributor)
  scope: storage::blob::container
  properties: {
    roleDefinitionId: blobContributor
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// spillway backends, keys and usage on the operator's own machine.
resource operator 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(storage.id, operatorId, tableContributor)
  scope: storage
  properties: {
    roleDefinitionId: tableContributor
    principalId: operatorId
    principalType: operatorType
  }
}

output id string = storage.id
output name string = storage.name
output tableEndpoint string = storage.properties.primaryEndpoints.table
// Without the slash that primaryEndpoints.blob ends in: names of containers are put behind it with one of their own.
output blobEndpoint string = 'https://${storage.name}.blob.${environment().suffixes.storage}'
