// Behind an Application Gateway with its firewall, for those who have a certificate and no use for Front Door. Two regions, each over its zones.
using '../main.bicep'

param environmentName = readEnvironmentVariable('SPILLWAY_ENVIRONMENT', 'spillway-agw')
param location = readEnvironmentVariable('SPILLWAY_LOCATION', 'swedencentral')
param secondLocation = 'francecentral'

param accounts = {
  sweden: {
    location: 'swedencentral'
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'DataZoneStandard', capacity: 300 }
    ]
  }
  france: {
    location: 'francecentral'
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'DataZoneStandard', capacity: 300 }
    ]
  }
}

param pool = {
  consumers: [
    { name: 'team-a', keySetting: 'TEAM_A_KEY', models: ['gpt-5.1'] }
  ]
}
param secrets = {
  TEAM_A_KEY: readEnvironmentVariable('TEAM_A_KEY')
  SPILLWAY_OPERATOR_KEY: readEnvironmentVariable('SPILLWAY_OPERATOR_KEY')
}

param plan = 'premium'
param zoneRedundant = true
param storageSku = 'Standard_ZRS'
param applicationGateway = true
param gatewayHostName = 'ai.contoso.com'
param gatewayCertificate = 'https://kv-contoso.vault.azure.net/secrets/ai-contoso-com'
param gatewayVaultId = '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-certificates/providers/Microsoft.KeyVault/vaults/kv-contoso'
param allowedIpRanges = ['203.0.113.0/28']
param alertEmails = ['oncall@contoso.com']
