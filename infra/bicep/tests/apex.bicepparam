// Not for deployment: a domain that is its zone, and secrets that stay app settings behind Front Door.
using '../main.bicep'

param environmentName = 'apex'
param location = 'swedencentral'

param accounts = {
  one: {
    location: 'swedencentral'
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 10 }
    ]
  }
}

param pool = { consumers: [{ name: 'team-a', keySetting: 'TEAM_A_KEY' }] }
param secrets = { TEAM_A_KEY: readEnvironmentVariable('TEAM_A_KEY') }
param frontDoor = 'Standard'
param customDomain = 'contoso.com'
param dnsZone = 'contoso.com'
