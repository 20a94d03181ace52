// The address of the Application Gateway, and its identity: the function app lets in this address, and the vault lets the identity read.
param token string
param location string
param tags object
param zones string[]

resource address 'Microsoft.Network/publicIPAddresses@2024-07-01' = {
  name: 'pip-gateway-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  zones: empty(zones) ? null : zones
  properties: { publicIPAllocationMethod: 'Static' }
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-gateway-${token}'
  location: location
  tags: tags
}

output id string = address.id
output address string = address.properties.ipAddress
output identityId string = identity.id
output principalId string = identity.properties.principalId
