// The map of accounts as the document that Spillway reads: one backend for each deployment. Makes nothing.
import { account } from 'types.bicep'

@description('The map of accounts as items() lists it.')
param accounts { key: string, value: account }[]
param accountNames string[]
param openAiSuffix string
param identityClientId string
param extraBackends array
param options object

var regionTable = any(loadJsonContent('../../regions.json'))

// Where a prompt may be worked on: a global deployment anywhere, a data zone deployment in its zone, the others in their region.
var routed = flatten(map(
  accounts,
  (a, i) =>
    map(filter(a.value.deployments, d => d.?routed ?? true), d => {
      account: a.value
      key: a.key
      accountName: accountNames[i]
      deployment: d
      home: regionTable[?a.value.location] ?? { geography: '', zone: '' }
    })
))

var backends = map(
  routed,
  r =>
    shallowMerge([
      {
        name: '${r.key}-${r.deployment.name}'
        endpoint: 'https://${r.accountName}.${openAiSuffix}'
        region: r.account.location
        priority: r.deployment.?priority ?? r.account.?priority ?? 1
        weight: r.deployment.?weight ?? r.account.?weight ?? 1
        deployments: { '${r.deployment.model}': r.deployment.name }
        auth: (r.account.?keyAuth ?? false)
          ? { mode: 'api-key', setting: 'AOAI_KEY_${toUpper(replace(r.key, '-', '_'))}' }
          : { mode: 'managed-identity', clientId: identityClientId }
      }
      contains(r.deployment.sku, 'Provisioned') ? { capacity: 'provisioned' } : {}
      (r.account.?stateful ?? false) ? { stateful: true } : {}
      r.account.?priorityIn == null ? {} : { priorityIn: r.account.?priorityIn }
      r.account.?geography != null
        ? { geography: r.account.?geography }
        : startsWith(r.deployment.sku, 'Global')
            ? { geography: 'global' }
            : startsWith(r.deployment.sku, 'DataZone')
                ? (empty(r.home.zone) ? {} : { geography: r.home.zone })
                : (empty(r.home.geography) ? {} : { geography: r.home.geography })
    ])
)

output config object = shallowMerge([{ backends: concat(backends, extraBackends) }, options])
