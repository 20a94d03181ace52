# A vault for consumers' keys, the operators' key, and keys of accounts that cannot use an identity.

terraform {
  required_providers {
    azapi = {
      source = "Azure/azapi"
    }
  }
}

variable "name" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "tenant_id" { type = string }
variable "principal_id" { type = string }
variable "secrets" {
  type      = map(string)
  sensitive = true
}
variable "isolated" { type = bool }
variable "purge_protection" { type = bool }
variable "diagnostics" { type = bool }
variable "workspace_id" { type = string }
variable "roles" { type = map(string) }

resource "azurerm_key_vault" "this" {
  name                          = var.name
  resource_group_name           = var.resource_group_name
  location                      = var.location
  tenant_id                     = var.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  soft_delete_retention_days    = 7
  purge_protection_enabled      = var.purge_protection
  public_network_access_enabled = !var.isolated
  tags                          = var.tags

  network_acls {
    default_action = var.isolated ? "Deny" : "Allow"
    bypass         = "None"
  }
}

# Through the control plane: whoever deploys needs neither a right to read secrets nor a way through the vault's firewall.
resource "azapi_resource" "secret" {
  for_each  = nonsensitive(toset([for name, value in var.secrets : name if value != ""]))
  type      = "Microsoft.KeyVault/vaults/secrets@2024-11-01"
  parent_id = azurerm_key_vault.this.id
  name      = lower(replace(each.key, "_", "-"))
  body = {
    properties = {
      value = var.secrets[each.key]
    }
  }
}

resource "azurerm_role_assignment" "reader" {
  scope              = azurerm_key_vault.this.id
  role_definition_id = var.roles.secrets_user
  principal_id       = var.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_monitor_diagnostic_setting" "audit" {
  count                      = var.diagnostics ? 1 : 0
  name                       = "audit"
  target_resource_id         = azurerm_key_vault.this.id
  log_analytics_workspace_id = var.workspace_id

  enabled_log {
    category_group = "audit"
  }
}

output "id" {
  value       = azurerm_key_vault.this.id
  description = "Target of the private endpoint."
}

output "name" {
  value       = azurerm_key_vault.this.name
  description = "Name of the vault."
}

output "uri" {
  value       = azurerm_key_vault.this.vault_uri
  description = "Address of the vault, with a slash at the end."
  # A reference that is resolved before role and secret are there stays unresolved for a day.
  depends_on = [azurerm_role_assignment.reader, azapi_resource.secret]
}
