// What one region has: the function app, its packages, and, when private, its network with a private endpoint for everything it talks to.
param token string
param suffix string
param location string
param tags object
@description('{ id, clientId, principalId }')
param identity object
param operatorId string
param operatorType string
param plan string
param premiumSku string
param instanceMemory int
param maximumInstances int
param alwaysReady int
param concurrency int
param zoneRedundant bool
param storageSku string
param settings object
@secure()
param secrets object
@description('Names in secrets that go to the vault.')
param secretNames string[]
@description('Keys of the accounts whose key lies in the vault.')
param keySettings array
@description('Whether there is a vault. vaultUri is only known once it is made, and decides nothing.')
param hasVault bool
param vaultUri string
param isolated bool
param addressSpace string
param openAiZone string
@description('[{ name, id }]')
param accountTargets array
param stateId string
@description('Services of the state account in use: table, blob.')
param stateGroups array
param vaultId string
param hasFrontDoor bool
param frontDoorId string
param closed bool
param frontDoorPrivateLink bool
param allowedIpRanges array
@description('The address that an Application Gateway calls from, or empty.')
param gatewayAddress string
param hasGateway bool

var flex = plan == 'flex'
var storageSuffix = environment().suffixes.storage
var zones = {
  blob: 'privatelink.blob.${storageSuffix}'
  table: 'privatelink.table.${storageSuffix}'
  account: openAiZone
  vault: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
}
var zoneList = !isolated ? [] : hasVault ? items(zones) : filter(items(zones), z => z.key != 'vault')

// The platform resolves a reference with keyVaultReferenceIdentity; the secret itself is in no app setting.
var secretSettings = hasVault
  ? toObject(
      items(secrets),
      s =>
        contains(secretNames, s.key) ? s.key : fail('Name ${s.key} in secretNames: only then does it go to the vault.'),
      s => '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/${toLower(replace(s.key, '_', '-'))})'
    )
  : secrets
var accountKeySettings = toObject(
  keySettings,
  k => 'AOAI_KEY_${toUpper(replace(k, '-', '_'))}',
  k => '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/aoai-key-${k})'
)

var allSettings = union(
  {
    AzureWebJobsStorage__accountName: packages.outputs.name
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identity.clientId
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.clientId};Authorization=AAD'
    AZURE_CLIENT_ID: identity.clientId
    // Without it the host's welcome page answers at /.
    AzureWebJobsDisableHomepage: 'true'
    SPILLWAY_STATE__credential: 'managedidentity'
    SPILLWAY_STATE__clientId: identity.clientId
  },
  settings,
  accountKeySettings,
  secretSettings
)

var frontDoorRule = !hasFrontDoor || frontDoorPrivateLink
  ? []
  : [
      {
        name: 'front-door'
        description: 'Only the Front Door of this installation, not everybody\'s.'
        priority: 100
        action: 'Allow'
        tag: 'ServiceTag'
        ipAddress: 'AzureFrontDoor.Backend'
        headers: { 'x-azure-fdid': [frontDoorId] }
      }
    ]
var rangeRules = map(allowedIpRanges, (range, i) => {
  name: 'range-${i}'
  priority: 200 + i
  action: 'Allow'
  tag: 'Default'
  ipAddress: range
})

var gatewayRule = !hasGateway
  ? []
  : [
      {
        name: 'gateway'
        priority: 150
        action: 'Allow'
        tag: 'Default'
        ipAddress: '${gatewayAddress}/32'
      }
    ]

module network 'network.bicep' = if (isolated) {
  name: 'network${suffix}'
  params: {
    token: token
    suffix: suffix
    location: location
    tags: tags
    addressSpace: addressSpace
    delegation: flex ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
  }
}

module dns 'zone.bicep' = [
  for zone in zoneList: {
    name: 'zone-${zone.key}${suffix}'
    params: {
      name: zone.value
      tags: tags
      vnetId: network!.outputs.id
    }
  }
]

