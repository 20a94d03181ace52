// An Application Gateway with its firewall and its network: one listener for one host name, the function apps of all regions behind it.
param token string
param location string
param tags object
param addressSpace string
param zones string[]
param addressId string
param identityId string
param hostName string
@description('The secret of the certificate, without a version: a renewed one is then taken by itself.')
param certificate string
@description('Host names of the function apps.')
param origins string[]
param wafMode string
param requestsPerMinute int
param exposeOperations bool
param workspaceId string

var name = 'agw-${token}'
var parts = {
  frontend: resourceId('Microsoft.Network/applicationGateways/frontendIPConfigurations', name, 'public')
  port: resourceId('Microsoft.Network/applicationGateways/frontendPorts', name, 'https')
  certificate: resourceId('Microsoft.Network/applicationGateways/sslCertificates', name, 'listener')
  listener: resourceId('Microsoft.Network/applicationGateways/httpListeners', name, 'https')
  pool: resourceId('Microsoft.Network/applicationGateways/backendAddressPools', name, 'apps')
  settings: resourceId('Microsoft.Network/applicationGateways/backendHttpSettingsCollection', name, 'apps')
  probe: resourceId('Microsoft.Network/applicationGateways/probes', name, 'ready')
}

var floodRule = {
  name: 'flood'
  priority: 1
  ruleType: 'RateLimitRule'
  action: 'Block'
  rateLimitDuration: 'OneMin'
  rateLimitThreshold: requestsPerMinute
  groupByUserSession: [
    {
      groupByVariables: [{ variableName: 'ClientAddr' }]
    }
  ]
  matchConditions: [
    {
      matchVariables: [{ variableName: 'RequestUri' }]
      operator: 'Any'
      matchValues: []
    }
  ]
}
// The host behind the firewall decodes a path, ignores its case and resolves its dot segments: /x/%2e%2e/OPS is /ops there. Whether the
// firewall sees what is left of that, and in which order it transforms, is not documented: the patterns take every spelling.
var operationsRule = {
  name: 'operations'
  priority: 2
  ruleType: 'MatchRule'
  action: 'Block'
  matchConditions: [
    {
      matchVariables: [{ variableName: 'RequestUri' }]
      operator: 'Regex'
      transforms: ['UrlDecode']
      matchValues: [
        '^([a-zA-Z]+://[^/\\\\]+)?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)'
        '[/\\\\]\\.\\.?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)'
      ]
    }
  ]
}

resource rules 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-gateway-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'callers'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
      {
        // Azure runs the gateway through these; without them it does not start.
        name: 'azure'
        properties: {
          priority: 110
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'GatewayManager'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '65200-65535'
        }
      }
      {
        name: 'probes-of-azure'
        properties: {
          priority: 120
          direction: 'Inbound'
          access: 'Allow'
          protocol: '*'
          sourceAddressPrefix: 'AzureLoadBalancer'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: 'vnet-gateway-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addressSpace] }
    subnets: [
      {
        name: 'gateway'
        properties: {
          addressPrefix: addressSpace
          networkSecurityGroup: { id: rules.id }
        }
      }
    ]
  }
}

resource firewall 'Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies@2024-07-01' = {
  name: 'waf-gateway-${token}'
  location: location
  tags: tags
  properties: {
    policySettings: {
      state: 'Enabled'
      mode: wafMode
      // The first 128 KB are read; a larger prompt or upload is passed on, not refused.
      requestBodyCheck: true
      requestBodyEnforcement: false
      fileUploadEnforcement: false
    }
    customRules: exposeOperations ? [floodRule] : [floodRule, operationsRule]
    managedRules: {
      managedRuleSets: [
        {
          ruleSetType: 'Microsoft_DefaultRuleSet'
          ruleSetVersion: '2.1'
        }
      ]
      // Prompts are prose and code: every injection rule fires on them sooner or later.
      exclusions: [
        {
          matchVariable: 'RequestArgNames'
          selectorMatchOperator: 'EqualsAny'
          selector: '*'
        }
      ]
    }
  }
}

resource gateway 'Microsoft.Network/applicationGateways@2024-07-01' = {
  name: name
  location: location
  tags: tags
  zones: empty(zones) ? null : zones
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    sku: {
      name: 'WAF_v2'
      tier: 'WAF_v2'
    }
    autoscaleConfiguration: {
      minCapacity: 1
      maxCapacity: 10
    }
    // A buffered response is no stream. Requests are buffered for the firewall.
    globalConfiguration: {
      enableRequestBuffering: true
      enableResponseBuffering: false
    }
    enableHttp2: true
    firewallPolicy: { id: firewall.id }
    sslPolicy: {
      policyType: 'Predefined'
      policyName: 'AppGwSslPolicy20220101'
    }
    gatewayIPConfigurations: [
      {
        name: 'gateway'
        properties: {
          subnet: { id: '${network.id}/subnets/gateway' }
        }
      }
    ]
    frontendIPConfigurations: [
      {
        name: 'public'
        properties: {
          publicIPAddress: { id: addressId }
        }
      }
    ]
    frontendPorts: [
      {
        name: 'https'
        properties: { port: 443 }
      }
    ]
    sslCertificates: [
      {
        name: 'listener'
        properties: { keyVaultSecretId: certificate }
      }
    ]
    backendAddressPools: [
      {
        name: 'apps'
        properties: {
          backendAddresses: map(origins, host => { fqdn: host })
        }
      }
    ]
    // Unhealthy when no backend of any model is available: a region that cannot serve gets no callers.
    probes: [
      {
        name: 'ready'
        properties: {
          protocol: 'Https'
          path: '/health/ready'
          interval: 30
          timeout: 30
          unhealthyThreshold: 3
          pickHostNameFromBackendHttpSettings: true
          match: { statusCodes: ['200'] }
        }
      }
    ]
    backendHttpSettingsCollection: [
      {
        name: 'apps'
        properties: {
          port: 443
          protocol: 'Https'
          cookieBasedAffinity: 'Disabled'
          pickHostNameFromBackendAddress: true
          requestTimeout: 240
          probe: { id: parts.probe }
        }
      }
    ]
    httpListeners: [
      {
        name: 'https'
        properties: {
          frontendIPConfiguration: { id: parts.frontend }
          frontendPort: { id: parts.port }
          protocol: 'Https'
          hostName: hostName
          sslCertificate: { id: parts.certificate }
        }
      }
    ]
    requestRoutingRules: [
      {
        name: 'all'
        properties: {
          ruleType: 'Basic'
          priority: 100
          httpListener: { id: parts.listener }
          backendAddressPool: { id: parts.pool }
          backendHttpSettings: { id: parts.settings }
        }
      }
    ]
  }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  name: 'audit'
  scope: gateway
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'ApplicationGatewayFirewallLog'
        enabled: true
      }
    ]
  }
}
