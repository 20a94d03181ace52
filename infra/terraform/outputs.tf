# azd keeps outputs as environment values, hence the capitals.

locals {
  stamps  = [for i, region in local.regions : module.stamp[local.suffixes[i]]]
  host    = local.front_door ? (var.custom_domain == "" ? module.routes[0].host_name : var.custom_domain) : (var.application_gateway ? var.gateway_host_name : local.stamps[0].host_name)
  address = "https://${local.host}"
}

output "AZURE_LOCATION" {
  value       = var.location
  description = "Region of the first function app."
}

output "AZURE_TENANT_ID" {
  value       = azurerm_user_assigned_identity.this.tenant_id
  description = "Tenant of the identity."
}

output "AZURE_RESOURCE_GROUP" {
  value       = azurerm_resource_group.this[""].name
  description = "Resource group of the first region."
}

output "AZURE_RESOURCE_GROUPS" {
  value       = [for i, region in local.regions : azurerm_resource_group.this[local.suffixes[i]].name]
  description = "Resource groups, one per region."
}

output "AZURE_FUNCTION_APP_NAME" {
  value       = local.stamps[0].site_name
  description = "Function app of the first region."
}

output "AZURE_FUNCTION_APP_NAMES" {
  value       = local.stamps[*].site_name
  description = "Function apps, one per region."
}

output "AZURE_FUNCTION_APP_PLAN" {
  value       = var.plan
  description = "flex or premium: how a package is published."
}

output "AZURE_PACKAGE_CONTAINERS" {
  value       = local.stamps[*].package_container
  description = "Containers that packages are run from, one per region."
}

output "AZURE_STATE_ACCOUNT_NAME" {
  value       = module.state.name
  description = "Storage account with the shared tables."
}

output "AZURE_KEY_VAULT_NAME" {
  value       = local.vault ? module.vault[0].name : ""
  description = "Key Vault, or empty."
}

output "AZURE_LOG_ANALYTICS_WORKSPACE_ID" {
  value       = module.monitor.workspace_id
  description = "Where the logs are."
}

output "AZURE_CLIENT_ID" {
  value       = azurerm_user_assigned_identity.this.client_id
  description = "Client id of the identity."
}

output "AZURE_OPENAI_ACCOUNTS" {
  value       = values(local.account_names)
  description = "Names of the Azure OpenAI accounts."
}

output "AZURE_FRONT_DOOR_ID" {
  value       = local.front_door ? module.edge[0].front_door_id : ""
  description = "The value of X-Azure-FDID that the function app asks for, or empty."
}

output "GATEWAY_ADDRESS" {
  value       = var.application_gateway ? module.gateway_address[0].address : ""
  description = "Public address of the Application Gateway, for the DNS record of gateway_host_name, or empty."
}

output "CUSTOM_DOMAIN_VALIDATION" {
  value       = local.front_door ? module.routes[0].validation_token : ""
  description = "Value of the TXT record _dnsauth.<custom_domain>, or empty."
}

output "DNS_NAME_SERVERS" {
  value       = local.front_door ? module.routes[0].name_servers : []
  description = "Name servers of the zone, to be entered at the registrar."
}

output "spillway" {
  value = {
    location               = var.location
    tenantId               = azurerm_user_assigned_identity.this.tenant_id
    resourceGroups         = [for i, region in local.regions : "${local.first_group}${local.suffixes[i]}"]
    functionApps           = local.stamps[*].site_name
    plan                   = var.plan
    packageContainers      = local.stamps[*].package_container
    stateAccount           = module.state.name
    keyVault               = local.vault ? module.vault[0].name : ""
    workspaceId            = module.monitor.workspace_id
    clientId               = azurerm_user_assigned_identity.this.client_id
    openAiAccounts         = values(local.account_names)
    frontDoorId            = local.front_door ? module.edge[0].front_door_id : ""
    gatewayAddress         = var.application_gateway ? module.gateway_address[0].address : ""
    customDomainValidation = local.front_door ? module.routes[0].validation_token : ""
    dnsNameServers         = local.front_door ? module.routes[0].name_servers : []
    address                = local.address
    baseUrl                = "${local.address}/openai/v1"
    config                 = module.pool.config
  }
  description = "All of it in one value, with the same members as in Bicep."
}

output "SPILLWAY_ADDRESS" {
  value       = local.address
  description = "Where callers come in."
}

output "SPILLWAY_BASE_URL" {
  value       = "${local.address}/openai/v1"
  description = "base_url of an OpenAI client."
}

output "SPILLWAY_CONFIG" {
  value       = module.pool.config
  description = "The pool as the function app was told."
}
