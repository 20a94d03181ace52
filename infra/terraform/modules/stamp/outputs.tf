locals {
  site = local.flex ? {
    id        = azurerm_function_app_flex_consumption.this[0].id
    name      = azurerm_function_app_flex_consumption.this[0].name
    host_name = azurerm_function_app_flex_consumption.this[0].default_hostname
    } : {
    id        = azurerm_linux_function_app.this[0].id
    name      = azurerm_linux_function_app.this[0].name
    host_name = azurerm_linux_function_app.this[0].default_hostname
  }
}

output "site_id" {
  value       = local.site.id
  description = "The function app."
}

output "site_name" {
  value       = local.site.name
  description = "Its name."
}

output "host_name" {
  value       = local.site.host_name
  description = "Its host name."
}

output "package_container" {
  value       = "${azurerm_storage_account.packages.primary_blob_endpoint}${azurerm_storage_container.packages.name}"
  description = "Where its packages lie."
}
