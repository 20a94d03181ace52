# One region's virtual network: a subnet for the function app's way out, one for private endpoints, each closed by its own rules.

variable "token" { type = string }
variable "suffix" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "address_space" { type = string }
variable "delegation" {
  type        = string
  description = "Microsoft.App/environments for Flex Consumption, Microsoft.Web/serverFarms for Premium."
}

locals {
  newbits = 24 - tonumber(split("/", var.address_space)[1])
}

resource "azurerm_network_security_group" "app" {
  name                = "nsg-app-${var.token}${var.suffix}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_network_security_rule" "app_nothing" {
  name                        = "nothing-comes-in"
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.app.name
  priority                    = 4096
  direction                   = "Inbound"
  access                      = "Deny"
  protocol                    = "*"
  source_address_prefix       = "*"
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = "*"
}

resource "azurerm_network_security_group" "endpoints" {
  name                = "nsg-endpoints-${var.token}${var.suffix}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_network_security_rule" "endpoints_https" {
  name                        = "https-from-this-network"
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.endpoints.name
  priority                    = 100
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefix       = "VirtualNetwork"
  source_port_range           = "*"
  destination_address_prefix  = "VirtualNetwork"
  destination_port_range      = "443"
}

resource "azurerm_network_security_rule" "endpoints_nothing" {
  name                        = "nothing-else-comes-in"
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.endpoints.name
  priority                    = 4096
  direction                   = "Inbound"
  access                      = "Deny"
  protocol                    = "*"
  source_address_prefix       = "*"
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = "*"
}

resource "azurerm_virtual_network" "this" {
  name                = "vnet-${var.token}${var.suffix}"
  resource_group_name = var.resource_group_name
  location            = var.location
  address_space       = [var.address_space]
  tags                = var.tags
}

# Flex Consumption accepts no underscore in this name, and shares the subnet with nothing.
resource "azurerm_subnet" "app" {
  name                 = "app"
  resource_group_name  = var.resource_group_name
  virtual_network_name = azurerm_virtual_network.this.name
  address_prefixes     = [cidrsubnet(var.address_space, local.newbits, 0)]

  delegation {
    name = "app"
    service_delegation {
      name    = var.delegation
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  name                              = "endpoints"
  resource_group_name               = var.resource_group_name
  virtual_network_name              = azurerm_virtual_network.this.name
  address_prefixes                  = [cidrsubnet(var.address_space, local.newbits, 1)]
  private_endpoint_network_policies = "Enabled"
}

resource "azurerm_subnet_network_security_group_association" "app" {
  subnet_id                 = azurerm_subnet.app.id
  network_security_group_id = azurerm_network_security_group.app.id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  subnet_id                 = azurerm_subnet.endpoints.id
  network_security_group_id = azurerm_network_security_group.endpoints.id
}

output "id" {
  value       = azurerm_virtual_network.this.id
  description = "The network."
}

output "app_subnet_id" {
  value       = azurerm_subnet.app.id
  description = "The function app's way out."
  depends_on  = [azurerm_subnet_network_security_group_association.app]
}

output "endpoint_subnet_id" {
  value       = azurerm_subnet.endpoints.id
  description = "Where private endpoints lie."
  depends_on  = [azurerm_subnet_network_security_group_association.endpoints]
}
