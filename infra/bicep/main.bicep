// Spillway in one subscription: the function app, its state, its identity, and the Azure OpenAI accounts behind it.
// The map `accounts` is the only list of backends: it becomes the accounts, their deployments, the role assignments and SPILLWAY_CONFIG.
targetScope = 'subscription'

import { account, contentFilter, modelPlan } from 'modules/types.bicep'

// Where

@minLength(1)
@maxLength(32)
@description('Short name of this installation: part of every resource name and the value of the tag azd-env-name.')
param environmentName string

@metadata({ azd: { type: 'location' } })
@description('Region of the function app and of everything that is not an Azure OpenAI account.')
param location string

@description('A second region with its own function app on the same shared state. Empty: none.')
param secondLocation string = ''

@description('Resource group of the first region. Empty: rg-<environmentName>.')
param resourceGroupName string = ''

param tags object = {}

@description('Object id of a person or pipeline that may call the models, read the state and upload packages. Empty: none.')
param principalId string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

// What is behind it

@description('Azure OpenAI accounts by short key (lower-case letters, digits, hyphens).')
param accounts { *: account } = {}

@description('Models to deploy to many regions; each region becomes an account with the region as its key, unless accounts has that key.')
param models { *: modelPlan } = {}

@description('Priority of the accounts made from models.')
@minValue(1)
@maxValue(1000)
param modelPriority int = 1

@description('Percent of the capacities in infra/models.json to ask for.')
@minValue(1)
@maxValue(100)
param capacityScale int = 100

@description('Content filters by name; each is made in every account whose deployments name it.')
param contentFilters { *: contentFilter[] } = {}

@description('Backends that are not made here, in the form of SPILLWAY_CONFIG.')
param extraBackends array = []

@description('The rest of SPILLWAY_CONFIG: models, consumers, circuitBreaker, throttle.')
param pool object = {}

@description('Host name suffix of Azure OpenAI in this cloud.')
param openAiSuffix string = 'openai.azure.com'

@description('Role by which the identity calls the accounts: the guid of Cognitive Services OpenAI User, or of a narrower role of your own.')
param openAiRole string = '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'

@description('Brings back soft-deleted accounts of the same name. True for one deployment only.')
param restoreAccounts bool = false

// Who may call it

@description('SPILLWAY_AUTH: key, entra, key,entra or none.')
@allowed(['key', 'entra', 'key,entra', 'none'])
param auth string = 'key'

param entraTenant string = ''
param entraAudience string = ''
param entraIssuer string = ''

@secure()
@description('App settings that are secrets, by name: consumers\' keys, SPILLWAY_OPERATOR_KEY, keys of extraBackends. With a vault, an empty value makes the reference only.')
param secrets object = {}

@description('With a vault: further names in secrets, besides SPILLWAY_OPERATOR_KEY and those that consumers and extraBackends name.')
param secretNames string[] = []

@description('Further app settings; they win over the ones made here.')
param settings object = {}

// How it runs

@allowed(['flex', 'premium'])
param plan string = 'flex'

@allowed(['EP1', 'EP2', 'EP3'])
param premiumSku string = 'EP1'

@allowed([512, 2048, 4096])
@description('Memory of a Flex Consumption instance in MB.')
param instanceMemory int = 2048

@minValue(1)
@maxValue(1000)
param maximumInstances int = 100

@minValue(0)
@description('Instances that are always warm.')
param alwaysReady int = 1

@minValue(1)
@maxValue(1000)
@description('Requests one instance takes before another is started. An open stream counts for as long as it lives.')
param concurrency int = 100

param zoneRedundant bool = false

@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_LRS'

@description('A container for full transcripts, and SPILLWAY_TRANSCRIPTS. Consumers still opt in one by one.')
param transcripts bool = false

// How it is closed off

@description('Secrets go to a Key Vault; app settings refer to them. Always on when an account uses keyAuth.')
param keyVault bool = false

