# Asks /health/ready from outside. A host that does not start, a reached daily cap and an answer of the front end alone write no log line.

variable "token" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "component_id" { type = string }
variable "address" { type = string }
variable "action_groups" { type = list(string) }

resource "azurerm_application_insights_standard_web_test" "this" {
  name                    = "probe-${var.token}"
  resource_group_name     = var.resource_group_name
  location                = var.location
  application_insights_id = var.component_id
  geo_locations           = ["emea-nl-ams-azr", "us-va-ash-azr", "apac-sg-sin-azr"]
  frequency               = 300
  timeout                 = 30
  enabled                 = true
  retry_enabled           = true
  tags                    = var.tags

  request {
    url                              = "${var.address}/health/ready"
    http_verb                        = "GET"
    parse_dependent_requests_enabled = false
  }

  validation_rules {
    expected_status_code        = 200
    ssl_check_enabled           = true
    ssl_cert_remaining_lifetime = 7
  }
}

resource "azurerm_monitor_metric_alert" "this" {
  name                = "alert-availability-${var.token}"
  resource_group_name = var.resource_group_name
  description         = "Two of three places cannot reach a gateway that is ready"
  severity            = 1
  auto_mitigate       = true
  scopes              = [azurerm_application_insights_standard_web_test.this.id, var.component_id]
  frequency           = "PT5M"
  window_size         = "PT15M"
  tags                = var.tags

  application_insights_web_test_location_availability_criteria {
    web_test_id           = azurerm_application_insights_standard_web_test.this.id
    component_id          = var.component_id
    failed_location_count = 2
  }

  dynamic "action" {
    for_each = var.action_groups
    content {
      action_group_id = action.value
    }
  }
}
