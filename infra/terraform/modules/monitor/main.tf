# Log Analytics and Application Insights with Entra ID as the only way in; alerts and the workbook from infra/monitor.

variable "token" { type = string }
variable "environment_name" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "principal_id" { type = string }
variable "roles" { type = map(string) }
variable "retention_days" { type = number }
variable "daily_cap" { type = number }
variable "alerts" { type = bool }
variable "emails" { type = list(string) }
variable "workbook" { type = bool }

locals {
  queries = "${path.module}/../../../monitor"

  # How often to look, how far back; any row is too many.
  rules = {
    no-backend    = { severity = 1, every = "PT5M", window = "PT5M", title = "A model has no backend available", query = file("${local.queries}/alert-no-backend.kql") }
    breaker-open  = { severity = 2, every = "PT5M", window = "PT1H", title = "A circuit breaker has been open for more than five minutes", query = file("${local.queries}/alert-breaker-open.kql") }
    backend-auth  = { severity = 1, every = "PT5M", window = "PT10M", title = "A backend refuses the identity or key, or lacks the deployment", query = file("${local.queries}/alert-backend-auth.kql") }
    disagreement  = { severity = 3, every = "PT5M", window = "PT10M", title = "Instances disagreed for more than five seconds", query = file("${local.queries}/alert-disagreement.kql") }
    condition     = { severity = 2, every = "PT5M", window = "PT10M", title = "A part of an instance has not worked for a minute or longer", query = file("${local.queries}/alert-condition.kql") }
    budget        = { severity = 3, every = "PT15M", window = "PT1H", title = "A consumer has used 80 percent of its budget or more", query = file("${local.queries}/alert-budget.kql") }
    configuration = { severity = 1, every = "PT5M", window = "PT10M", title = "A configuration is not valid: every request is refused", query = file("${local.queries}/alert-configuration.kql") }
    failures      = { severity = 1, every = "PT5M", window = "PT5M", title = "More than one request in twenty fails", query = file("${local.queries}/alert-failures.kql") }
    throttled     = { severity = 2, every = "PT5M", window = "PT10M", title = "Callers are refused because a model is throttled", query = file("${local.queries}/alert-throttled.kql") }
    instance      = { severity = 2, every = "PT5M", window = "PT15M", title = "An instance is cut off from a backend that others reach", query = file("${local.queries}/alert-instance.kql") }
    operator-keys = { severity = 2, every = "PT5M", window = "PT10M", title = "Keys of operators are guessed", query = file("${local.queries}/alert-operator-keys.kql") }
    # What the workspace says of itself: from then until the next day it takes no log line, so that no other alert fires.
    daily-cap = { severity = 2, every = "PT5M", window = "PT5M", title = "The workspace has reached its daily cap", query = "_LogOperation\n| where Category =~ \"Ingestion\" and Detail contains \"OverQuota\"\n" }
  }
}

resource "azurerm_log_analytics_workspace" "this" {
  name                         = "log-${var.token}"
  resource_group_name          = var.resource_group_name
  location                     = var.location
  sku                          = "PerGB2018"
  retention_in_days            = var.retention_days
  daily_quota_gb               = var.daily_cap
  local_authentication_enabled = false
  tags                         = var.tags
}

resource "azurerm_application_insights" "this" {
  name                         = "appi-${var.token}"
  resource_group_name          = var.resource_group_name
  location                     = var.location
  application_type             = "web"
  workspace_id                 = azurerm_log_analytics_workspace.this.id
  local_authentication_enabled = false
  tags                         = var.tags
}

# Without this role a component that refuses instrumentation keys drops all telemetry.
resource "azurerm_role_assignment" "publisher" {
  scope              = azurerm_application_insights.this.id
  role_definition_id = var.roles.metrics_publisher
  principal_id       = var.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_monitor_action_group" "people" {
  count               = length(var.emails) > 0 ? 1 : 0
  name                = "ag-${var.token}"
  resource_group_name = var.resource_group_name
  short_name          = "spillway"
  tags                = var.tags

  dynamic "email_receiver" {
    for_each = var.emails
    content {
      name                    = "person-${email_receiver.key}"
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "this" {
  for_each                = var.alerts ? local.rules : {}
  name                    = "alert-${each.key}-${var.token}"
  resource_group_name     = var.resource_group_name
  location                = var.location
  display_name            = "Spillway: ${each.key}"
  description             = each.value.title
  severity                = each.value.severity
  scopes                  = [azurerm_log_analytics_workspace.this.id]
  evaluation_frequency    = each.value.every
  window_duration         = each.value.window
  auto_mitigation_enabled = true
  skip_query_validation   = true
  tags                    = var.tags

  criteria {
    query                   = each.value.query
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = 0
    failing_periods {
      number_of_evaluation_periods             = 1
      minimum_failing_periods_to_trigger_alert = 1
    }
  }

  action {
    action_groups = azurerm_monitor_action_group.people[*].id
  }
}

resource "azurerm_application_insights_workbook" "this" {
  count               = var.workbook ? 1 : 0
  name                = uuidv5("url", "${azurerm_log_analytics_workspace.this.id}/spillway")
  resource_group_name = var.resource_group_name
  location            = var.location
  display_name        = "Spillway ${var.environment_name}"
  source_id           = lower(azurerm_log_analytics_workspace.this.id)
  category            = "workbook"
  data_json           = file("${local.queries}/workbook.json")
  tags                = var.tags
}

output "workspace_id" {
  value       = azurerm_log_analytics_workspace.this.id
  description = "Where the logs are."
}

output "connection_string" {
  value       = azurerm_application_insights.this.connection_string
  description = "Where telemetry goes; not a secret, the component refuses keys."
}

output "component_id" {
  value       = azurerm_application_insights.this.id
  description = "What availability tests belong to."
}

output "action_groups" {
  value       = azurerm_monitor_action_group.people[*].id
  description = "Who hears of alerts."
}
