// No backend, and a domain that nothing serves: what cannot be wrong beside everything.bicepparam.
using '../main.bicep'

param environmentName = 'nobody'
param location = 'swedencentral'
param customDomain = 'contoso.com'
