variable "token" { type = string }
variable "suffix" { type = string }
variable "resource_group_name" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }
variable "identity" {
  type = object({
    id           = string
    client_id    = string
    principal_id = string
  })
}
variable "operator_id" { type = string }
variable "operator_type" { type = string }
variable "roles" { type = map(string) }
variable "plan" { type = string }
variable "premium_sku" { type = string }
variable "instance_memory" { type = number }
variable "maximum_instances" { type = number }
variable "always_ready" { type = number }
variable "concurrency" { type = number }
variable "zone_redundant" { type = bool }
variable "storage_sku" { type = string }
variable "connection_string" { type = string }
variable "settings" { type = map(string) }
variable "secrets" {
  type      = map(string)
  sensitive = true
}
variable "key_settings" {
  type        = list(string)
  description = "Keys of the accounts whose key lies in the vault."
}
variable "vault" { type = bool }
variable "vault_id" { type = string }
variable "vault_uri" { type = string }
variable "isolated" { type = bool }
variable "address_space" { type = string }
variable "open_ai_zone" { type = string }
variable "account_ids" { type = map(string) }
variable "state_id" { type = string }
variable "state_groups" {
  type        = list(string)
  description = "Services of the state account in use: table, blob."
}
variable "front_door" { type = bool }
variable "front_door_id" { type = string }
variable "front_door_private_link" { type = bool }
variable "allowed_ip_ranges" { type = list(string) }
variable "gateway" { type = bool }
variable "gateway_address" {
  type        = string
  description = "The address that an Application Gateway calls from, or empty."
}
