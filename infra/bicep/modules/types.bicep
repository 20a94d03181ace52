// The shapes of the maps that main.bicep takes.

@export()
type skuName =
  | 'Standard'
  | 'GlobalStandard'
  | 'DataZoneStandard'
  | 'ProvisionedManaged'
  | 'GlobalProvisionedManaged'
  | 'DataZoneProvisionedManaged'

@export()
type deployment = {
  @description('Name of the deployment; unique in its account.')
  name: string
  @description('Model that callers ask for.')
  model: string
  version: string
  sku: skuName
  @description('Thousands of tokens per minute, or provisioned throughput units.')
  @minValue(1)
  capacity: int
  @description('Lower is tried first. Default: that of the account.')
  @minValue(0)
  @maxValue(1000)
  priority: int?
  @description('Share inside a priority group; 0 drains. Default: that of the account.')
  @minValue(0)
  @maxValue(1000)
  weight: int?
  @description('Content filter: a name from contentFilters, or one that Azure provides. Default: Microsoft.DefaultV2.')
  filter: string?
  @description('Azure native spillover: a standard deployment of the same account, listed before this one.')
  spillover: string?
  upgrade: ('NoAutoUpgrade' | 'OnceNewDefaultVersionAvailable' | 'OnceCurrentVersionExpired')?
  @description('false: the deployment exists (a spillover target, say) but Spillway does not send to it.')
  routed: bool?
}

@export()
type account = {
  location: string
  @description('Deployments are made one by one in this order: a spillover target comes before the deployment that names it.')
  deployments: deployment[]
  @minValue(0)
  @maxValue(1000)
  priority: int?
  @minValue(0)
  @maxValue(1000)
  weight: int?
  @description('Overrides the geography worked out from the region and the sku.')
  geography: string?
  @description('Priority for instances that run in a region: { swedencentral: 1 }.')
  priorityIn: { *: int }?
  @description('Files, batches and vector stores of its models live here.')
  stateful: bool?
  @description('Key authentication through Key Vault instead of the managed identity.')
  keyAuth: bool?
  @description('An account that is there already: only the role and the route are made.')
  existing: { resourceGroup: string, name: string }?
}

@export()
type modelPlan = {
  @description('Absent: the one in infra/models.json.')
  version: string?
  sku: skuName?
  @description('Empty or absent: every region that infra/models.json lists for the model and sku.')
  regions: string[]?
  @description('Absent: from infra/models.json, scaled by capacityScale.')
  @minValue(1)
  capacity: int?
}

@export()
type contentFilter = {
  name: string
  source: 'Prompt' | 'Completion'
  severityThreshold: ('Low' | 'Medium' | 'High')?
  blocking: bool
  enabled: bool
}
