// Nothing but Front Door is open: accounts, state, packages and vault answer on private endpoints only, callers bring Entra ID tokens,
// Front Door comes in by Private Link, operators from one address range.
using '../main.bicep'

param environmentName = readEnvironmentVariable('SPILLWAY_ENVIRONMENT', 'spillway-locked')
param location = readEnvironmentVariable('SPILLWAY_LOCATION', 'swedencentral')
param resourceGroupName = 'rg-ai-gateway'
param principalId = '11111111-2222-3333-4444-555555555555'
param principalType = 'Group'

param accounts = {
  sweden: {
    location: 'swedencentral'
    geography: 'eu'
    priority: 2
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'DataZoneStandard', capacity: 300 }
    ]
  }
  bought: {
    location: 'swedencentral'
    existing: { resourceGroup: 'rg-openai-prod', name: 'contoso-ptu-swc' }
    priority: 1
    deployments: [
      { name: 'gpt-5.1-ptu', model: 'gpt-5.1', version: '2025-11-13', sku: 'DataZoneProvisionedManaged', capacity: 50 }
    ]
  }
}

param auth = 'entra'
param entraTenant = '00000000-aaaa-bbbb-cccc-000000000000'
param entraAudience = 'api://spillway'
param entraIssuer = 'https://login.microsoftonline.com/00000000-aaaa-bbbb-cccc-000000000000/v2.0'
param pool = {
  consumers: [
    {
      name: 'claims'
      models: ['gpt-5.1']
      geographies: ['eu']
      transcripts: true
      entra: { appId: '99999999-8888-7777-6666-555555555555' }
    }
  ]
}

param keyVault = true
// Empty values: the security team puts the secrets into the vault themselves.
param secrets = { SPILLWAY_OPERATOR_KEY: '' }
param privateNetwork = true
param addressSpaces = ['10.90.0.0/22']
param allowedIpRanges = ['203.0.113.0/28']
param frontDoor = 'Premium'
param frontDoorPrivateLink = true
param wafRequestsPerMinute = 600
param transcripts = true
// A JSON list of patterns: what matches is not kept.
param settings = { SPILLWAY_TRANSCRIPTS_REDACT: '["[0-9]{2}-[0-9]{6}"]' }
param logRetentionDays = 365
param storageSku = 'Standard_ZRS'
