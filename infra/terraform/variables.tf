# Where

variable "subscription_id" {
  type        = string
  description = "Subscription that receives everything."
}

variable "environment_name" {
  type        = string
  description = "Short name of this installation: part of every resource name and the value of the tag azd-env-name."
  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,32}$", var.environment_name))
    error_message = "environment_name is 1 to 32 letters, digits and hyphens."
  }
}

variable "location" {
  type        = string
  description = "Region of the function app and of everything that is not an Azure OpenAI account."
}

variable "second_location" {
  type        = string
  description = "A second region with its own function app on the same shared state. Empty: none."
  default     = ""
  validation {
    condition     = var.second_location != var.location
    error_message = "second_location is another region than location."
  }
}

variable "resource_group_name" {
  type        = string
  description = "Resource group of the first region. Empty: rg-<environment_name>."
  default     = ""
  validation {
    condition     = length(var.resource_group_name) <= 88
    error_message = "resource_group_name has at most 88 characters."
  }
  validation {
    condition     = !endswith(var.resource_group_name, ".")
    error_message = "resource_group_name ends with no dot."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of every resource."
  default     = {}
}

variable "principal_id" {
  type        = string
  description = "Object id of a person or pipeline that may call the models, read the state and upload packages. Empty: none."
  default     = ""
}

variable "principal_type" {
  type        = string
  description = "User, Group or ServicePrincipal."
  default     = "User"
  validation {
    condition     = contains(["User", "Group", "ServicePrincipal"], var.principal_type)
    error_message = "principal_type is User, Group or ServicePrincipal."
  }
}

# What is behind it

variable "accounts" {
  description = "Azure OpenAI accounts by short key (lower-case letters, digits, hyphens). A weight or priority of \"\" is the default, 1."
  type = map(object({
    location = string
    # A spillover target comes before the deployment that names it.
    deployments = list(object({
      name      = string
      model     = string
      version   = string
      sku       = string
      capacity  = number
      priority  = optional(string)
      weight    = optional(string)
      filter    = optional(string)
      spillover = optional(string)
      upgrade   = optional(string)
      routed    = optional(bool)
    }))
    priority    = optional(string)
    weight      = optional(string)
    geography   = optional(string)
    priority_in = optional(map(number))
    stateful    = optional(bool)
    key_auth    = optional(bool)
    existing = optional(object({
      resource_group = string
      name           = string
    }))
  }))
  default = {}

  validation {
    condition     = alltrue([for key in keys(var.accounts) : can(regex("^[a-z0-9-]{1,24}$", key))])
    error_message = "An account key is 1 to 24 lower-case letters, digits and hyphens."
  }
  validation {
    condition = alltrue(flatten([for a in values(var.accounts) : [for d in a.deployments : contains(
      ["Standard", "GlobalStandard", "DataZoneStandard", "ProvisionedManaged", "GlobalProvisionedManaged", "DataZoneProvisionedManaged"], d.sku
    )]]))
    error_message = "A deployment's sku is Standard, GlobalStandard, DataZoneStandard, ProvisionedManaged, GlobalProvisionedManaged or DataZoneProvisionedManaged."
  }
  validation {
    condition     = alltrue(flatten([for a in values(var.accounts) : [for d in a.deployments : d.capacity >= 1]]))
    error_message = "A deployment's capacity is at least 1 (thousand tokens per minute, or throughput unit)."
  }
  validation {
    condition     = alltrue([for key in keys(var.accounts) : !contains(["packages", "vault", "state-table", "state-blob"], key)])
    error_message = "packages, vault, state-table and state-blob are the names of other private endpoints: give the account another key."
  }
  validation {
    condition     = alltrue([for a in values(var.accounts) : a.existing == null || a.key_auth != true])
    error_message = "key_auth is for accounts that are made here: the key of an existing one goes into secrets, and the account into extra_backends."
  }
  validation {
    condition     = alltrue(flatten([for a in values(var.accounts) : [for d in a.deployments : length(d.name) <= 64]]))
    error_message = "The name of a deployment has at most 64 characters."
  }
  validation {
    condition = alltrue(flatten([for a in values(var.accounts) : [for d in a.deployments :
      a.existing != null || d.filter == null ? true : startswith(d.filter, "Microsoft.") || contains(keys(var.content_filters), d.filter)
    ]]))
    error_message = "filter names one of content_filters, or one that Azure provides (Microsoft.DefaultV2)."
  }
  # Native spillover goes to a pay-as-you-go deployment of the same model that processes in the same place.
  validation {
    condition = alltrue(flatten([for a in values(var.accounts) : [for i, d in a.deployments :
      d.spillover == null ? true : contains(
        [for e in slice(a.deployments, 0, i) : "${e.name}/${e.model}/${e.sku}"],
        "${d.spillover}/${d.model}/${replace(d.sku, "ProvisionedManaged", "Standard")}"
      ) && strcontains(d.sku, "Provisioned")
    ]]))
    error_message = "spillover names a pay-as-you-go deployment of the same account and model, listed before the one that spills over: GlobalStandard for GlobalProvisionedManaged, and so on."
  }
  validation {
    condition = alltrue([for n in flatten([for a in values(var.accounts) : [
      a.priority, a.weight, [for d in a.deployments : [d.priority, d.weight]], a.priority_in == null ? [] : values(a.priority_in)
    ]]) : can(regex("^([0-9]{1,3}|1000)$", coalesce(n, "1")))])
    error_message = "priority, weight and the numbers of priority_in are whole and from 0 to 1000."
  }
  validation {
    condition = alltrue(flatten([for a in values(var.accounts) : [for d in a.deployments : contains(
      ["NoAutoUpgrade", "OnceNewDefaultVersionAvailable", "OnceCurrentVersionExpired"], coalesce(d.upgrade, "NoAutoUpgrade")
    )]]))
    error_message = "A deployment's upgrade is NoAutoUpgrade, OnceNewDefaultVersionAvailable or OnceCurrentVersionExpired."
  }
}

variable "models" {
  description = "Models to deploy to many regions; each region becomes an account with the region as its key, unless accounts has that key. No version and no regions: the ones in infra/models.json."
  type = map(object({
    version  = optional(string)
    sku      = optional(string)
    regions  = optional(list(string))
    capacity = optional(number)
  }))
  default = {}
  validation {
    condition = alltrue([for m in values(var.models) : contains(
      ["Standard", "GlobalStandard", "DataZoneStandard", "ProvisionedManaged", "GlobalProvisionedManaged", "DataZoneProvisionedManaged"], coalesce(m.sku, "GlobalStandard")
    )])
    error_message = "A model's sku is Standard, GlobalStandard, DataZoneStandard, ProvisionedManaged, GlobalProvisionedManaged or DataZoneProvisionedManaged."
  }
  validation {
    condition     = alltrue([for m in values(var.models) : coalesce(m.capacity, 1) >= 1])
    error_message = "A model's capacity is at least 1 (thousand tokens per minute, or throughput unit)."
  }
  validation {
    condition     = alltrue(flatten([for m in values(var.models) : [for r in coalesce(m.regions, []) : can(regex("^[a-z0-9]{1,24}$", r))]]))
    error_message = "A region is written in small letters and digits, such as swedencentral."
  }
}

variable "model_priority" {
  type        = number
  description = "Priority of the accounts made from models."
  default     = 1
  validation {
    condition     = var.model_priority >= 1 && var.model_priority <= 1000
    error_message = "model_priority is 1 to 1000."
  }
}

variable "capacity_scale" {
  type        = number
  description = "Percent of the capacities in infra/models.json to ask for."
  default     = 100
  validation {
    condition     = var.capacity_scale >= 1 && var.capacity_scale <= 100
    error_message = "capacity_scale is 1 to 100 percent."
  }
}

variable "content_filters" {
  description = "Content filters by name; each is made in every account whose deployments name it."
  type = map(list(object({
    name               = string
    source             = string
    severity_threshold = optional(string)
    blocking           = bool
    enabled            = bool
  })))
  default = {}
  validation {
    condition     = alltrue([for f in flatten(values(var.content_filters)) : contains(["Prompt", "Completion"], f.source) && contains(["Low", "Medium", "High"], coalesce(f.severity_threshold, "Low"))])
    error_message = "A content filter's source is Prompt or Completion, its severity_threshold Low, Medium or High."
  }
}

variable "extra_backends" {
  type        = any
  description = "Backends that are not made here, in the form of SPILLWAY_CONFIG."
  default     = []
  validation {
    condition     = length(var.accounts) + length(var.models) + length(var.extra_backends) > 0
    error_message = "accounts, models or extra_backends name at least one backend."
  }
  validation {
    condition = (
      length(concat([for b in var.extra_backends : try(b.name, "")], flatten([for key, a in local.accounts : [for d in a.deployments : "${key}-${d.name}"]]))) ==
      length(distinct([for n in concat([for b in var.extra_backends : try(b.name, "")], flatten([for key, a in local.accounts : [for d in a.deployments : "${key}-${d.name}"]])) : lower(n)]))
    )
    error_message = "Two backends have one name: a deployment makes <account key>-<deployment name>, extra_backends give their own."
  }
  validation {
    condition     = alltrue([for b in var.extra_backends : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", try(coalesce(b.auth.setting, "none"), "none")))])
    error_message = "auth.setting is the name of an app setting: letters, digits and underscores."
  }
}

variable "pool" {
  type        = any
  description = "The rest of SPILLWAY_CONFIG: models, consumers, circuitBreaker, throttle."
  default     = {}
  validation {
    condition = alltrue([for name in flatten([for c in try(var.pool.consumers, []) : [try(c.keySetting, []), try(c.keySettings, [])]]) :
      can(regex("^[A-Za-z_][A-Za-z0-9_]*$", coalesce(name, "none")))
    ])
    error_message = "keySetting and keySettings are names of app settings: letters, digits and underscores."
  }
}

variable "open_ai_suffix" {
  type        = string
  description = "Host name suffix of Azure OpenAI in this cloud."
  default     = "openai.azure.com"
}

variable "open_ai_role" {
  type        = string
  description = "Role by which the identity calls the accounts: the guid of Cognitive Services OpenAI User, or of a narrower role of your own."
  default     = "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd"
}

variable "purge_accounts_on_destroy" {
  type        = bool
  description = "terraform destroy also purges the accounts, which frees their names and quota at once and for good."
  default     = false
}

# Who may call it

variable "auth" {
  type        = string
  description = "SPILLWAY_AUTH: key, entra, key,entra or none."
  default     = "key"
  validation {
    condition     = contains(["key", "entra", "key,entra", "none"], var.auth)
    error_message = "auth is key, entra, \"key,entra\" or none."
  }
  validation {
    condition     = !strcontains(var.auth, "entra") || (var.entra_tenant != "" && var.entra_audience != "")
    error_message = "auth with entra needs entra_tenant and entra_audience."
  }
}

variable "entra_tenant" {
  type        = string
  description = "Tenant whose tokens are accepted."
  default     = ""
}

variable "entra_audience" {
  type        = string
  description = "Audience that a token must name."
  default     = ""
}

variable "entra_issuer" {
  type        = string
  description = "Issuer, when it is not the tenant's usual one."
  default     = ""
}

variable "secrets" {
  type        = map(string)
  sensitive   = true
  description = "App settings that are secrets, by name: consumers' keys, SPILLWAY_OPERATOR_KEY, keys of extra_backends. With a vault, an empty value makes the reference only. Give it as TF_VAR_secrets, not in a file."
  default     = {}
  validation {
    condition     = alltrue([for name in nonsensitive(keys(var.secrets)) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name))])
    error_message = "A secret has the name of an app setting: letters, digits and underscores."
  }
  validation {
    condition     = length(distinct([for name in nonsensitive(keys(var.secrets)) : lower(name)])) == length(var.secrets)
    error_message = "Two secrets have names that differ by case only, which Azure does not tell apart."
  }
}

variable "settings" {
  type        = map(string)
  description = "Further app settings; they win over the ones made here."
  default     = {}
}

# How it runs

variable "plan" {
  type        = string
  description = "flex or premium."
  default     = "flex"
  validation {
    condition     = contains(["flex", "premium"], var.plan)
    error_message = "plan is flex or premium."
  }
}

variable "premium_sku" {
  type        = string
  description = "EP1, EP2 or EP3."
  default     = "EP1"
  validation {
    condition     = contains(["EP1", "EP2", "EP3"], var.premium_sku)
    error_message = "premium_sku is EP1, EP2 or EP3."
  }
}

variable "instance_memory" {
  type        = number
  description = "Memory of a Flex Consumption instance in MB."
  default     = 2048
  validation {
    condition     = contains([512, 2048, 4096], var.instance_memory)
    error_message = "Flex Consumption offers 512, 2048 and 4096 MB."
  }
}

variable "maximum_instances" {
  type        = number
  description = "Most instances per region (Premium stops at 100)."
  default     = 100
  validation {
    condition     = var.maximum_instances >= 1 && var.maximum_instances <= 1000
    error_message = "maximum_instances is 1 to 1000."
  }
}

variable "always_ready" {
  type        = number
  description = "Instances that are always warm."
  default     = 1
  validation {
    condition     = var.always_ready >= 0
    error_message = "always_ready is not negative."
  }
  validation {
    condition     = var.always_ready <= var.maximum_instances
    error_message = "always_ready is at most maximum_instances."
  }
}

variable "concurrency" {
  type        = number
  description = "Requests one instance takes before another is started. An open stream counts for as long as it lives."
  default     = 100
  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 1000
    error_message = "concurrency is 1 to 1000."
  }
}

