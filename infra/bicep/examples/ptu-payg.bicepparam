// Provisioned throughput first, pay-as-you-go for what does not fit. Keys in a vault; a content filter; prices and budgets.
using '../main.bicep'

param environmentName = readEnvironmentVariable('SPILLWAY_ENVIRONMENT', 'spillway-ptu')
param location = readEnvironmentVariable('SPILLWAY_LOCATION', 'swedencentral')

param accounts = {
  sweden: {
    location: 'swedencentral'
    priority: 2
    weight: 3
    stateful: true
    deployments: [
      {
        name: 'gpt-5.1'
        model: 'gpt-5.1'
        version: '2025-11-13'
        sku: 'DataZoneStandard'
        capacity: 300
        filter: 'strict'
      }
      { name: 'embed', model: 'text-embedding-3-large', version: '1', sku: 'Standard', capacity: 350 }
      {
        name: 'gpt-5.1-ptu'
        model: 'gpt-5.1'
        version: '2025-11-13'
        sku: 'DataZoneProvisionedManaged'
        capacity: 15
        priority: 1
        weight: 1
        filter: 'strict'
        upgrade: 'OnceCurrentVersionExpired'
      }
    ]
  }
  france: {
    location: 'francecentral'
    priority: 2
    deployments: [
      {
        name: 'gpt-5.1'
        model: 'gpt-5.1'
        version: '2025-11-13'
        sku: 'DataZoneStandard'
        capacity: 300
        filter: 'strict'
      }
      { name: 'embed', model: 'text-embedding-3-large', version: '1', sku: 'Standard', capacity: 350 }
      { name: 'overflow', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 100, routed: false }
      {
        name: 'gpt-5.1-ptu'
        model: 'gpt-5.1'
        version: '2025-11-13'
        sku: 'GlobalProvisionedManaged'
        capacity: 15
        priority: 1
        spillover: 'overflow'
      }
    ]
  }
  legacy: {
    location: 'eastus'
    priority: 3
    keyAuth: true
    deployments: [
      { name: 'gpt-5.1', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 100 }
    ]
  }
}

param contentFilters = {
  strict: [
    { name: 'Hate', source: 'Prompt', severityThreshold: 'Low', blocking: true, enabled: true }
    { name: 'Hate', source: 'Completion', severityThreshold: 'Low', blocking: true, enabled: true }
    { name: 'Jailbreak', source: 'Prompt', blocking: true, enabled: true }
  ]
}

param extraBackends = [
  {
    name: 'last-resort'
    kind: 'openai'
    endpoint: 'https://llm.contoso.com/v1'
    priority: 9
    weight: 1
    deployments: ['gpt-5.1']
    auth: { mode: 'api-key', setting: 'LAST_RESORT_KEY' }
  }
]

param pool = {
  models: {
    'gpt-5.1': {
      aliases: ['gpt-5']
      price: { currency: 'USD', input: json('1.25'), cachedInput: json('0.125'), output: 10 }
    }
  }
  circuitBreaker: { failures: 5, interval: '10s', tripDuration: '10s', maxTripDuration: '5m' }
  throttle: { acceptRetryAfter: true, defaultWait: '10s', maxWait: '5m' }
  consumers: [
    { name: 'team-a', keySetting: 'TEAM_A_KEY', models: ['gpt-5.1'], tokensPerMinute: 50000, budgetPerMonth: 500 }
    { name: 'search', keySetting: 'SEARCH_KEY', models: ['text-embedding-3-large'] }
  ]
}

param keyVault = true
param secrets = {
  TEAM_A_KEY: readEnvironmentVariable('TEAM_A_KEY')
  SEARCH_KEY: readEnvironmentVariable('SEARCH_KEY')
  LAST_RESORT_KEY: readEnvironmentVariable('LAST_RESORT_KEY')
  SPILLWAY_OPERATOR_KEY: readEnvironmentVariable('SPILLWAY_OPERATOR_KEY')
}

param settings = { SPILLWAY_EXPOSE: 'true' }
param alertEmails = ['oncall@contoso.com']
