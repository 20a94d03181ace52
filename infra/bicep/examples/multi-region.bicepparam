// Every region that has the models, two function apps behind Front Door, one shared state. Each app prefers the region it runs in.
using '../main.bicep'

param environmentName = readEnvironmentVariable('SPILLWAY_ENVIRONMENT', 'spillway-multi')
param location = readEnvironmentVariable('SPILLWAY_LOCATION', 'swedencentral')
param secondLocation = 'eastus2'

param models = {
  'gpt-5.4-mini': { regions: ['swedencentral', 'francecentral', 'eastus2'] }
  'gpt-5.1': { sku: 'DataZoneStandard' }
  'text-embedding-3-large': { version: '1', sku: 'Standard', regions: ['swedencentral', 'eastus2'], capacity: 120 }
}
param modelPriority = 2
param capacityScale = 50

// This one replaces what the expansion would make in its region.
param accounts = {
  swedencentral: {
    location: 'swedencentral'
    priorityIn: { swedencentral: 1 }
    priority: 2
    deployments: [
      { name: 'gpt-5.4-mini', model: 'gpt-5.4-mini', version: '2026-03-17', sku: 'GlobalStandard', capacity: 500 }
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'DataZoneStandard', capacity: 300 }
      { name: 'text-embedding-3-large', model: 'text-embedding-3-large', version: '1', sku: 'Standard', capacity: 350 }
    ]
  }
}

param pool = {
  models: { 'gpt-5.1': { fallbacks: ['gpt-5.4-mini'] } }
  consumers: [
    { name: 'europe', keySetting: 'EUROPE_KEY', models: ['gpt-5.1'], geographies: ['eu'] }
  ]
}
param secrets = {
  EUROPE_KEY: readEnvironmentVariable('EUROPE_KEY')
  SPILLWAY_OPERATOR_KEY: readEnvironmentVariable('SPILLWAY_OPERATOR_KEY')
}

param frontDoor = 'Standard'
param customDomain = 'ai.contoso.com'
param dnsZone = 'contoso.com'
param zoneRedundant = true
param storageSku = 'Standard_GZRS'
param alwaysReady = 2
param alertEmails = ['oncall@contoso.com', 'platform@contoso.com']
param tags = { costCenter: '4711' }
