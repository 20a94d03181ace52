// Two keys that Azure takes for one: the second account would take the place of the first.
using '../main.bicep'

param environmentName = 'case'
param location = 'swedencentral'
param accounts = {
  openai: { location: 'swedencentral', deployments: [{ name: 'b', model: 'gpt-5.1', version: '2025-11-13', sku: 'Standard', capacity: 1 }] }
  OpenAI: { location: 'swedencentral', deployments: [{ name: 'c', model: 'gpt-5.1', version: '2025-11-13', sku: 'Standard', capacity: 1 }] }
}
