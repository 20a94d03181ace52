# One Azure OpenAI account with its filters and deployments, and the right to use it; or the right alone, for an account that is there already.

terraform {
  required_providers {
    azapi = {
      source = "Azure/azapi"
    }
  }
}

variable "key" { type = string }
variable "name" { type = string }
variable "resource_group_name" { type = string }
variable "tags" { type = map(string) }
variable "account" { type = any }
variable "content_filters" { type = any }
variable "principal_id" { type = string }
variable "operator_id" { type = string }
variable "operator_type" { type = string }
variable "isolated" { type = bool }
variable "vault_id" { type = string }
variable "diagnostics" { type = bool }
variable "workspace_id" { type = string }
variable "roles" { type = map(string) }

locals {
  created  = var.account.existing == null
  key_auth = var.account.key_auth == true
  id       = local.created ? azurerm_cognitive_account.this[0].id : data.azurerm_cognitive_account.existing[0].id

  deployments = { for d in(local.created ? var.account.deployments : []) : d.name => merge(d, {
    filter  = d.filter == null ? "Microsoft.DefaultV2" : d.filter
    upgrade = d.upgrade == null ? "NoAutoUpgrade" : d.upgrade
  }) }
  plain    = { for name, d in local.deployments : name => d if d.spillover == null }
  spilling = { for name, d in local.deployments : name => d if d.spillover != null }
  filters  = { for name, f in var.content_filters : name => f if contains([for d in values(local.deployments) : d.filter], name) }
}

data "azurerm_cognitive_account" "existing" {
  count               = local.created ? 0 : 1
  name                = var.account.existing.name
  resource_group_name = var.account.existing.resource_group
}

resource "azurerm_cognitive_account" "this" {
  count                         = local.created ? 1 : 0
  name                          = var.name
  resource_group_name           = var.resource_group_name
  location                      = var.account.location
  kind                          = "OpenAI"
  sku_name                      = "S0"
  custom_subdomain_name         = var.name
  local_auth_enabled            = local.key_auth
  public_network_access_enabled = !var.isolated
  tags                          = var.tags

  network_acls {
    default_action = var.isolated ? "Deny" : "Allow"
    ip_rules       = []
  }

  timeouts {
    create = "60m"
    update = "60m"
    delete = "60m"
  }
}

resource "azurerm_cognitive_account_rai_policy" "this" {
  for_each             = local.filters
  name                 = each.key
  cognitive_account_id = local.id
  base_policy_name     = "Microsoft.DefaultV2"
  mode                 = "Blocking"

  dynamic "content_filter" {
    for_each = each.value
    content {
      name               = content_filter.value.name
      source             = content_filter.value.source
      severity_threshold = content_filter.value.severity_threshold
      block_enabled      = content_filter.value.blocking
      filter_enabled     = content_filter.value.enabled
    }
  }
}

# One at a time: the provider holds a lock on the account, because parallel writes to its deployments are refused with 409.
resource "azurerm_cognitive_deployment" "this" {
  for_each               = local.plain
  name                   = each.value.name
  cognitive_account_id   = local.id
  rai_policy_name        = each.value.filter
  version_upgrade_option = each.value.upgrade

  model {
    format  = "OpenAI"
    name    = each.value.model
    version = each.value.version
  }

  sku {
    name     = each.value.sku
    capacity = each.value.capacity
  }

  timeouts {
    create = "60m"
    update = "60m"
    delete = "60m"
  }

  depends_on = [azurerm_cognitive_account_rai_policy.this]
}

# azurerm has no argument for native spillover. These come last: their targets have to be there, and the lock above is not shared.
resource "azapi_resource" "spilling" {
  for_each                  = local.spilling
  type                      = "Microsoft.CognitiveServices/accounts/deployments@2025-06-01"
  parent_id                 = local.id
  name                      = each.value.name
  locks                     = [local.id]
  schema_validation_enabled = false
  body = {
    sku = {
      name     = each.value.sku
      capacity = each.value.capacity
    }
    properties = {
      model = {
        format  = "OpenAI"
        name    = each.value.model
        version = each.value.version
      }
      versionUpgradeOption    = each.value.upgrade
      raiPolicyName           = each.value.filter
      spilloverDeploymentName = each.value.spillover
    }
  }

  timeouts {
    create = "60m"
    update = "60m"
    delete = "60m"
  }

  depends_on = [azurerm_cognitive_deployment.this]
}

resource "azurerm_role_assignment" "user" {
  scope              = local.id
  role_definition_id = var.roles.open_ai_user
  principal_id       = var.principal_id
  principal_type     = "ServicePrincipal"
}

# Files, batches and vector stores: OpenAI User may not write them.
resource "azurerm_role_assignment" "files" {
  count              = var.account.stateful == true ? 1 : 0
  scope              = local.id
  role_definition_id = var.roles.open_ai_contributor
  principal_id       = var.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "operator" {
  count              = local.created && var.operator_id != "" ? 1 : 0
  scope              = local.id
  role_definition_id = var.roles.open_ai_user
  principal_id       = var.operator_id
  principal_type     = var.operator_type
}

resource "azapi_resource" "account_key" {
  count     = local.created && local.key_auth ? 1 : 0
  type      = "Microsoft.KeyVault/vaults/secrets@2024-11-01"
  parent_id = var.vault_id
  name      = "aoai-key-${var.key}"
  body = {
    properties = {
      value = azurerm_cognitive_account.this[0].primary_access_key
    }
  }
}

resource "azurerm_monitor_diagnostic_setting" "audit" {
  count                      = local.created && var.diagnostics ? 1 : 0
  name                       = "audit"
  target_resource_id         = local.id
  log_analytics_workspace_id = var.workspace_id

  enabled_log {
    category_group = "audit"
  }
}

output "id" {
  value       = local.id
  description = "Target of private endpoints."
  # Azure refuses an endpoint while a deployment of the account is being written.
  depends_on = [azurerm_cognitive_deployment.this, azapi_resource.spilling]
}
