# The function app on a Flex Consumption plan.
resource "azurerm_function_app_flex_consumption" "this" {
  count                             = local.flex ? 1 : 0
  name                              = "func-${var.token}${var.suffix}"
  resource_group_name               = var.resource_group_name
  location                          = var.location
  service_plan_id                   = azurerm_service_plan.this.id
  storage_container_type            = "blobContainer"
  storage_container_endpoint        = "${azurerm_storage_account.packages.primary_blob_endpoint}${azurerm_storage_container.packages.name}"
  storage_authentication_type       = "UserAssignedIdentity"
  storage_user_assigned_identity_id = var.identity.id
  runtime_name                      = "custom"
  runtime_version                   = "1.0"
  instance_memory_in_mb             = var.instance_memory
  maximum_instance_count            = var.maximum_instances
  http_concurrency                  = var.concurrency
  https_only                        = true
  public_network_access_enabled     = true
  virtual_network_subnet_id         = var.isolated ? module.network[0].app_subnet_id : null

  webdeploy_publish_basic_authentication_enabled = false

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity.id]
  }

  dynamic "always_ready" {
    for_each = var.always_ready > 0 ? [var.always_ready] : []
    content {
      name           = "http"
      instance_count = always_ready.value
    }
  }

  site_config {
    minimum_tls_version                    = "1.2"
    scm_minimum_tls_version                = "1.2"
    http2_enabled                          = true
    application_insights_connection_string = var.connection_string
    ip_restriction_default_action          = local.closed ? "Deny" : "Allow"
    scm_use_main_ip_restriction            = false

    dynamic "ip_restriction" {
      for_each = local.restrictions
      content {
        name        = ip_restriction.value.name
        priority    = ip_restriction.value.priority
        action      = "Allow"
        service_tag = ip_restriction.value.service_tag
        ip_address  = ip_restriction.value.ip_address
        headers = length(ip_restriction.value.fdid) == 0 ? [] : [{
          x_azure_fdid      = ip_restriction.value.fdid
          x_fd_health_probe = []
          x_forwarded_for   = []
          x_forwarded_host  = []
        }]
      }
    }
  }

  app_settings = merge(local.settings, {
    # The provider writes a key-based AzureWebJobsStorage even beside an identity; an empty value takes its place.
    AzureWebJobsStorage              = ""
    AzureWebJobsStorage__accountName = azurerm_storage_account.packages.name
  })

  tags = merge(var.tags, { "azd-service-name" = "spillway" })

  depends_on = [azurerm_role_assignment.host, module.endpoint]
}

# What azurerm has no argument for on this plan. Its updates keep what they do not know.
resource "azapi_resource_action" "vault_identity" {
  count       = local.flex ? 1 : 0
  type        = "Microsoft.Web/sites@2024-11-01"
  resource_id = azurerm_function_app_flex_consumption.this[0].id
  method      = "PATCH"
  body = {
    properties = {
      keyVaultReferenceIdentity = var.identity.id
      clientAffinityEnabled     = false
    }
  }
}

resource "azapi_update_resource" "ftp" {
  count       = local.flex ? 1 : 0
  type        = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01"
  resource_id = "${azurerm_function_app_flex_consumption.this[0].id}/basicPublishingCredentialsPolicies/ftp"
  body = {
    properties = {
      allow = false
    }
  }
}
