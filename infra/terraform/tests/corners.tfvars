# Not for deployment: the branches that no example takes. Premium without a network and open to everybody; a vault without audit.
environment_name = "corners"
location         = "westus"
tags             = { team = "ai" }
principal_id     = "11111111-2222-3333-4444-555555555555"

accounts = {
  nowhere = {
    location = "newregion"
    weight   = 0
    deployments = [
      { name = "regional", model = "gpt-5.1", version = "2025-11-13", sku = "Standard", capacity = 1 },
      { name = "zonal", model = "gpt-5.1", version = "2025-11-13", sku = "DataZoneStandard", capacity = 1, weight = 5 },
      { name = "anywhere", model = "gpt-5.4-mini", version = "2026-03-17", sku = "GlobalProvisionedManaged", capacity = 1 },
    ]
  }
  shared = {
    location = "westus"
    stateful = true
    existing = { resource_group = "rg-shared", name = "contoso-files" }
    deployments = [
      { name = "batch", model = "gpt-5.1", version = "2025-11-13", sku = "GlobalStandard", capacity = 1 },
    ]
  }
  home = {
    location = "westus"
    deployments = [
      { name = "regional", model = "gpt-5.1", version = "2025-11-13", sku = "Standard", capacity = 1 },
    ]
  }
}

plan              = "premium"
maximum_instances = 200
always_ready      = 0
key_vault         = true
purge_protection  = false
diagnostics       = false
auth              = "none"
open_ai_suffix    = "openai.azure.com"
