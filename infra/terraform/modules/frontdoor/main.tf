# What Front Door serves: one origin per region behind one host name, its firewall, and a domain of your own.

variable "token" { type = string }
variable "front_door_id" { type = string }
variable "profile_id" { type = string }
variable "resource_group_name" { type = string }
variable "tags" { type = map(string) }
variable "premium" { type = bool }
variable "private_link" { type = bool }
variable "origins" {
  type = list(object({
    host     = string
    site_id  = string
    location = string
  }))
}
variable "custom_domain" { type = string }
variable "dns_zone" { type = string }
variable "waf_mode" { type = string }
variable "requests_per_minute" { type = number }
variable "expose_operations" { type = bool }

locals {
  sku        = var.premium ? "Premium_AzureFrontDoor" : "Standard_AzureFrontDoor"
  has_domain = var.custom_domain != ""
  has_zone   = local.has_domain && var.dns_zone != ""
  # At the zone's own name there can be no CNAME, but an alias.
  apex   = local.has_zone && var.custom_domain == var.dns_zone
  record = replace(var.custom_domain, ".${var.dns_zone}", "")
}

resource "azurerm_cdn_frontdoor_endpoint" "this" {
  name                     = "spillway-${var.token}"
  cdn_frontdoor_profile_id = var.profile_id
  tags                     = var.tags
}

resource "azurerm_cdn_frontdoor_origin_group" "this" {
  name                     = "spillway"
  cdn_frontdoor_profile_id = var.profile_id
  session_affinity_enabled = false

  load_balancing {
    sample_size                        = 4
    successful_samples_required        = 2
    additional_latency_in_milliseconds = 50
  }

  # Unhealthy when no backend of any model is available: a region that cannot serve gets no callers.
  health_probe {
    path                = "/health/ready"
    protocol            = "Https"
    request_type        = "GET"
    interval_in_seconds = 30
  }
}

resource "azurerm_cdn_frontdoor_origin" "this" {
  count                          = length(var.origins)
  name                           = "region-${count.index}"
  cdn_frontdoor_origin_group_id  = azurerm_cdn_frontdoor_origin_group.this.id
  host_name                      = var.origins[count.index].host
  origin_host_header             = var.origins[count.index].host
  http_port                      = 80
  https_port                     = 443
  priority                       = 1
  weight                         = 1000
  enabled                        = true
  certificate_name_check_enabled = true

  dynamic "private_link" {
    for_each = var.private_link ? [var.origins[count.index]] : []
    content {
      private_link_target_id = private_link.value.site_id
      target_type            = "sites"
      location               = private_link.value.location
      # scripts/deploy.sh knows the request by the id.
      request_message = "Front Door of Spillway ${var.front_door_id}"
    }
  }
}

resource "azurerm_cdn_frontdoor_custom_domain" "this" {
  count                    = local.has_domain ? 1 : 0
  name                     = replace(var.custom_domain, ".", "-")
  cdn_frontdoor_profile_id = var.profile_id
  host_name                = var.custom_domain
  dns_zone_id              = local.has_zone ? azurerm_dns_zone.this[0].id : null

  tls {
    certificate_type = "ManagedCertificate"
    minimum_version  = "TLS12"
  }
}

resource "azurerm_cdn_frontdoor_route" "this" {
  name                            = "all"
  cdn_frontdoor_endpoint_id       = azurerm_cdn_frontdoor_endpoint.this.id
  cdn_frontdoor_origin_group_id   = azurerm_cdn_frontdoor_origin_group.this.id
  cdn_frontdoor_origin_ids        = azurerm_cdn_frontdoor_origin.this[*].id
  cdn_frontdoor_custom_domain_ids = azurerm_cdn_frontdoor_custom_domain.this[*].id
  supported_protocols             = ["Https"]
  patterns_to_match               = ["/*"]
  forwarding_protocol             = "HttpsOnly"
  link_to_default_domain          = true
  https_redirect_enabled          = false
}

