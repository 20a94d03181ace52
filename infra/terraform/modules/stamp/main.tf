# What one region has: the function app, its packages, and, when private, its network with a private endpoint for everything it talks to.

terraform {
  required_providers {
    azapi = {
      source = "Azure/azapi"
    }
  }
}

locals {
  flex = var.plan == "flex"

  # The platform resolves a reference with the identity; the secret itself is in no app setting.
  secret_settings = { for name in nonsensitive(keys(var.secrets)) : name =>
    var.vault ? "@Microsoft.KeyVault(SecretUri=${var.vault_uri}secrets/${lower(replace(name, "_", "-"))})" : var.secrets[name]
  }
  account_key_settings = { for key in var.key_settings :
    "AOAI_KEY_${upper(replace(key, "-", "_"))}" => "@Microsoft.KeyVault(SecretUri=${var.vault_uri}secrets/aoai-key-${key})"
  }

  settings = merge(
    {
      AzureWebJobsStorage__credential           = "managedidentity"
      AzureWebJobsStorage__clientId             = var.identity.client_id
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${var.identity.client_id};Authorization=AAD"
      AZURE_CLIENT_ID                           = var.identity.client_id
      # Without it the host's welcome page answers at /.
      AzureWebJobsDisableHomepage = "true"
      SPILLWAY_STATE__credential  = "managedidentity"
      SPILLWAY_STATE__clientId    = var.identity.client_id
    },
    var.settings,
    local.account_key_settings,
    local.secret_settings,
  )

  closed = var.front_door || var.gateway || length(var.allowed_ip_ranges) > 0
  front_door_rules = var.front_door && !var.front_door_private_link ? [{
    name        = "front-door"
    priority    = 100
    service_tag = "AzureFrontDoor.Backend"
    ip_address  = null
    fdid        = [var.front_door_id]
  }] : []
  range_rules = [for i, range in var.allowed_ip_ranges : {
    name        = "range-${i}"
    priority    = 200 + i
    service_tag = null
    ip_address  = range
    fdid        = []
  }]
  gateway_rules = var.gateway ? [{
    name        = "gateway"
    priority    = 150
    service_tag = null
    ip_address  = "${var.gateway_address}/32"
    fdid        = []
  }] : []
  restrictions = concat(local.front_door_rules, local.gateway_rules, local.range_rules)

  zones = {
    blob    = "privatelink.blob.core.windows.net"
    table   = "privatelink.table.core.windows.net"
    account = var.open_ai_zone
    vault   = "privatelink.vaultcore.azure.net"
  }
  zone_list = { for group, zone in local.zones : group => zone if var.isolated && (group != "vault" || var.vault) }

  endpoints = !var.isolated ? {} : merge(
    { packages = { target = azurerm_storage_account.packages.id, group = "blob" } },
    { for group in var.state_groups : "state-${group}" => { target = var.state_id, group = group } },
    { for key, id in var.account_ids : key => { target = id, group = "account" } },
    { for name, target in { vault = var.vault_id } : name => { target = target, group = "vault" } if var.vault },
  )
}

resource "azurerm_storage_account" "packages" {
  name                             = "st${var.token}${replace(var.suffix, "-", "")}"
  resource_group_name              = var.resource_group_name
  location                         = var.location
  account_tier                     = split("_", var.storage_sku)[0]
  account_replication_type         = split("_", var.storage_sku)[1]
  min_tls_version                  = "TLS1_2"
  https_traffic_only_enabled       = true
  shared_access_key_enabled        = false
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  default_to_oauth_authentication  = true
  public_network_access_enabled    = !var.isolated
  tags                             = var.tags

  network_rules {
    default_action = var.isolated ? "Deny" : "Allow"
    bypass         = ["None"]
  }
}

resource "azurerm_storage_container" "packages" {
  name                  = "app-package"
  storage_account_id    = azurerm_storage_account.packages.id
  container_access_type = "private"
}

# The host takes leases and makes its own containers: Contributor is documented as too little for AzureWebJobsStorage.
resource "azurerm_role_assignment" "host" {
  scope              = azurerm_storage_account.packages.id
  role_definition_id = var.roles.blob_owner
  principal_id       = var.identity.principal_id
  principal_type     = "ServicePrincipal"
}

# Premium plans run the package from its URL, and somebody has to put it there.
resource "azurerm_role_assignment" "uploader" {
  count              = var.operator_id == "" ? 0 : 1
  scope              = azurerm_storage_container.packages.id
  role_definition_id = var.roles.blob_contributor
  principal_id       = var.operator_id
  principal_type     = var.operator_type
}

module "network" {
  source              = "../network"
  count               = var.isolated ? 1 : 0
  token               = var.token
  suffix              = var.suffix
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
  address_space       = var.address_space
  delegation          = local.flex ? "Microsoft.App/environments" : "Microsoft.Web/serverFarms"
}

resource "azurerm_private_dns_zone" "this" {
  for_each            = local.zone_list
  name                = each.value
  resource_group_name = var.resource_group_name
  tags                = var.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each             = local.zone_list
  name                 = "spillway"
  private_dns_zone_id  = azurerm_private_dns_zone.this[each.key].id
  virtual_network_id   = module.network[0].id
  registration_enabled = false
  tags                 = var.tags
}

module "endpoint" {
  source              = "../endpoint"
  for_each            = local.endpoints
  name                = "pe-${each.key}-${var.token}${var.suffix}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
  subnet_id           = module.network[0].endpoint_subnet_id
  target_id           = each.value.target
  group_id            = each.value.group
  zone_id             = azurerm_private_dns_zone.this[each.value.group].id
  depends_on          = [azurerm_private_dns_zone_virtual_network_link.this]
}

resource "azurerm_service_plan" "this" {
  name                         = "plan-${var.token}${var.suffix}"
  resource_group_name          = var.resource_group_name
  location                     = var.location
  os_type                      = "Linux"
  sku_name                     = local.flex ? "FC1" : var.premium_sku
  maximum_elastic_worker_count = local.flex ? null : min(var.maximum_instances, 100)
  zone_balancing_enabled       = var.zone_redundant
  # One for each zone; without zones, and on Flex Consumption, the platform decides.
  worker_count = !local.flex && var.zone_redundant ? max(var.always_ready, 3) : null
  tags         = var.tags
}
