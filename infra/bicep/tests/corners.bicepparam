// Not for deployment: the branches that no example takes. Premium without a network and open to everybody; a vault without audit.
using '../main.bicep'

param environmentName = 'corners'
param location = 'westus'
param tags = { team: 'ai' }
param principalId = '11111111-2222-3333-4444-555555555555'

param accounts = {
  nowhere: {
    location: 'newregion'
    weight: 0
    deployments: [
      { name: 'regional', model: 'gpt-5.1', version: '2025-11-13', sku: 'Standard', capacity: 1 }
      { name: 'zonal', model: 'gpt-5.1', version: '2025-11-13', sku: 'DataZoneStandard', capacity: 1, weight: 5 }
      { name: 'anywhere', model: 'gpt-5.4-mini', version: '2026-03-17', sku: 'GlobalProvisionedManaged', capacity: 1 }
    ]
  }
  shared: {
    location: 'westus'
    stateful: true
    existing: { resourceGroup: 'rg-shared', name: 'contoso-files' }
    deployments: [
      { name: 'batch', model: 'gpt-5.1', version: '2025-11-13', sku: 'GlobalStandard', capacity: 1 }
    ]
  }
  home: {
    location: 'westus'
    deployments: [
      { name: 'regional', model: 'gpt-5.1', version: '2025-11-13', sku: 'Standard', capacity: 1 }
    ]
  }
}

param plan = 'premium'
param maximumInstances = 200
param alwaysReady = 0
param keyVault = true
param purgeProtection = false
param diagnostics = false
param auth = 'none'
param openAiSuffix = 'openai.azure.com'
param restoreAccounts = true
param recoverVault = true