param purgeProtection bool = true

@description('Brings back a soft-deleted vault of the same name. True for one deployment only.')
param recoverVault bool = false

@description('Virtual network, private endpoints for accounts, state, packages and vault; their public addresses refuse everything.')
param privateNetwork bool = false

@description('One address space of at least /23 per region.')
param addressSpaces array = ['10.42.0.0/23', '10.42.2.0/23']

@description('Address ranges that may call the function app directly. Empty: everybody, or only Front Door when there is one.')
param allowedIpRanges string[] = []

@allowed(['None', 'Standard', 'Premium'])
param frontDoor string = 'None'

@description('Premium only: Front Door reaches the function app by Private Link; the connection must be approved once.')
param frontDoorPrivateLink bool = false

@description('Host name served by Front Door, with a managed certificate. Empty: none.')
param customDomain string = ''

@description('Makes a public DNS zone of this name with the records for customDomain. Empty: the records are yours to make.')
param dnsZone string = ''

@description('An Application Gateway with WAF v2 as the way in, instead of Front Door.')
param applicationGateway bool = false

@description('Host name that the Application Gateway serves. Its DNS record is yours to make: it points to the gateway\'s address.')
param gatewayHostName string = ''

@description('Secret of its certificate in a Key Vault, without a version: https://<vault>.vault.azure.net/secrets/<name>.')
param gatewayCertificate string = ''

@description('Resource id of that vault, which gives rights by roles: the gateway\'s identity may then read secrets there.')
param gatewayVaultId string = ''

@description('Address space of the Application Gateway\'s own network, /24 or larger.')
param gatewayAddressSpace string = '10.42.4.0/24'

@allowed(['Prevention', 'Detection'])
param wafMode string = 'Prevention'

@minValue(10)
@description('Requests per minute and client address before Front Door or the Application Gateway refuses.')
param wafRequestsPerMinute int = 3000

@description('Lets /ops through Front Door or the Application Gateway. Off: operators come from allowedIpRanges.')
param exposeOperations bool = false

// How it is watched

@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@minValue(-1)
@description('Gigabytes a day; -1 is no cap.')
param dailyLogCap int = -1

param alerts bool = true
param alertEmails string[] = []

@description('Asks /health/ready from three places every five minutes, with an alert. It needs alerts, and a way in that is open to all.')
param availabilityTest bool = true

param workbook bool = true

@description('Audit logs of the accounts, the vault and Front Door.')
param diagnostics bool = true

// Worked out from the above

var token = empty(faults)
  ? toLower(uniqueString(subscription().id, environmentName, location))
  : fail(join(faults, ' '))
var allTags = union(tags, { 'azd-env-name': environmentName })
var regions = empty(secondLocation) ? [location] : [location, secondLocation]
var suffixes = ['', '-2']
var firstGroup = empty(resourceGroupName) ? 'rg-${environmentName}' : resourceGroupName
var hasFrontDoor = frontDoor != 'None'

var modelTable = any(loadJsonContent('../models.json')).models

var plans = map(items(models), m => {
  model: m.key
  version: m.value.?version ?? modelTable[m.key].version
  sku: m.value.?sku ?? 'GlobalStandard'
  capacity: m.value.?capacity ?? 0
  regions: m.value.?regions ?? []
})

// A model without regions goes to every region that the table lists for it.
var pairs = flatten(map(
  plans,
  p =>
    map(empty(p.regions) ? map(items(modelTable[p.model].skus[p.sku]), r => r.key) : p.regions, region => {
      region: region
      deployment: {
        name: p.model
        model: p.model
        version: p.version
        sku: p.sku
        capacity: p.capacity > 0 ? p.capacity : max(1, modelTable[p.model].skus[p.sku][region] * capacityScale / 100)
      }
    })
))

var expandedAccounts = toObject(union([], map(pairs, p => p.region)), r => r, r => {
  location: r
  priority: modelPriority
  deployments: map(filter(pairs, p => p.region == r), p => p.deployment)
})

