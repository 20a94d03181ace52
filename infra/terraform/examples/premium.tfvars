# The same on an Elastic Premium plan, in a virtual network and behind a Front Door without Private Link.
# TF_VAR_secrets='{"TEAM_A_KEY":"…"}'
environment_name = "spillway-ep"
location         = "uksouth"

accounts = {
  uk = {
    location = "uksouth"
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "GlobalStandard", capacity = 450 },
    ]
  }
  sweden = {
    location = "swedencentral"
    priority = 2
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "GlobalStandard", capacity = 450 },
    ]
  }
}

auth           = "key,entra"
entra_tenant   = "00000000-aaaa-bbbb-cccc-000000000000"
entra_audience = "api://spillway"
pool = {
  consumers = [
    { name = "team-a", keySetting = "TEAM_A_KEY", models = ["gpt-5.1"] },
    { name = "claims", models = ["gpt-5.1"], entra = { appId = "99999999-8888-7777-6666-555555555555" } },
  ]
}

plan              = "premium"
premium_sku       = "EP2"
maximum_instances = 20
always_ready      = 3
private_network   = true
front_door        = "Premium"
waf_mode          = "Detection"
expose_operations = true
purge_protection  = false
alerts            = false
workbook          = false
diagnostics       = false
daily_log_cap     = 5