module packages 'packages.bicep' = {
  name: 'packages${suffix}'
  params: {
    name: 'st${token}${replace(suffix, '-', '')}'
    location: location
    tags: tags
    sku: storageSku
    isolated: isolated
    principalId: identity.principalId
    operatorId: operatorId
    operatorType: operatorType
  }
}

module packageEndpoint 'endpoint.bicep' = if (isolated) {
  name: 'endpoint-packages${suffix}'
  params: {
    name: 'pe-packages-${token}${suffix}'
    location: location
    tags: tags
    subnetId: network!.outputs.endpointSubnetId
    targetId: packages.outputs.id
    groupId: 'blob'
    zoneId: resourceId('Microsoft.Network/privateDnsZones', zones.blob)
  }
  dependsOn: [dns]
}

module stateEndpoints 'endpoint.bicep' = [
  for group in (isolated ? stateGroups : []): {
    name: 'endpoint-state-${group}${suffix}'
    params: {
      name: 'pe-state-${group}-${token}${suffix}'
      location: location
      tags: tags
      subnetId: network!.outputs.endpointSubnetId
      targetId: stateId
      groupId: group
      zoneId: resourceId('Microsoft.Network/privateDnsZones', zones[group])
    }
    dependsOn: [dns]
  }
]

module vaultEndpoint 'endpoint.bicep' = if (isolated && hasVault) {
  name: 'endpoint-vault${suffix}'
  params: {
    name: 'pe-vault-${token}${suffix}'
    location: location
    tags: tags
    subnetId: network!.outputs.endpointSubnetId
    targetId: vaultId
    groupId: 'vault'
    zoneId: resourceId('Microsoft.Network/privateDnsZones', zones.vault)
  }
  dependsOn: [dns]
}

module accountEndpoints 'endpoint.bicep' = [
  for target in (isolated ? accountTargets : []): {
    name: 'endpoint-${target.name}${suffix}'
    params: {
      name: 'pe-${target.name}-${token}${suffix}'
      location: location
      tags: tags
      subnetId: network!.outputs.endpointSubnetId
      targetId: target.id
      groupId: 'account'
      zoneId: resourceId('Microsoft.Network/privateDnsZones', zones.account)
    }
    dependsOn: [dns]
  }
]

module flexApp 'app-flex.bicep' = if (flex) {
  name: 'app-flex${suffix}'
  params: {
    token: token
    suffix: suffix
    location: location
    tags: tags
    identityId: identity.id
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    alwaysReady: alwaysReady
    concurrency: concurrency
    zoneRedundant: zoneRedundant
    packageContainer: packages.outputs.container
    settings: allSettings
    subnetId: isolated ? network!.outputs.appSubnetId : ''
    restrictions: concat(frontDoorRule, gatewayRule, rangeRules)
    closed: closed
  }
  dependsOn: [packageEndpoint, stateEndpoints, vaultEndpoint, accountEndpoints]
}

module premiumApp 'app-premium.bicep' = if (!flex) {
  name: 'app-premium${suffix}'
  params: {
    token: token
    suffix: suffix
    location: location
    tags: tags
    identityId: identity.id
    sku: premiumSku
    maximumInstances: maximumInstances
    alwaysReady: alwaysReady
    zoneRedundant: zoneRedundant
    packageContainer: packages.outputs.container
    settings: allSettings
    subnetId: isolated ? network!.outputs.appSubnetId : ''
    restrictions: concat(frontDoorRule, gatewayRule, rangeRules)
    closed: closed
  }
  dependsOn: [packageEndpoint, stateEndpoints, vaultEndpoint, accountEndpoints]
}

output siteId string = flex ? flexApp!.outputs.id : premiumApp!.outputs.id
output siteName string = flex ? flexApp!.outputs.name : premiumApp!.outputs.name
output hostName string = flex ? flexApp!.outputs.hostName : premiumApp!.outputs.hostName
output packageContainer string = packages.outputs.container