var accountList = items(shallowMerge([expandedAccounts, accounts]))

// What types cannot say, and Azure would say late or not at all. Terraform has the same as validations of its variables.

var letters = 'abcdefghijklmnopqrstuvwxyz0123456789-'
var allDeployments = flatten(map(
  accountList,
  a =>
    map(a.value.deployments, (d, i) => {
      account: a.value
      backend: '${a.key}-${d.name}'
      deployment: d
      before: take(a.value.deployments, i)
    })
))
// Azure's names, and Spillway's, are the same in capitals and small letters.
var backendNames = map(
  concat(map(allDeployments, d => d.backend), map(extraBackends, b => b.?name ?? '')),
  n => toLower(n)
)
var accountKeys = concat(map(items(accounts), a => a.key), union([], map(pairs, p => p.region)))
var settingNames = concat(
  flatten(map(pool.?consumers ?? [], c => concat([c.?keySetting ?? ''], c.?keySettings ?? []))),
  map(extraBackends, b => b.?auth.?setting ?? ''),
  secretNames
)
// Native spillover goes to a pay-as-you-go deployment of the same model that processes in the same place.
var lostSpillovers = filter(
  allDeployments,
  d =>
    d.deployment.?spillover != null && length(filter(
      d.before,
      e =>
        e.name == d.deployment.?spillover && e.model == d.deployment.model && e.sku != d.deployment.sku && e.sku == replace(
          d.deployment.sku,
          'ProvisionedManaged',
          'Standard'
        )
    )) == 0
)

var faults = map(
  filter(
    [
      {
        when: length(filter(
          map(range(0, length(environmentName)), i => toLower(substring(environmentName, i, 1))),
          c => !contains(letters, c)
        )) > 0
        text: 'environmentName is 1 to 32 letters, digits and hyphens.'
      }
      {
        when: length(firstGroup) > 88
        text: 'resourceGroupName has at most 88 characters.'
      }
      {
        when: endsWith(firstGroup, '.')
        text: 'resourceGroupName ends with no dot.'
      }
      {
        when: secondLocation == location
        text: 'secondLocation is another region than location.'
      }
      {
        when: empty(accountList) && empty(extraBackends)
        text: 'accounts, models or extraBackends name at least one backend.'
      }
      {
        when: length(filter(
          accountKeys,
          k =>
            length(k) > 24 || length(filter(
              map(range(0, length(k)), i => substring(k, i, 1)),
              c => !contains(letters, c)
            )) > 0
        )) > 0
        text: 'An account key is 1 to 24 lower-case letters, digits and hyphens.'
      }
      {
        when: length(filter(accountList, a => contains(['packages', 'vault', 'state-table', 'state-blob'], a.key))) > 0
        text: 'packages, vault, state-table and state-blob are the names of other private endpoints: give the account another key.'
      }
      {
        when: length(filter(accountList, a => a.value.?existing != null && (a.value.?keyAuth ?? false))) > 0
        text: 'keyAuth is for accounts that are made here: the key of an existing one goes into secrets, and the account into extraBackends.'
      }
      {
        when: length(filter(allDeployments, d => length(d.deployment.name) > 64)) > 0
        text: 'The name of a deployment has at most 64 characters.'
      }
      {
        when: length(backendNames) != length(union([], backendNames))
        text: 'Two backends have one name: a deployment makes <account key>-<deployment name>, extraBackends give their own.'
      }
      {
        when: length(filter(
          settingNames,
          s =>
            length(filter(
              map(range(0, length(s)), i => toLower(substring(s, i, 1))),
              c => c == '-' || !contains('${letters}_', c)
            )) > 0
        )) > 0
        text: 'keySetting, keySettings, auth.setting and secretNames are names of app settings: letters, digits and underscores.'
      }
      {
        when: length(filter(
          allDeployments,
          d =>
            d.account.?existing == null && !startsWith(d.deployment.?filter ?? 'Microsoft.', 'Microsoft.') && !contains(
              contentFilters,
              d.deployment.?filter ?? ''
            )
        )) > 0
        text: 'filter names one of contentFilters, or one that Azure provides (Microsoft.DefaultV2).'
      }
      {
        when: length(lostSpillovers) > 0
        text: 'spillover names a pay-as-you-go deployment of the same account and model, listed before the one that spills over: GlobalStandard for GlobalProvisionedManaged, and so on.'
      }
      {
        when: contains(auth, 'entra') && (empty(entraTenant) || empty(entraAudience))
        text: 'auth with entra needs entraTenant and entraAudience.'
      }
      {
        when: alwaysReady > maximumInstances
        text: 'alwaysReady is at most maximumInstances.'
      }
      {
        when: zoneRedundant && !endsWith(storageSku, 'ZRS')
        text: 'zoneRedundant needs zone-redundant storage: storageSku Standard_ZRS or Standard_GZRS.'
      }
      {
        when: length(addressSpaces) < length(regions)
        text: 'addressSpaces has an address space for each region.'
      }
      {
        when: frontDoorPrivateLink && frontDoor != 'Premium'
        text: 'frontDoorPrivateLink needs frontDoor Premium.'
      }
      {
        when: !empty(customDomain) && !hasFrontDoor
        text: 'customDomain needs frontDoor.'
      }
      {
        when: !empty(dnsZone) && customDomain != dnsZone && !endsWith(customDomain, '.${dnsZone}')
        text: 'customDomain is the name of dnsZone, or one below it.'
      }
      {
        when: applicationGateway && hasFrontDoor
        text: 'applicationGateway is instead of frontDoor.'
      }
      {
        when: applicationGateway && (empty(gatewayHostName) || empty(gatewayCertificate) || empty(gatewayVaultId))
        text: 'applicationGateway needs gatewayHostName, gatewayCertificate and gatewayVaultId.'
      }
    ],
    f => f.when
  ),
  f => f.text
)

