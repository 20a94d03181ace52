// No backend, and a domain that nothing serves: what cannot be wrong beside everything.bicepparam.
using '../main.bicep'

param environmentName = 'nobody'
param location = 'swedencentral'
param resourceGroupName = 'rg-nobody.'
param pool = { consumers: [{ name: 'team-a', keySetting: 'TEAM A KEY' }] }
param customDomain = 'contoso.com'
