# Spillway in one subscription: the function app, its state, its identity, and the Azure OpenAI accounts behind it.
# The map var.accounts is the only list of backends: it becomes the accounts, their deployments, the role assignments and SPILLWAY_CONFIG.

resource "azurerm_resource_group" "this" {
  for_each = { for i, region in local.regions : local.suffixes[i] => region }
  name     = "${local.first_group}${each.key}"
  location = each.value
  tags     = local.tags
}

resource "azurerm_user_assigned_identity" "this" {
  name                = "id-${local.token}"
  resource_group_name = azurerm_resource_group.this[""].name
  location            = var.location
  tags                = local.tags
}

module "monitor" {
  source              = "./modules/monitor"
  token               = local.token
  environment_name    = var.environment_name
  resource_group_name = azurerm_resource_group.this[""].name
  location            = var.location
  tags                = local.tags
  principal_id        = azurerm_user_assigned_identity.this.principal_id
  roles               = local.roles
  retention_days      = var.log_retention_days
  daily_cap           = var.daily_log_cap
  alerts              = var.alerts
  emails              = var.alert_emails
  workbook            = var.workbook
}

module "state" {
  source              = "./modules/state"
  name                = "st${local.token}state"
  resource_group_name = azurerm_resource_group.this[""].name
  location            = var.location
  tags                = local.tags
  sku                 = var.storage_sku
  isolated            = var.private_network
  transcripts         = var.transcripts
  principal_id        = azurerm_user_assigned_identity.this.principal_id
  operator_id         = var.principal_id
  operator_type       = var.principal_type
  roles               = local.roles
}

module "vault" {
  source              = "./modules/vault"
  count               = local.vault ? 1 : 0
  name                = "kv-${local.token}"
  resource_group_name = azurerm_resource_group.this[""].name
  location            = var.location
  tags                = local.tags
  tenant_id           = azurerm_user_assigned_identity.this.tenant_id
  principal_id        = azurerm_user_assigned_identity.this.principal_id
  secrets             = var.secrets
  isolated            = var.private_network
  purge_protection    = var.purge_protection
  diagnostics         = var.diagnostics
  workspace_id        = module.monitor.workspace_id
  roles               = local.roles
}

module "openai" {
  source              = "./modules/openai"
  for_each            = local.accounts
  key                 = each.key
  name                = local.account_names[each.key]
  resource_group_name = azurerm_resource_group.this[""].name
  tags                = local.tags
  account             = each.value
  content_filters     = var.content_filters
  principal_id        = azurerm_user_assigned_identity.this.principal_id
  operator_id         = var.principal_id
  operator_type       = var.principal_type
  isolated            = var.private_network
  vault_id            = local.vault ? module.vault[0].id : ""
  diagnostics         = var.diagnostics
  workspace_id        = module.monitor.workspace_id
  roles               = local.roles
}

module "pool" {
  source             = "./modules/pool"
  accounts           = local.accounts
  account_names      = local.account_names
  open_ai_suffix     = var.open_ai_suffix
  identity_client_id = azurerm_user_assigned_identity.this.client_id
  extra_backends     = var.extra_backends
  options            = var.pool
}

module "edge" {
  source              = "./modules/frontdoor-profile"
  count               = local.front_door ? 1 : 0
  name                = "afd-${local.token}"
  resource_group_name = azurerm_resource_group.this[""].name
  tags                = local.tags
  sku                 = var.front_door == "Premium" ? "Premium_AzureFrontDoor" : "Standard_AzureFrontDoor"
  diagnostics         = var.diagnostics
  workspace_id        = module.monitor.workspace_id
}

module "gateway_address" {
  source              = "./modules/gateway-address"
  count               = var.application_gateway ? 1 : 0
  token               = local.token
  resource_group_name = azurerm_resource_group.this[""].name
  location            = var.location
  tags                = local.tags
  zones               = local.gateway_zones
  vault_id            = var.gateway_vault_id
  secrets_user        = local.roles.secrets_user
}