variable "zone_redundant" {
  type        = bool
  description = "Spreads the plan over availability zones."
  default     = false
  validation {
    condition     = !var.zone_redundant || endswith(var.storage_sku, "ZRS")
    error_message = "zone_redundant needs zone-redundant storage: storage_sku Standard_ZRS or Standard_GZRS."
  }
}

variable "storage_sku" {
  type        = string
  description = "Redundancy of the storage accounts."
  default     = "Standard_LRS"
  validation {
    condition     = contains(["Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS"], var.storage_sku)
    error_message = "storage_sku is Standard_LRS, Standard_ZRS, Standard_GRS or Standard_GZRS."
  }
}

variable "transcripts" {
  type        = bool
  description = "A container for full transcripts, and SPILLWAY_TRANSCRIPTS. Consumers still opt in one by one."
  default     = false
}

# How it is closed off

variable "key_vault" {
  type        = bool
  description = "Secrets go to a Key Vault; app settings refer to them. Always on when an account uses key_auth."
  default     = false
}

variable "purge_protection" {
  type        = bool
  description = "A deleted vault or secret cannot be purged before its seven days are over."
  default     = true
}

variable "private_network" {
  type        = bool
  description = "Virtual network, private endpoints for accounts, state, packages and vault; their public addresses refuse everything."
  default     = false
}

