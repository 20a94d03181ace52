// The Front Door profile alone: the function app checks its id, and its routes need the function app, so one of them has to come first.
param name string
param tags object
param sku string
param workspaceId string

resource profile 'Microsoft.Cdn/profiles@2025-06-01' = {
  name: name
  location: 'global'
  tags: tags
  sku: { name: sku }
  properties: {
    // The most that Front Door waits for a first byte. Spillway answers or sends a heartbeat well before.
    originResponseTimeoutSeconds: 240
  }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  name: 'audit'
  scope: profile
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'FrontDoorWebApplicationFirewallLog'
        enabled: true
      }
      {
        category: 'FrontDoorHealthProbeLog'
        enabled: true
      }
    ]
  }
}

output frontDoorId string = profile.properties.frontDoorId
