# The map of accounts as the document that Spillway reads: one backend for each deployment. Makes nothing, needs no provider.

variable "accounts" {
  type        = any
  description = "Accounts by key, as in the root's variable, with every optional attribute present."
}

variable "account_names" {
  type        = map(string)
  description = "Names of the accounts by key."
}

variable "open_ai_suffix" {
  type        = string
  description = "Host name suffix."
}

variable "identity_client_id" {
  type        = string
  description = "Client id of the identity that calls the accounts."
}

variable "extra_backends" {
  type        = any
  description = "Appended as they are."
}

variable "options" {
  type        = any
  description = "The rest of the document."
}

locals {
  region_table = jsondecode(file("${path.module}/../../../regions.json"))

  routed = flatten([for key, a in var.accounts : [for d in a.deployments : {
    key        = key
    account    = a
    deployment = d
    home       = lookup(local.region_table, a.location, { geography = "", zone = "" })
  } if d.routed == null ? true : d.routed]])

  # Where a prompt may be worked on: a global deployment anywhere, a data zone deployment in its zone, the others in their region.
  geographies = [for r in local.routed : r.account.geography != null ? r.account.geography : (
    startswith(r.deployment.sku, "Global") ? "global" : (
      startswith(r.deployment.sku, "DataZone") ? r.home.zone : r.home.geography
    )
  )]

  # An empty string, as tfvars of other modules have it, is the default like an absent value.
  backends = [for i, r in local.routed : merge(
    {
      name        = "${r.key}-${r.deployment.name}"
      endpoint    = "https://${var.account_names[r.key]}.${var.open_ai_suffix}"
      region      = r.account.location
      priority    = tonumber(coalesce(r.deployment.priority, r.account.priority, "1"))
      weight      = tonumber(coalesce(r.deployment.weight, r.account.weight, "1"))
      deployments = { (r.deployment.model) = r.deployment.name }
      auth = { for k, v in {
        mode     = r.account.key_auth == true ? "api-key" : "managed-identity"
        setting  = r.account.key_auth == true ? "AOAI_KEY_${upper(replace(r.key, "-", "_"))}" : null
        clientId = r.account.key_auth == true ? null : var.identity_client_id
      } : k => v if v != null }
    },
    { for k, v in { capacity = "provisioned" } : k => v if strcontains(r.deployment.sku, "Provisioned") },
    { for k, v in { stateful = true } : k => v if r.account.stateful == true },
    { for k, v in { priorityIn = r.account.priority_in } : k => v if v != null },
    { for k, v in { geography = local.geographies[i] } : k => v if v != "" },
  )]
}

output "config" {
  value       = merge({ backends = concat(local.backends, var.extra_backends) }, var.options)
  description = "SPILLWAY_CONFIG as a value."
}
