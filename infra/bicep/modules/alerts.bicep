// Log alerts. The queries are files in infra/monitor, the same ones that Terraform uses.
param token string
param location string
param tags object
param workspaceId string
param emails array

// How often to look, how far back; any row is too many.
var rules = [
  {
    name: 'no-backend'
    title: 'A model has no backend available'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    query: loadTextContent('../../monitor/alert-no-backend.kql')
  }
  {
    name: 'breaker-open'
    title: 'A circuit breaker has been open for more than five minutes'
    severity: 2
    every: 'PT5M'
    window: 'PT1H'
    query: loadTextContent('../../monitor/alert-breaker-open.kql')
  }
  {
    name: 'backend-auth'
    title: 'A backend refuses the identity or key, or lacks the deployment'
    severity: 1
    every: 'PT5M'
    window: 'PT10M'
    query: loadTextContent('../../monitor/alert-backend-auth.kql')
  }
  {
    name: 'disagreement'
    title: 'Instances disagreed for more than five seconds'
    severity: 3
    every: 'PT5M'
    window: 'PT10M'
    query: loadTextContent('../../monitor/alert-disagreement.kql')
  }
  {
    name: 'condition'
    title: 'A part of an instance has not worked for a minute or longer'
    severity: 2
    every: 'PT5M'
    window: 'PT10M'
    query: loadTextContent('../../monitor/alert-condition.kql')
  }
  {
    name: 'budget'
    title: 'A consumer has used 80 percent of its budget or more'
    severity: 3
    every: 'PT15M'
    window: 'PT1H'
    query: loadTextContent('../../monitor/alert-budget.kql')
  }
  {
    name: 'configuration'
    title: 'A configuration is not valid: every request is refused'
    severity: 1
    every: 'PT5M'
    window: 'PT10M'
    query: loadTextContent('../../monitor/alert-configuration.kql')
  }
  {
    name: 'failures'
    title: 'More than one request in twenty fails'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    query: loadTextContent('../../monitor/alert-failures.kql')
  }
  {
    name: 'throttled'
    title: 'Callers are refused because a model is throttled'
    severity: 2
    every: 'PT5M'
    window: 'PT10M'
    query: loadTextContent('../../monitor/alert-throttled.kql')
  }
  {
    name: 'instance'
    title: 'An instance is cut off from a backend that others reach'
    severity: 2
    every: 'PT5M'
    window: 'PT15M'
    query: loadTextContent('../../monitor/alert-instance.kql')
  }
  {
    name: 'operator-keys'
    title: 'Keys of operators are guessed'
    severity: 2
    every: 'PT5M'
    window: 'PT10M'
    query: loadTextContent('../../monitor/alert-operator-keys.kql')
  }
  {
    // What the workspace says of itself: from then until the next day it takes no log line, so that no other alert fires.
    name: 'daily-cap'
    title: 'The workspace has reached its daily cap'
    severity: 2
    every: 'PT5M'
    window: 'PT5M'
    query: '_LogOperation\n| where Category =~ "Ingestion" and Detail contains "OverQuota"\n'
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(emails)) {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'spillway'
    enabled: true
    emailReceivers: map(emails, (address, i) => {
      name: 'person-${i}'
      emailAddress: address
      useCommonAlertSchema: true
    })
  }
}

resource alert 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'alert-${rule.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Spillway: ${rule.name}'
      description: rule.title
      severity: rule.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: rule.every
      windowSize: rule.window
      autoMitigate: true
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: { actionGroups: empty(emails) ? [] : [people.id] }
    }
  }
]

output actionGroups array = empty(emails) ? [] : [people.id]
