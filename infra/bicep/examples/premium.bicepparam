// The same on an Elastic Premium plan, in a virtual network and behind a Front Door without Private Link.
using '../main.bicep'

param environmentName = readEnvironmentVariable('SPILLWAY_ENVIRONMENT', 'spillway-ep')
param location = readEnvironmentVariable('SPILLWAY_LOCATION', 'uksouth')

param accounts = {
  uk: {
    location: 'uksouth'
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 450 }
    ]
  }
  sweden: {
    location: 'swedencentral'
    priority: 2
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 450 }
    ]
  }
}

param auth = 'key,entra'
param entraTenant = '00000000-aaaa-bbbb-cccc-000000000000'
param entraAudience = 'api://spillway'
param pool = {
  consumers: [
    { name: 'team-a', keySetting: 'TEAM_A_KEY', models: ['gpt-5.1'] }
    { name: 'claims', models: ['gpt-5.1'], entra: { appId: '99999999-8888-7777-6666-555555555555' } }
  ]
}
param secrets = {
  TEAM_A_KEY: readEnvironmentVariable('TEAM_A_KEY')
}

param plan = 'premium'
param premiumSku = 'EP2'
param maximumInstances = 20
param alwaysReady = 3
param privateNetwork = true
param frontDoor = 'Premium'
param wafMode = 'Detection'
param exposeOperations = true
param purgeProtection = false
param alerts = false
param workbook = false
param diagnostics = false
param dailyLogCap = 5
