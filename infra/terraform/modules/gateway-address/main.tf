# The address of the Application Gateway, and its identity: the function app lets in this address, and the vault lets the identity read.

variable "token" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "zones" { type = list(string) }
variable "vault_id" { type = string }
variable "secrets_user" { type = string }

resource "azurerm_public_ip" "this" {
  name                = "pip-gateway-${var.token}"
  resource_group_name = var.resource_group_name
  location            = var.location
  allocation_method   = "Static"
  sku                 = "Standard"
  zones               = length(var.zones) == 0 ? null : var.zones
  tags                = var.tags
}

resource "azurerm_user_assigned_identity" "this" {
  name                = "id-gateway-${var.token}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

# The right to read the certificate, in the vault that holds it.
resource "azurerm_role_assignment" "reader" {
  scope              = var.vault_id
  role_definition_id = var.secrets_user
  principal_id       = azurerm_user_assigned_identity.this.principal_id
  principal_type     = "ServicePrincipal"
}

output "id" {
  value       = azurerm_public_ip.this.id
  description = "The public address as a resource."
}

output "address" {
  value       = azurerm_public_ip.this.ip_address
  description = "The public address."
}

output "identity_id" {
  value       = azurerm_user_assigned_identity.this.id
  description = "The gateway's identity."
  depends_on  = [azurerm_role_assignment.reader]
}
