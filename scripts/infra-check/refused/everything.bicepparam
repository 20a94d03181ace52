// Nothing in it can be deployed: main.bicep refuses it for as many reasons as it can at once.
using '../main.bicep'

param environmentName = 'a_b'
param location = 'swedencentral'
param secondLocation = 'swedencentral'
param resourceGroupName = 'rg-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789'
param accounts = {
  packages: {
    location: 'swedencentral'
    keyAuth: true
    existing: { resourceGroup: 'rg-shared', name: 'contoso' }
    deployments: [
      { name: 'a-deployment-whose-name-has-more-than-sixty-four-characters-in-it-x', model: 'gpt-5.1', version: '2025-11-13', sku: 'Standard', capacity: 1 }
      { name: 'ptu', model: 'gpt-5.1', version: '2025-11-13', sku: 'ProvisionedManaged', capacity: 15, spillover: 'nobody' }
    ]
  }
  Capital: {
    location: 'swedencentral'
    deployments: [{ name: 'b-c', model: 'gpt-5.1', version: '2025-11-13', sku: 'Standard', capacity: 1, filter: 'strict' }]
  }
  'Capital-b': {
    location: 'swedencentral'
    deployments: [{ name: 'c', model: 'gpt-5.1', version: '2025-11-13', sku: 'Standard', capacity: 1 }]
  }
}
param auth = 'entra'
param alwaysReady = 101
param zoneRedundant = true
param addressSpaces = ['10.42.0.0/23']
param frontDoor = 'Standard'
param frontDoorPrivateLink = true
param customDomain = 'contoso.com'
param dnsZone = 'contoso.net'
param applicationGateway = true
