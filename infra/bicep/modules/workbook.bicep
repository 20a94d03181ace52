// The workbook in infra/monitor, beside the logs it reads.
param location string
param tags object
param environmentName string
param workspaceId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspaceId, 'spillway')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Spillway ${environmentName}'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: loadTextContent('../../monitor/workbook.json')
  }
}