variable "address_spaces" {
  type        = list(string)
  description = "One address space of at least /23 per region."
  default     = ["10.42.0.0/23", "10.42.2.0/23"]
  validation {
    condition     = length(var.address_spaces) >= (var.second_location == "" ? 1 : 2)
    error_message = "address_spaces has an address space for each region."
  }
}

variable "allowed_ip_ranges" {
  type        = list(string)
  description = "Address ranges that may call the function app directly. Empty: everybody, or only Front Door when there is one."
  default     = []
}

variable "front_door" {
  type        = string
  description = "None, Standard or Premium."
  default     = "None"
  validation {
    condition     = contains(["None", "Standard", "Premium"], var.front_door)
    error_message = "front_door is None, Standard or Premium."
  }
}

variable "front_door_private_link" {
  type        = bool
  description = "Premium only: Front Door reaches the function app by Private Link; the connection must be approved once."
  default     = false
  validation {
    condition     = !var.front_door_private_link || var.front_door == "Premium"
    error_message = "front_door_private_link needs front_door = \"Premium\"."
  }
}

variable "custom_domain" {
  type        = string
  description = "Host name served by Front Door, with a managed certificate. Empty: none."
  default     = ""
  validation {
    condition     = var.custom_domain == "" || var.front_door != "None"
    error_message = "custom_domain needs front_door."
  }
}

