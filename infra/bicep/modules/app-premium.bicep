// The function app on an Elastic Premium plan. It runs its package from a blob, so that no file share, and no shared key, is needed.
param token string
param suffix string
param location string
param tags object
param identityId string
param sku string
param maximumInstances int
param alwaysReady int
param zoneRedundant bool
param packageContainer string
@secure()
param settings object
param subnetId string
param restrictions array
param closed bool

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-${token}${suffix}'
  location: location
  tags: tags
  kind: 'elastic'
  sku: {
    name: sku
    tier: 'ElasticPremium'
    // One for each zone; without zones the plan begins with one.
    capacity: zoneRedundant ? max(alwaysReady, 3) : null
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
    maximumElasticWorkerCount: min(maximumInstances, 100)
  }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  name: 'func-${token}${suffix}'
  location: location
  tags: union(tags, { 'azd-service-name': 'spillway' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    outboundVnetRouting: empty(subnetId) ? null : { allTraffic: true }
    siteConfig: {
      linuxFxVersion: ''
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      healthCheckPath: '/health/live'
      minimumElasticInstanceCount: max(alwaysReady, zoneRedundant ? 3 : 1)
      functionAppScaleLimit: min(maximumInstances, 100)
      ipSecurityRestrictionsDefaultAction: closed ? 'Deny' : 'Allow'
      ipSecurityRestrictions: restrictions
      scmIpSecurityRestrictionsUseMain: false
    }
  }

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: union(settings, {
      FUNCTIONS_EXTENSION_VERSION: '~4'
      FUNCTIONS_WORKER_RUNTIME: 'custom'
      WEBSITE_RUN_FROM_PACKAGE: '${packageContainer}/spillway.zip'
      WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId
    })
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }
}

output id string = site.id
output name string = site.name
output hostName string = site.properties.defaultHostName
