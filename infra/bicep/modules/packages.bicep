// The storage account of one function app: its package and the host's own blobs.
param name string
param location string
param tags object
param sku string
param isolated bool
param principalId string
param operatorId string
param operatorType string

var blobOwner = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
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

    resource container 'containers' = {
      name: 'app-package'
      properties: { publicAccess: 'None' }
    }
  }
}

// The host takes leases and makes its own containers: Contributor is documented as too little for AzureWebJobsStorage.
resource host 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, principalId, blobOwner)
  scope: storage
  properties: {
    roleDefinitionId: blobOwner
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// Premium plans run the package from its URL, and somebody has to put it there.
resource uploader 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(storage.id, operatorId, blobContributor)
  scope: storage::blob::container
  properties: {
    roleDefinitionId: blobContributor
    principalId: operatorId
    principalType: operatorType
  }
}

output id string = storage.id
output name string = storage.name
output container string = '${storage.properties.primaryEndpoints.blob}app-package'