variable "dns_zone" {
  type        = string
  description = "Makes a public DNS zone of this name with the records for custom_domain. Empty: the records are yours to make."
  default     = ""
  validation {
    condition     = var.dns_zone == "" || var.custom_domain == var.dns_zone || endswith(var.custom_domain, ".${var.dns_zone}")
    error_message = "custom_domain is the name of dns_zone, or one below it."
  }
}

variable "application_gateway" {
  type        = bool
  description = "An Application Gateway with WAF v2 as the way in, instead of Front Door."
  default     = false
  validation {
    condition     = !var.application_gateway || var.front_door == "None"
    error_message = "application_gateway is instead of front_door."
  }
  validation {
    condition     = !var.application_gateway || (var.gateway_host_name != "" && var.gateway_certificate != "" && var.gateway_vault_id != "")
    error_message = "application_gateway needs gateway_host_name, gateway_certificate and gateway_vault_id."
  }
}

variable "gateway_host_name" {
  type        = string
  description = "Host name that the Application Gateway serves. Its DNS record is yours to make: it points to the gateway's address."
  default     = ""
}

variable "gateway_certificate" {
  type        = string
  description = "Secret of its certificate in a Key Vault, without a version: https://<vault>.vault.azure.net/secrets/<name>."
  default     = ""
}

