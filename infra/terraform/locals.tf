locals {
  # The same inputs give the same names, so that a second apply finds what the first one made.
  token       = substr(sha256("${var.subscription_id}/${var.environment_name}/${var.location}"), 0, 13)
  tags        = merge(var.tags, { "azd-env-name" = var.environment_name })
  regions     = var.second_location == "" ? [var.location] : [var.location, var.second_location]
  suffixes    = ["", "-2"]
  first_group = var.resource_group_name == "" ? "rg-${var.environment_name}" : var.resource_group_name
  front_door  = var.front_door != "None"

  # Guids, because a misspelt role name is only found by Azure.
  role_prefix = "/subscriptions/${var.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
  roles = {
    blob_owner          = "${local.role_prefix}/b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
    blob_contributor    = "${local.role_prefix}/ba92f5b4-2d11-453d-a403-e96b0029c9fe"
    table_contributor   = "${local.role_prefix}/0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"
    open_ai_user        = "${local.role_prefix}/${var.open_ai_role}"
    open_ai_contributor = "${local.role_prefix}/a001fd3d-188f-4b5d-821b-7da978bf7442"
    metrics_publisher   = "${local.role_prefix}/3913510d-42f4-4e42-8a64-420c390055eb"
    secrets_user        = "${local.role_prefix}/4633458b-17de-408a-b874-0445c86b69e6"
  }

  model_table = jsondecode(file("${path.module}/../models.json")).models

  plans = { for model, m in var.models : model => {
    version  = m.version == null ? local.model_table[model].version : m.version
    sku      = coalesce(m.sku, "GlobalStandard")
    capacity = coalesce(m.capacity, 0)
    regions  = m.regions == null ? [] : m.regions
  } }

  # A model without regions goes to every region that the table lists for it.
  pairs = flatten([for model, p in local.plans : [
    for region in(length(p.regions) == 0 ? keys(local.model_table[model].skus[p.sku]) : p.regions) : {
      region = region
      deployment = {
        name     = model
        model    = model
        version  = p.version
        sku      = p.sku
        capacity = p.capacity > 0 ? p.capacity : max(1, floor(local.model_table[model].skus[p.sku][region] * var.capacity_scale / 100))
      }
    }
  ]])

  expanded_accounts = { for region in distinct([for p in local.pairs : p.region]) : region => {
    location    = region
    priority    = var.model_priority
    weight      = null
    geography   = null
    priority_in = null
    stateful    = null
    key_auth    = null
    existing    = null
    deployments = [for p in local.pairs : merge({
      priority = null, weight = null, filter = null, spillover = null, upgrade = null, routed = null
    }, p.deployment) if p.region == region]
  } }

  accounts      = merge(local.expanded_accounts, var.accounts)
  account_names = { for key, a in local.accounts : key => a.existing == null ? "aoai-${key}-${local.token}" : a.existing.name }
  key_auth      = length([for a in values(local.accounts) : a if a.key_auth == true]) > 0
  vault         = var.key_vault || local.key_auth

  # Where only some addresses may call, those that the availability test calls from may not.
  probed        = var.alerts && var.availability_test && (local.front_door || var.application_gateway || length(var.allowed_ip_ranges) == 0)
  gateway_zones = var.zone_redundant ? ["1", "2", "3"] : []
}
