# Nothing but Front Door is open: accounts, state, packages and vault answer on private endpoints only, callers bring Entra ID tokens,
# Front Door comes in by Private Link, operators from one address range.
# Empty values: the security team puts the secrets into the vault themselves. TF_VAR_secrets='{"SPILLWAY_OPERATOR_KEY":""}'
environment_name    = "spillway-locked"
location            = "swedencentral"
resource_group_name = "rg-ai-gateway"
principal_id        = "11111111-2222-3333-4444-555555555555"
principal_type      = "Group"

accounts = {
  sweden = {
    location  = "swedencentral"
    geography = "eu"
    priority  = 2
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "DataZoneStandard", capacity = 300 },
    ]
  }
  bought = {
    location = "swedencentral"
    existing = { resource_group = "rg-openai-prod", name = "contoso-ptu-swc" }
    priority = 1
    deployments = [
      { name = "gpt-5.1-ptu", model = "gpt-5.1", version = "2025-11-13", sku = "DataZoneProvisionedManaged", capacity = 50 },
    ]
  }
}

auth           = "entra"
entra_tenant   = "00000000-aaaa-bbbb-cccc-000000000000"
entra_audience = "api://spillway"
entra_issuer   = "https://login.microsoftonline.com/00000000-aaaa-bbbb-cccc-000000000000/v2.0"
pool = {
  consumers = [
    { name = "claims", models = ["gpt-5.1"], geographies = ["eu"], transcripts = true, entra = { appId = "99999999-8888-7777-6666-555555555555" } },
  ]
}

key_vault               = true
private_network         = true
address_spaces          = ["10.90.0.0/22"]
allowed_ip_ranges       = ["203.0.113.0/28"]
front_door              = "Premium"
front_door_private_link = true
waf_requests_per_minute = 600
transcripts             = true
# A JSON list of patterns: what matches is not kept.
settings           = { SPILLWAY_TRANSCRIPTS_REDACT = "[\"[0-9]{2}-[0-9]{6}\"]" }
log_retention_days = 365
storage_sku        = "Standard_ZRS"