resource "azurerm_cdn_frontdoor_firewall_policy" "this" {
  name                = "waf${var.token}"
  resource_group_name = var.resource_group_name
  sku_name            = local.sku
  mode                = var.waf_mode
  # 128 KB is all that the firewall reads; a larger prompt is passed on, not refused.
  request_body_check_enabled = true
  tags                       = var.tags

  custom_rule {
    name                           = "flood"
    priority                       = 100
    type                           = "RateLimitRule"
    action                         = "Block"
    rate_limit_duration_in_minutes = 1
    rate_limit_threshold           = var.requests_per_minute
    match_condition {
      match_variable = "RequestUri"
      operator       = "Any"
      match_values   = []
    }
  }

  # The host behind the firewall decodes a path, ignores its case and resolves its dot segments: /x/%2e%2e/OPS is /ops there. Whether the
  # firewall sees what is left of that, and in which order it transforms, is not documented: the patterns take every spelling.
  dynamic "custom_rule" {
    for_each = var.expose_operations ? [] : ["operations"]
    content {
      name     = custom_rule.value
      priority = 200
      type     = "MatchRule"
      action   = "Block"
      match_condition {
        match_variable = "RequestUri"
        operator       = "RegEx"
        transforms     = ["UrlDecode"]
        match_values = [
          "^([a-zA-Z]+://[^/\\\\]+)?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)",
          "[/\\\\]\\.\\.?[/\\\\]+([oO][pP][sS]|[aA][dD][mM][iI][nN])([/\\\\?#]|$)",
        ]
      }
    }
  }

  dynamic "managed_rule" {
    for_each = var.premium ? [1] : []
    content {
      type    = "Microsoft_DefaultRuleSet"
      version = "2.1"
      action  = "Block"
      # Prompts are prose and code: every injection rule fires on them sooner or later.
      exclusion {
        match_variable = "RequestBodyJsonArgNames"
        operator       = "EqualsAny"
        selector       = "*"
      }
    }
  }

  dynamic "managed_rule" {
    for_each = var.premium ? [1] : []
    content {
      type    = "Microsoft_BotManagerRuleSet"
      version = "1.1"
      # Not Block, which would hold for what the set calls unknown bots too, and every SDK is one. The provider asks for an action.
      action = "Log"
    }
  }
}

resource "azurerm_cdn_frontdoor_security_policy" "this" {
  name                     = "spillway"
  cdn_frontdoor_profile_id = var.profile_id

  security_policies {
    firewall {
      cdn_frontdoor_firewall_policy_id = azurerm_cdn_frontdoor_firewall_policy.this.id
      association {
        patterns_to_match = ["/*"]
        domain {
          cdn_frontdoor_domain_id = azurerm_cdn_frontdoor_endpoint.this.id
        }
        dynamic "domain" {
          for_each = azurerm_cdn_frontdoor_custom_domain.this[*].id
          content {
            cdn_frontdoor_domain_id = domain.value
          }
        }
      }
    }
  }
}

resource "azurerm_dns_zone" "this" {
  count               = local.has_zone ? 1 : 0
  name                = var.dns_zone
  resource_group_name = var.resource_group_name
  tags                = var.tags
}

resource "azurerm_dns_a_record" "apex" {
  count               = local.apex ? 1 : 0
  name                = "@"
  zone_name           = azurerm_dns_zone.this[0].name
  resource_group_name = var.resource_group_name
  ttl                 = 3600
  target_resource_id  = azurerm_cdn_frontdoor_endpoint.this.id
}

resource "azurerm_dns_cname_record" "alias" {
  count               = local.has_zone && !local.apex ? 1 : 0
  name                = local.record
  zone_name           = azurerm_dns_zone.this[0].name
  resource_group_name = var.resource_group_name
  ttl                 = 3600
  record              = azurerm_cdn_frontdoor_endpoint.this.host_name
}

resource "azurerm_dns_txt_record" "proof" {
  count               = local.has_zone ? 1 : 0
  name                = local.apex ? "_dnsauth" : "_dnsauth.${local.record}"
  zone_name           = azurerm_dns_zone.this[0].name
  resource_group_name = var.resource_group_name
  ttl                 = 3600
  record {
    value = azurerm_cdn_frontdoor_custom_domain.this[0].validation_token
  }
}

output "host_name" {
  value       = azurerm_cdn_frontdoor_endpoint.this.host_name
  description = "Host name of the endpoint."
}

output "validation_token" {
  value       = local.has_domain ? azurerm_cdn_frontdoor_custom_domain.this[0].validation_token : ""
  description = "Value of the TXT record _dnsauth.<custom domain>."
}

output "name_servers" {
  value       = local.has_zone ? azurerm_dns_zone.this[0].name_servers : []
  description = "Name servers of the zone."
}
