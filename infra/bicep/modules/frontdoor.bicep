// What Front Door serves: one origin per region behind one host name, its firewall, and a domain of your own.
param profileName string
param token string
param tags object
param premium bool
param privateLink bool
@description('[{ host, siteId, location }]')
param origins array
param customDomain string
param dnsZone string
param wafMode string
param requestsPerMinute int
param exposeOperations bool

var hasDomain = !empty(customDomain)
var hasZone = hasDomain && !empty(dnsZone)
// At the zone's own name there can be no CNAME, but an alias.
var isApex = hasZone && customDomain == dnsZone
var hasRecord = hasZone && !isApex
var recordName = hasRecord ? replace(customDomain, '.${dnsZone}', '') : 'unused'

var managedRules = [
  {
    ruleSetType: 'Microsoft_DefaultRuleSet'
    ruleSetVersion: '2.1'
    ruleSetAction: 'Block'
    // Prompts are prose and code: every injection rule fires on them sooner or later.
    exclusions: [
      {
        matchVariable: 'RequestBodyJsonArgNames'
        selectorMatchOperator: 'EqualsAny'
        selector: '*'
      }
    ]
  }
  {
    // No action for the whole set: it would block what the set calls unknown bots, and every SDK is one.
    ruleSetType: 'Microsoft_BotManagerRuleSet'
    ruleSetVersion: '1.1'
  }
]
var floodRule = {
  name: 'flood'
  priority: 100
  ruleType: 'RateLimitRule'
  action: 'Block'
  rateLimitDurationInMinutes: 1
  rateLimitThreshold: requestsPerMinute
  matchConditions: [
    {
      matchVariable: 'RequestUri'
      operator: 'Any'
      matchValue: []
    }
  ]
}
// The host behind the firewall decodes a path, ignores its case and resolves its dot segments: /x/%2e%2e/OPS is /ops there. Whether the
// firewall sees what is left of that, and in which order it transforms, is not documented: the patterns take every spelling.
var operationsRule = {
  name: 'operations'
  priority: 200
  ruleType: 'MatchRule'
  action: 'Block'
  matchConditions: [
    {
      matchVariable: 'RequestUri'
      operator: 'RegEx'
      transforms: ['UrlDecode']
      matchValue: [
        '^([a-zA-Z]+://[^/\\\\]+)?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)'
        '[/\\\\]\\.\\.?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)'
      ]
    }
  ]
}

resource profile 'Microsoft.Cdn/profiles@2025-06-01' existing = {
  name: profileName
}

resource endpoint 'Microsoft.Cdn/profiles/afdEndpoints@2025-06-01' = {
  parent: profile
  name: 'spillway-${token}'
  location: 'global'
  tags: tags
  properties: { enabledState: 'Enabled' }
}

resource group 'Microsoft.Cdn/profiles/originGroups@2025-06-01' = {
  parent: profile
  name: 'spillway'
  properties: {
    sessionAffinityState: 'Disabled'
    loadBalancingSettings: {
      sampleSize: 4
      successfulSamplesRequired: 2
      additionalLatencyInMilliseconds: 50
    }
    // Unhealthy when no backend of any model is available: a region that cannot serve gets no callers.
    healthProbeSettings: {
      probePath: '/health/ready'
      probeProtocol: 'Https'
      probeRequestType: 'GET'
      probeIntervalInSeconds: 30
    }
  }
}

@batchSize(1)
resource regions 'Microsoft.Cdn/profiles/originGroups/origins@2025-06-01' = [
  for (origin, i) in origins: {
    parent: group
    name: 'region-${i}'
    properties: {
      hostName: origin.host
      originHostHeader: origin.host
      httpPort: 80
      httpsPort: 443
      priority: 1
      weight: 1000
      enabledState: 'Enabled'
      enforceCertificateNameCheck: true
      sharedPrivateLinkResource: privateLink
        ? {
            privateLink: { id: origin.siteId }
            groupId: 'sites'
            privateLinkLocation: origin.location
            // scripts/deploy.sh knows the request by the id.
            requestMessage: 'Front Door of Spillway ${profile.properties.frontDoorId}'
          }
        : null
    }
  }
]

resource domain 'Microsoft.Cdn/profiles/customDomains@2025-06-01' = if (hasDomain) {
  parent: profile
  name: replace(hasDomain ? customDomain : 'unused', '.', '-')
  properties: {
    hostName: customDomain
    tlsSettings: {
      certificateType: 'ManagedCertificate'
      minimumTlsVersion: 'TLS12'
    }
    azureDnsZone: hasZone ? { id: zone.id } : null
  }
}

resource route 'Microsoft.Cdn/profiles/afdEndpoints/routes@2025-06-01' = {
  parent: endpoint
  name: 'all'
  properties: {
    originGroup: { id: group.id }
    supportedProtocols: ['Https']
    patternsToMatch: ['/*']
    forwardingProtocol: 'HttpsOnly'
    linkToDefaultDomain: 'Enabled'
    httpsRedirect: 'Disabled'
    enabledState: 'Enabled'
    customDomains: hasDomain ? [{ id: domain.id }] : []
  }
  dependsOn: [regions]
}

resource firewall 'Microsoft.Network/FrontDoorWebApplicationFirewallPolicies@2025-03-01' = {
  name: 'waf${token}'
  location: 'global'
  tags: tags
  sku: { name: premium ? 'Premium_AzureFrontDoor' : 'Standard_AzureFrontDoor' }
  properties: {
    policySettings: {
      enabledState: 'Enabled'
      mode: wafMode
      // 128 KB is all that the firewall reads; a larger prompt is passed on, not refused.
      requestBodyCheck: 'Enabled'
    }
    customRules: { rules: exposeOperations ? [floodRule] : [floodRule, operationsRule] }
    managedRules: { managedRuleSets: premium ? managedRules : [] }
  }
}

resource guard 'Microsoft.Cdn/profiles/securityPolicies@2025-06-01' = {
  parent: profile
  name: 'spillway'
  properties: {
    parameters: {
      type: 'WebApplicationFirewall'
      wafPolicy: { id: firewall.id }
      associations: [
        {
          domains: hasDomain ? [{ id: endpoint.id }, { id: domain.id }] : [{ id: endpoint.id }]
          patternsToMatch: ['/*']
        }
      ]
    }
  }
}

resource zone 'Microsoft.Network/dnsZones@2018-05-01' = if (hasZone) {
  name: hasZone ? dnsZone : 'unused'
  location: 'global'
  tags: tags
}

resource apex 'Microsoft.Network/dnsZones/A@2018-05-01' = if (isApex) {
  parent: zone
  name: '@'
  properties: {
    TTL: 3600
    targetResource: { id: endpoint.id }
  }
}

resource alias 'Microsoft.Network/dnsZones/CNAME@2018-05-01' = if (hasRecord) {
  parent: zone
  name: recordName
  properties: {
    TTL: 3600
    CNAMERecord: { cname: endpoint.properties.hostName }
  }
}

resource proof 'Microsoft.Network/dnsZones/TXT@2018-05-01' = if (hasZone) {
  parent: zone
  name: isApex ? '_dnsauth' : '_dnsauth.${recordName}'
  properties: {
    TTL: 3600
    TXTRecords: [{ value: [domain!.properties.validationProperties.validationToken] }]
  }
}

output hostName string = endpoint.properties.hostName
output validationToken string = hasDomain ? domain!.properties.validationProperties.validationToken : ''
output nameServers array = hasZone ? zone!.properties.nameServers : []
