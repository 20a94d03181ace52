# An Application Gateway with its firewall and its network: one listener for one host name, the function apps of all regions behind it.

variable "token" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "address_space" { type = string }
variable "zones" { type = list(string) }
variable "address_id" { type = string }
variable "identity_id" { type = string }
variable "host_name" { type = string }
variable "certificate" {
  type        = string
  description = "The secret of the certificate, without a version: a renewed one is then taken by itself."
}
variable "origins" { type = list(string) }
variable "waf_mode" { type = string }
variable "requests_per_minute" { type = number }
variable "expose_operations" { type = bool }
variable "diagnostics" { type = bool }
variable "workspace_id" { type = string }

resource "azurerm_network_security_group" "this" {
  name                = "nsg-gateway-${var.token}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_network_security_rule" "this" {
  for_each = {
    callers = { priority = 100, protocol = "Tcp", source = "Internet", ports = "443" }
    # Azure runs the gateway through these; without them it does not start.
    azure           = { priority = 110, protocol = "Tcp", source = "GatewayManager", ports = "65200-65535" }
    probes-of-azure = { priority = 120, protocol = "*", source = "AzureLoadBalancer", ports = "*" }
  }
  name                        = each.key
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.this.name
  priority                    = each.value.priority
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = each.value.protocol
  source_address_prefix       = each.value.source
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = each.value.ports
}

resource "azurerm_virtual_network" "this" {
  name                = "vnet-gateway-${var.token}"
  resource_group_name = var.resource_group_name
  location            = var.location
  address_space       = [var.address_space]
  tags                = var.tags
}

resource "azurerm_subnet" "this" {
  name                 = "gateway"
  resource_group_name  = var.resource_group_name
  virtual_network_name = azurerm_virtual_network.this.name
  address_prefixes     = [var.address_space]
}

resource "azurerm_subnet_network_security_group_association" "this" {
  subnet_id                 = azurerm_subnet.this.id
  network_security_group_id = azurerm_network_security_group.this.id
  depends_on                = [azurerm_network_security_rule.this]
}

resource "azurerm_web_application_firewall_policy" "this" {
  name                = "waf-gateway-${var.token}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags

  # The first 128 KB are read; a larger prompt or upload is passed on, not refused.
  policy_settings {
    enabled                  = true
    mode                     = var.waf_mode
    request_body_check       = true
    request_body_enforcement = false
    file_upload_enforcement  = false
  }

  custom_rules {
    name                 = "flood"
    priority             = 1
    rule_type            = "RateLimitRule"
    action               = "Block"
    rate_limit_duration  = "OneMin"
    rate_limit_threshold = var.requests_per_minute
    group_rate_limit_by  = "ClientAddr"
    match_conditions {
      match_variables {
        variable_name = "RequestUri"
      }
      operator     = "Any"
      match_values = []
    }
  }

  # The host behind the firewall decodes a path, ignores its case and resolves its dot segments: /x/%2e%2e/OPS is /ops there. Whether the
  # firewall sees what is left of that, and in which order it transforms, is not documented: the patterns take every spelling.
  dynamic "custom_rules" {
    for_each = var.expose_operations ? [] : ["operations"]
    content {
      name      = custom_rules.value
      priority  = 2
      rule_type = "MatchRule"
      action    = "Block"
      match_conditions {
        match_variables {
          variable_name = "RequestUri"
        }
        operator   = "Regex"
        transforms = ["UrlDecode"]
        match_values = [
          "^([a-zA-Z]+://[^/\\\\]+)?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)",
          "[/\\\\]\\.\\.?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)",
        ]
      }
    }
  }

  managed_rules {
    managed_rule_set {
      type    = "Microsoft_DefaultRuleSet"
      version = "2.1"
    }
    # Prompts are prose and code: every injection rule fires on them sooner or later.
    exclusion {
      match_variable          = "RequestArgNames"
      selector_match_operator = "EqualsAny"
      selector                = "*"
    }
  }
}

resource "azurerm_application_gateway" "this" {
  name                = "agw-${var.token}"
  resource_group_name = var.resource_group_name
  location            = var.location
  zones               = length(var.zones) == 0 ? null : var.zones
  http2_enabled       = true
  firewall_policy_id  = azurerm_web_application_firewall_policy.this.id
  tags                = var.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity_id]
  }

  sku {
    name = "WAF_v2"
    tier = "WAF_v2"
  }

  autoscale_configuration {
    min_capacity = 1
    max_capacity = 10
  }

  # A buffered response is no stream. Requests are buffered for the firewall.
  global {
    request_buffering_enabled  = true
    response_buffering_enabled = false
  }

  ssl_policy {
    policy_type = "Predefined"
    policy_name = "AppGwSslPolicy20220101"
  }

  gateway_ip_configuration {
    name      = "gateway"
    subnet_id = azurerm_subnet.this.id
  }

  frontend_ip_configuration {
    name                 = "public"
    public_ip_address_id = var.address_id
  }

  frontend_port {
    name = "https"
    port = 443
  }

  ssl_certificate {
    name                = "listener"
    key_vault_secret_id = var.certificate
  }

  backend_address_pool {
    name  = "apps"
    fqdns = var.origins
  }

  # Unhealthy when no backend of any model is available: a region that cannot serve gets no callers.
  probe {
    name                                      = "ready"
    protocol                                  = "Https"
    path                                      = "/health/ready"
    interval                                  = 30
    timeout                                   = 30
    unhealthy_threshold                       = 3
    pick_host_name_from_backend_http_settings = true
    match {
      status_code = ["200"]
    }
  }

  backend_http_settings {
    name                                = "apps"
    port                                = 443
    protocol                            = "Https"
    cookie_based_affinity               = "Disabled"
    pick_host_name_from_backend_address = true
    request_timeout                     = 240
    probe_name                          = "ready"
  }

  http_listener {
    name                           = "https"
    frontend_ip_configuration_name = "public"
    frontend_port_name             = "https"
    protocol                       = "Https"
    host_name                      = var.host_name
    ssl_certificate_name           = "listener"
  }

  request_routing_rule {
    name                       = "all"
    rule_type                  = "Basic"
    priority                   = 100
    http_listener_name         = "https"
    backend_address_pool_name  = "apps"
    backend_http_settings_name = "apps"
  }

  depends_on = [azurerm_subnet_network_security_group_association.this]
}

resource "azurerm_monitor_diagnostic_setting" "audit" {
  count                      = var.diagnostics ? 1 : 0
  name                       = "audit"
  target_resource_id         = azurerm_application_gateway.this.id
  log_analytics_workspace_id = var.workspace_id

  enabled_log {
    category = "ApplicationGatewayFirewallLog"
  }
}