module "gateway" {
  source              = "./modules/gateway"
  count               = var.application_gateway ? 1 : 0
  token               = local.token
  resource_group_name = azurerm_resource_group.this[""].name
  location            = var.location
  tags                = local.tags
  address_space       = var.gateway_address_space
  zones               = local.gateway_zones
  address_id          = module.gateway_address[0].id
  identity_id         = module.gateway_address[0].identity_id
  host_name           = var.gateway_host_name
  certificate         = var.gateway_certificate
  origins             = [for i, region in local.regions : module.stamp[local.suffixes[i]].host_name]
  waf_mode            = var.waf_mode
  requests_per_minute = var.waf_requests_per_minute
  expose_operations   = var.expose_operations
  diagnostics         = var.diagnostics
  workspace_id        = module.monitor.workspace_id
}

module "availability" {
  source              = "./modules/availability"
  count               = local.probed ? 1 : 0
  token               = local.token
  resource_group_name = azurerm_resource_group.this[""].name
  location            = var.location
  tags                = local.tags
  component_id        = module.monitor.component_id
  address             = local.address
  action_groups       = module.monitor.action_groups
}

module "stamp" {
  source              = "./modules/stamp"
  for_each            = { for i, region in local.regions : local.suffixes[i] => { location = region, address_space = var.address_spaces[i] } }
  token               = local.token
  suffix              = each.key
  resource_group_name = azurerm_resource_group.this[each.key].name
  location            = each.value.location
  tags                = local.tags
  identity = {
    id           = azurerm_user_assigned_identity.this.id
    client_id    = azurerm_user_assigned_identity.this.client_id
    principal_id = azurerm_user_assigned_identity.this.principal_id
  }
  operator_id       = var.principal_id
  operator_type     = var.principal_type
  roles             = local.roles
  plan              = var.plan
  premium_sku       = var.premium_sku
  instance_memory   = var.instance_memory
  maximum_instances = var.maximum_instances
  always_ready      = var.always_ready
  concurrency       = var.concurrency
  zone_redundant    = var.zone_redundant
  storage_sku       = var.storage_sku
  connection_string = module.monitor.connection_string
  settings = merge(
    {
      SPILLWAY_CONFIG                 = jsonencode(module.pool.config)
      SPILLWAY_STATE__tableServiceUri = module.state.table_endpoint
      SPILLWAY_AUTH                   = var.auth
    },
    var.entra_tenant == "" ? {} : { SPILLWAY_ENTRA_TENANT = var.entra_tenant },
    var.entra_audience == "" ? {} : { SPILLWAY_ENTRA_AUDIENCE = var.entra_audience },
    var.entra_issuer == "" ? {} : { SPILLWAY_ENTRA_ISSUER = var.entra_issuer },
    var.transcripts ? {
      SPILLWAY_TRANSCRIPTS           = "transcripts"
      SPILLWAY_STATE__blobServiceUri = module.state.blob_endpoint
    } : {},
    var.settings,
  )
  secrets                 = var.secrets
  key_settings            = [for key, a in local.accounts : key if a.key_auth == true]
  vault                   = local.vault
  vault_id                = local.vault ? module.vault[0].id : ""
  vault_uri               = local.vault ? module.vault[0].uri : ""
  isolated                = var.private_network
  address_space           = each.value.address_space
  open_ai_zone            = "privatelink.${var.open_ai_suffix}"
  account_ids             = { for key, account in module.openai : key => account.id }
  state_id                = module.state.id
  state_groups            = var.transcripts ? ["table", "blob"] : ["table"]
  front_door              = local.front_door
  front_door_id           = local.front_door ? module.edge[0].front_door_id : ""
  front_door_private_link = var.front_door_private_link
  allowed_ip_ranges       = var.allowed_ip_ranges
  gateway                 = var.application_gateway
  gateway_address         = var.application_gateway ? module.gateway_address[0].address : ""
}

module "routes" {
  source              = "./modules/frontdoor"
  count               = local.front_door ? 1 : 0
  profile_id          = module.edge[0].id
  front_door_id       = module.edge[0].front_door_id
  token               = local.token
  resource_group_name = azurerm_resource_group.this[""].name
  tags                = local.tags
  premium             = var.front_door == "Premium"
  private_link        = var.front_door_private_link
  origins = [for i, region in local.regions : {
    host     = module.stamp[local.suffixes[i]].host_name
    site_id  = module.stamp[local.suffixes[i]].site_id
    location = region
  }]
  custom_domain       = var.custom_domain
  dns_zone            = var.dns_zone
  waf_mode            = var.waf_mode
  requests_per_minute = var.waf_requests_per_minute
  expose_operations   = var.expose_operations
}