variable "gateway_vault_id" {
  type        = string
  description = "Resource id of that vault, which gives rights by roles: the gateway's identity may then read secrets there."
  default     = ""
}

variable "gateway_address_space" {
  type        = string
  description = "Address space of the Application Gateway's own network, /24 or larger."
  default     = "10.42.4.0/24"
}

variable "waf_mode" {
  type        = string
  description = "Prevention or Detection."
  default     = "Prevention"
  validation {
    condition     = contains(["Prevention", "Detection"], var.waf_mode)
    error_message = "waf_mode is Prevention or Detection."
  }
}

variable "waf_requests_per_minute" {
  type        = number
  description = "Requests per minute and client address before Front Door or the Application Gateway refuses."
  default     = 3000
  validation {
    condition     = var.waf_requests_per_minute >= 10
    error_message = "waf_requests_per_minute is at least 10."
  }
}

variable "expose_operations" {
  type        = bool
  description = "Lets /ops through Front Door or the Application Gateway. Off: operators come from allowed_ip_ranges."
  default     = false
}

# How it is watched

variable "log_retention_days" {
  type        = number
  description = "Days that logs are kept."
  default     = 30
  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "log_retention_days is 30 to 730."
  }
}

variable "daily_log_cap" {
  type        = number
  description = "Gigabytes a day; -1 is no cap."
  default     = -1
  validation {
    condition     = var.daily_log_cap >= -1
    error_message = "daily_log_cap is a number of gigabytes, or -1."
  }
}

variable "alerts" {
  type        = bool
  description = "The log alerts."
  default     = true
}

variable "alert_emails" {
  type        = list(string)
  description = "Who hears of alerts."
  default     = []
}

variable "availability_test" {
  type        = bool
  description = "Asks /health/ready from three places every five minutes, with an alert. It needs alerts, and a way in that is open to all."
  default     = true
}

variable "workbook" {
  type        = bool
  description = "The workbook in infra/monitor."
  default     = true
}

variable "diagnostics" {
  type        = bool
  description = "Audit logs of the accounts, the vault and Front Door."
  default     = true
}
