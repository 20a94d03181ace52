// Two pay-as-you-go deployments in two regions, sharing the load; if one is throttled or down the other serves.
using '../main.bicep'

param environmentName = readEnvironmentVariable('SPILLWAY_ENVIRONMENT', 'spillway-min')
param location = readEnvironmentVariable('SPILLWAY_LOCATION', 'swedencentral')

param accounts = {
  sweden: {
    location: 'swedencentral'
    deployments: [
      { name: 'gpt-5.4-mini', model: 'gpt-5.4-mini', version: '2026-03-17', sku: 'GlobalStandard', capacity: 50 }
    ]
  }
  eastus: {
    location: 'eastus2'
    deployments: [
      { name: 'gpt-5.4-mini', model: 'gpt-5.4-mini', version: '2026-03-17', sku: 'GlobalStandard', capacity: 50 }
    ]
  }
}

param pool = {
  consumers: [
    { name: 'team-a', keySetting: 'TEAM_A_KEY', models: ['gpt-5.4-mini'] }
  ]
}

param secrets = {
  TEAM_A_KEY: readEnvironmentVariable('TEAM_A_KEY')
  SPILLWAY_OPERATOR_KEY: readEnvironmentVariable('SPILLWAY_OPERATOR_KEY')
}

param alwaysReady = 0
// Asking it every few minutes would keep it awake.
param availabilityTest = false