var accountNames = map(accountList, a => a.value.?existing.?name ?? 'aoai-${a.key}-${token}')
var hasKeyAuth = length(filter(accountList, a => a.value.?keyAuth ?? false)) > 0
var hasVault = keyVault || hasKeyAuth
// Where only some addresses may call, those that the test calls from may not.
var probed = alerts && availabilityTest && (hasFrontDoor || applicationGateway || empty(allowedIpRanges))
var gatewayZones = zoneRedundant ? ['1', '2', '3'] : []

// What is in a secure parameter is not known to a preview; these names are.
var knownSecrets = union(['SPILLWAY_OPERATOR_KEY'], filter(settingNames, s => !empty(s)))

resource groups 'Microsoft.Resources/resourceGroups@2024-11-01' = [
  for (region, i) in regions: {
    name: '${firstGroup}${suffixes[i]}'
    location: region
    tags: allTags
  }
]

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: groups[0]
  params: {
    name: 'id-${token}'
    location: location
    tags: allTags
  }
}

module monitor 'modules/monitor.bicep' = {
  name: 'monitor'
  scope: groups[0]
  params: {
    token: token
    location: location
    tags: allTags
    principalId: identity.outputs.principalId
    retentionDays: logRetentionDays
    dailyCap: dailyLogCap
  }
}

module alertRules 'modules/alerts.bicep' = if (alerts) {
  name: 'alerts'
  scope: groups[0]
  params: {
    token: token
    location: location
    tags: allTags
    workspaceId: monitor.outputs.workspaceId
    emails: alertEmails
  }
}

module availability 'modules/availability.bicep' = if (probed) {
  name: 'availability'
  scope: groups[0]
  params: {
    token: token
    location: location
    tags: allTags
    componentId: monitor.outputs.componentId
    address: address
    actionGroups: probed ? alertRules!.outputs.actionGroups : []
  }
}

