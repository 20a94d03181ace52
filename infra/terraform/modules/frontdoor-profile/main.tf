# The Front Door profile alone: the function app checks its id, and its routes need the function app, so one of them has to come first.

variable "name" { type = string }
variable "resource_group_name" { type = string }
variable "tags" { type = map(string) }
variable "sku" { type = string }
variable "diagnostics" { type = bool }
variable "workspace_id" { type = string }

resource "azurerm_cdn_frontdoor_profile" "this" {
  name                = var.name
  resource_group_name = var.resource_group_name
  sku_name            = var.sku
  # The most that Front Door waits for a first byte. Spillway answers or sends a heartbeat well before.
  response_timeout_seconds = 240
  tags                     = var.tags
}

resource "azurerm_monitor_diagnostic_setting" "audit" {
  count                      = var.diagnostics ? 1 : 0
  name                       = "audit"
  target_resource_id         = azurerm_cdn_frontdoor_profile.this.id
  log_analytics_workspace_id = var.workspace_id

  enabled_log {
    category = "FrontDoorWebApplicationFirewallLog"
  }
  enabled_log {
    category = "FrontDoorHealthProbeLog"
  }
}

output "id" {
  value       = azurerm_cdn_frontdoor_profile.this.id
  description = "The profile."
}

output "front_door_id" {
  value       = azurerm_cdn_frontdoor_profile.this.resource_guid
  description = "The value of X-Azure-FDID."
}
