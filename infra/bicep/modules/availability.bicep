// Asks /health/ready from outside. A host that does not start, a reached daily cap and an answer of the front end alone write no log line.
param token string
param location string
param tags object
param componentId string
param address string
param actionGroups array

resource probe 'Microsoft.Insights/webtests@2022-06-15' = {
  name: 'probe-${token}'
  location: location
  // The tag is how the portal finds the tests of a component.
  tags: union(tags, { 'hidden-link:${componentId}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'probe-${token}'
    Name: 'probe-${token}'
    Enabled: true
    Frequency: 300
    Timeout: 30
    Kind: 'standard'
    RetryEnabled: true
    Locations: [
      { Id: 'emea-nl-ams-azr' }
      { Id: 'us-va-ash-azr' }
      { Id: 'apac-sg-sin-azr' }
    ]
    Request: {
      RequestUrl: '${address}/health/ready'
      HttpVerb: 'GET'
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 7
    }
  }
}

resource alert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'alert-availability-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Two of three places cannot reach a gateway that is ready'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [probe.id, componentId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: probe.id
      componentId: componentId
      failedLocationCount: 2
    }
    actions: map(actionGroups, id => { actionGroupId: id })
  }
}