module book 'modules/workbook.bicep' = if (workbook) {
  name: 'workbook'
  scope: groups[0]
  params: {
    location: location
    tags: allTags
    environmentName: environmentName
    workspaceId: monitor.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = if (hasVault) {
  name: 'vault'
  scope: groups[0]
  params: {
    name: 'kv-${token}'
    location: location
    tags: allTags
    principalId: identity.outputs.principalId
    isolated: privateNetwork
    purgeProtection: purgeProtection
    recover: recoverVault
    workspaceId: diagnostics ? monitor.outputs.workspaceId : ''
  }
}

// Not in the vault's module: how many there are is then known before anything is deployed, and a preview shows them.
module vaultSecrets 'modules/vault-secrets.bicep' = if (hasVault) {
  name: 'vault-secrets'
  scope: groups[0]
  params: {
    vaultName: 'kv-${token}'
    names: knownSecrets
    secrets: secrets
  }
  dependsOn: [vault]
}

module state 'modules/state.bicep' = {
  name: 'state'
  scope: groups[0]
  params: {
    name: 'st${token}state'
    location: location
    tags: allTags
    sku: storageSku
    isolated: privateNetwork
    transcripts: transcripts
    principalId: identity.outputs.principalId
    operatorId: principalId
    operatorType: principalType
  }
}

// Accounts that are made here. Two accounts may be made side by side; the deployments of one account may not.
module created 'modules/openai.bicep' = [
  for (a, i) in accountList: if (!contains(a.value, 'existing')) {
    name: 'openai-${a.key}'
    scope: groups[0]
    params: {
      name: accountNames[i]
      key: a.key
      location: a.value.location
      tags: allTags
      deployments: a.value.deployments
      contentFilters: contentFilters
      principalId: identity.outputs.principalId
      operatorId: principalId
      operatorType: principalType
      stateful: a.value.?stateful ?? false
      isolated: privateNetwork
      keyAuth: a.value.?keyAuth ?? false
      vaultName: hasVault ? vault!.outputs.name : ''
      restore: restoreAccounts
      role: openAiRole
      workspaceId: diagnostics ? monitor.outputs.workspaceId : ''
    }
  }
]

module adopted 'modules/openai-existing.bicep' = [
  for (a, i) in accountList: if (contains(a.value, 'existing')) {
    name: 'adopted-${a.key}'
    scope: resourceGroup(a.value.?existing.?resourceGroup ?? firstGroup)
    params: {
      name: accountNames[i]
      principalId: identity.outputs.principalId
      role: openAiRole
      stateful: a.value.?stateful ?? false
    }
  }
]

module document 'modules/pool.bicep' = {
  name: 'pool'
  scope: groups[0]
  params: {
    accounts: accountList
    accountNames: accountNames
    openAiSuffix: openAiSuffix
    identityClientId: identity.outputs.clientId
    extraBackends: extraBackends
    options: pool
  }
}

module edge 'modules/frontdoor-profile.bicep' = if (hasFrontDoor) {
  name: 'frontdoor-profile'
  scope: groups[0]
  params: {
    name: 'afd-${token}'
    tags: allTags
    sku: frontDoor == 'Premium' ? 'Premium_AzureFrontDoor' : 'Standard_AzureFrontDoor'
    workspaceId: diagnostics ? monitor.outputs.workspaceId : ''
  }
}

module gatewayAddress 'modules/gateway-address.bicep' = if (applicationGateway) {
  name: 'gateway-address'
  scope: groups[0]
  params: {
    token: token
    location: location
    tags: allTags
    zones: gatewayZones
  }
}

module gatewayReader 'modules/gateway-vault.bicep' = if (applicationGateway) {
  name: 'gateway-vault'
  scope: resourceGroup(
    applicationGateway ? split(gatewayVaultId, '/')[2] : subscription().subscriptionId,
    applicationGateway ? split(gatewayVaultId, '/')[4] : firstGroup
  )
  params: {
    name: applicationGateway ? last(split(gatewayVaultId, '/')) : 'unused'
    principalId: applicationGateway ? gatewayAddress!.outputs.principalId : ''
  }
}

module gateway 'modules/gateway.bicep' = if (applicationGateway) {
  name: 'gateway'
  scope: groups[0]
  params: {
    token: token
    location: location
    tags: allTags
    addressSpace: gatewayAddressSpace
    zones: gatewayZones
    addressId: applicationGateway ? gatewayAddress!.outputs.id : ''
    identityId: applicationGateway ? gatewayAddress!.outputs.identityId : ''
    hostName: gatewayHostName
    certificate: gatewayCertificate
    origins: [for (region, i) in regions: stamps[i].outputs.hostName]
    wafMode: wafMode
    requestsPerMinute: wafRequestsPerMinute
    exposeOperations: exposeOperations
    workspaceId: diagnostics ? monitor.outputs.workspaceId : ''
  }
  dependsOn: [gatewayReader]
}

module stamps 'modules/stamp.bicep' = [
  for (region, i) in regions: {
    name: 'stamp${suffixes[i]}'
    scope: groups[i]
    params: {
      token: token
      suffix: suffixes[i]
      location: region
      tags: allTags
      identity: {
        id: identity.outputs.id
        clientId: identity.outputs.clientId
        principalId: identity.outputs.principalId
      }
      operatorId: principalId
      operatorType: principalType
      plan: plan
      premiumSku: premiumSku
      instanceMemory: instanceMemory
      maximumInstances: maximumInstances
      alwaysReady: alwaysReady
      concurrency: concurrency
      zoneRedundant: zoneRedundant
      storageSku: storageSku
      settings: union(
        {
          APPLICATIONINSIGHTS_CONNECTION_STRING: monitor.outputs.connectionString
          SPILLWAY_CONFIG: string(document.outputs.config)
          SPILLWAY_STATE__tableServiceUri: state.outputs.tableEndpoint
          SPILLWAY_AUTH: auth
        },
        empty(entraTenant) ? {} : { SPILLWAY_ENTRA_TENANT: entraTenant },
        empty(entraAudience) ? {} : { SPILLWAY_ENTRA_AUDIENCE: entraAudience },
        empty(entraIssuer) ? {} : { SPILLWAY_ENTRA_ISSUER: entraIssuer },
        transcripts
          ? { SPILLWAY_TRANSCRIPTS: 'transcripts', SPILLWAY_STATE__blobServiceUri: state.outputs.blobEndpoint }
          : {},
        settings
      )
      secrets: secrets
      secretNames: knownSecrets
      keySettings: map(filter(accountList, a => a.value.?keyAuth ?? false), a => a.key)
      hasVault: hasVault
      vaultUri: hasVault ? vault!.outputs.uri : ''
      isolated: privateNetwork
      addressSpace: addressSpaces[i]
      openAiZone: 'privatelink.${openAiSuffix}'
      accountTargets: [
        for (a, j) in accountList: {
          name: a.key
          id: contains(a.value, 'existing') ? adopted[j]!.outputs.id : created[j]!.outputs.id
        }
      ]
      stateId: state.outputs.id
      stateGroups: transcripts ? ['table', 'blob'] : ['table']
      vaultId: hasVault ? vault!.outputs.id : ''
      hasFrontDoor: hasFrontDoor
      frontDoorId: hasFrontDoor ? edge!.outputs.frontDoorId : ''
      closed: hasFrontDoor || applicationGateway || !empty(allowedIpRanges)
      frontDoorPrivateLink: frontDoorPrivateLink
      allowedIpRanges: allowedIpRanges
      hasGateway: applicationGateway
      gatewayAddress: applicationGateway ? gatewayAddress!.outputs.address : ''
    }
    // A reference that is resolved before its secret is there stays unresolved for a day.
    dependsOn: [vaultSecrets]
  }
]

module routes 'modules/frontdoor.bicep' = if (hasFrontDoor) {
  name: 'frontdoor'
  scope: groups[0]
  params: {
    profileName: 'afd-${token}'
    token: token
    tags: allTags
    premium: frontDoor == 'Premium'
    privateLink: frontDoorPrivateLink
    origins: [
      for (region, i) in regions: {
        host: stamps[i].outputs.hostName
        siteId: stamps[i].outputs.siteId
        location: region
      }
    ]
    customDomain: customDomain
    dnsZone: dnsZone
    wafMode: wafMode
    requestsPerMinute: wafRequestsPerMinute
    exposeOperations: exposeOperations
  }
}

var address = hasFrontDoor
  ? 'https://${empty(customDomain) ? routes!.outputs.hostName : customDomain}'
  : applicationGateway ? 'https://${gatewayHostName}' : 'https://${stamps[0].outputs.hostName}'

// azd keeps outputs as environment values, hence the capitals.
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = groups[0].name
output AZURE_RESOURCE_GROUPS array = [for (region, i) in regions: groups[i].name]
output AZURE_FUNCTION_APP_NAME string = stamps[0].outputs.siteName
output AZURE_FUNCTION_APP_NAMES array = [for (region, i) in regions: stamps[i].outputs.siteName]
output AZURE_FUNCTION_APP_PLAN string = plan
output AZURE_PACKAGE_CONTAINERS array = [for (region, i) in regions: stamps[i].outputs.packageContainer]
output AZURE_STATE_ACCOUNT_NAME string = state.outputs.name
output AZURE_KEY_VAULT_NAME string = hasVault ? vault!.outputs.name : ''
output AZURE_LOG_ANALYTICS_WORKSPACE_ID string = monitor.outputs.workspaceId
output AZURE_CLIENT_ID string = identity.outputs.clientId
output AZURE_OPENAI_ACCOUNTS array = accountNames
output AZURE_FRONT_DOOR_ID string = hasFrontDoor ? edge!.outputs.frontDoorId : ''
output GATEWAY_ADDRESS string = applicationGateway ? gatewayAddress!.outputs.address : ''
output CUSTOM_DOMAIN_VALIDATION string = hasFrontDoor ? routes!.outputs.validationToken : ''
output DNS_NAME_SERVERS array = hasFrontDoor ? routes!.outputs.nameServers : []
// All of it in one value: the case of an output's name may change on its way through a subscription's deployments, that of a member does not.
output spillway object = {
  location: location
  tenantId: tenant().tenantId
  resourceGroups: map(regions, (region, i) => '${firstGroup}${suffixes[i]}')
  functionApps: map(regions, (region, i) => 'func-${token}${suffixes[i]}')
  plan: plan
  packageContainers: map(
    regions,
    (region, i) =>
      'https://st${token}${replace(suffixes[i], '-', '')}.blob.${environment().suffixes.storage}/app-package'
  )
  stateAccount: state.outputs.name
  keyVault: hasVault ? vault!.outputs.name : ''
  workspaceId: monitor.outputs.workspaceId
  clientId: identity.outputs.clientId
  openAiAccounts: accountNames
  frontDoorId: hasFrontDoor ? edge!.outputs.frontDoorId : ''
  gatewayAddress: applicationGateway ? gatewayAddress!.outputs.address : ''
  customDomainValidation: hasFrontDoor ? routes!.outputs.validationToken : ''
  dnsNameServers: hasFrontDoor ? routes!.outputs.nameServers : []
  address: address
  baseUrl: '${address}/openai/v1'
  config: document.outputs.config
}

output SPILLWAY_ADDRESS string = address
output SPILLWAY_BASE_URL string = '${address}/openai/v1'
output SPILLWAY_CONFIG object = document.outputs.config
