// Not for deployment: two private regions, Front Door with a domain whose records are made elsewhere, two accounts in one region.
using '../main.bicep'

param environmentName = 'own-dns'
param location = 'westeurope'
param secondLocation = 'northeurope'

param accounts = {
  one: {
    location: 'westeurope'
    keyAuth: true
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 10 }
    ]
  }
  two: {
    location: 'westeurope'
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 10 }
    ]
  }
}

param pool = { consumers: [{ name: 'team-a', keySetting: 'TEAM_A_KEY' }] }
param secrets = { TEAM_A_KEY: readEnvironmentVariable('TEAM_A_KEY') }

param privateNetwork = true
param frontDoor = 'Standard'
param customDomain = 'ai.contoso.com'
param allowedIpRanges = ['198.51.100.0/24', '203.0.113.7/32']
param settings = { SPILLWAY_LOG_LEVEL: 'debug', SPILLWAY_STATE_REFRESH: '250ms' }
