# The function app on an Elastic Premium plan. It runs its package from a blob, so that no file share, and no shared key, is needed.
resource "azurerm_linux_function_app" "this" {
  count                           = local.flex ? 0 : 1
  name                            = "func-${var.token}${var.suffix}"
  resource_group_name             = var.resource_group_name
  location                        = var.location
  service_plan_id                 = azurerm_service_plan.this.id
  storage_account_name            = azurerm_storage_account.packages.name
  storage_uses_managed_identity   = true
  content_share_force_disabled    = true
  builtin_logging_enabled         = false
  functions_extension_version     = "~4"
  key_vault_reference_identity_id = var.identity.id
  https_only                      = true
  public_network_access_enabled   = true
  virtual_network_subnet_id       = var.isolated ? module.network[0].app_subnet_id : null

  ftp_publish_basic_authentication_enabled       = false
  webdeploy_publish_basic_authentication_enabled = false

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity.id]
  }

  site_config {
    minimum_tls_version                    = "1.2"
    scm_minimum_tls_version                = "1.2"
    ftps_state                             = "Disabled"
    http2_enabled                          = true
    vnet_route_all_enabled                 = var.isolated
    health_check_path                      = "/health/live"
    health_check_eviction_time_in_min      = 10
    elastic_instance_minimum               = max(var.always_ready, var.zone_redundant ? 3 : 1)
    app_scale_limit                        = min(var.maximum_instances, 100)
    application_insights_connection_string = var.connection_string
    ip_restriction_default_action          = local.closed ? "Deny" : "Allow"
    scm_use_main_ip_restriction            = false

    application_stack {
      use_custom_runtime = true
    }

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

  # The provider adds AzureWebJobsStorage__accountName, FUNCTIONS_WORKER_RUNTIME and FUNCTIONS_EXTENSION_VERSION from the arguments above.
  app_settings = merge(local.settings, {
    WEBSITE_RUN_FROM_PACKAGE                     = "${azurerm_storage_account.packages.primary_blob_endpoint}${azurerm_storage_container.packages.name}/spillway.zip"
    WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID = var.identity.id
  })

  tags = merge(var.tags, { "azd-service-name" = "spillway" })

  depends_on = [azurerm_role_assignment.host, module.endpoint]
}
