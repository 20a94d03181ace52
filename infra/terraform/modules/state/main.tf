# The storage account that all instances of all regions share: tables for breakers, throttles, keys and usage; transcripts when asked for.

variable "name" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "sku" { type = string }
variable "isolated" { type = bool }
variable "transcripts" { type = bool }
variable "principal_id" { type = string }
variable "operator_id" { type = string }
variable "operator_type" { type = string }
variable "roles" { type = map(string) }

resource "azurerm_storage_account" "this" {
  name                             = var.name
  resource_group_name              = var.resource_group_name
  location                         = var.location
  account_tier                     = split("_", var.sku)[0]
  account_replication_type         = split("_", var.sku)[1]
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

resource "azurerm_storage_container" "transcripts" {
  count                 = var.transcripts ? 1 : 0
  name                  = "transcripts"
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

# Spillway makes its tables itself; this role is enough for that.
resource "azurerm_role_assignment" "tables" {
  scope              = azurerm_storage_account.this.id
  role_definition_id = var.roles.table_contributor
  principal_id       = var.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "transcripts" {
  count              = var.transcripts ? 1 : 0
  scope              = azurerm_storage_container.transcripts[0].id
  role_definition_id = var.roles.blob_contributor
  principal_id       = var.principal_id
  principal_type     = "ServicePrincipal"
}

# spillway backends, keys and usage on the operator's own machine.
resource "azurerm_role_assignment" "operator" {
  count              = var.operator_id == "" ? 0 : 1
  scope              = azurerm_storage_account.this.id
  role_definition_id = var.roles.table_contributor
  principal_id       = var.operator_id
  principal_type     = var.operator_type
}

output "id" {
  value       = azurerm_storage_account.this.id
  description = "Target of private endpoints."
}

output "name" {
  value       = azurerm_storage_account.this.name
  description = "Name of the account."
}

output "table_endpoint" {
  value       = azurerm_storage_account.this.primary_table_endpoint
  description = "SPILLWAY_STATE__tableServiceUri."
  # Whoever uses the address may rely on the right to do so.
  depends_on = [azurerm_role_assignment.tables]
}

output "blob_endpoint" {
  # Without the slash that primary_blob_endpoint ends in: names of containers are put behind it with one of their own.
  value       = "https://${azurerm_storage_account.this.primary_blob_host}"
  description = "SPILLWAY_STATE__blobServiceUri, where transcripts go."
  depends_on  = [azurerm_role_assignment.transcripts]
}
