# Every region that has the models, two function apps behind Front Door, one shared state. Each app prefers the region it runs in.
# TF_VAR_secrets='{"EUROPE_KEY":"…","SPILLWAY_OPERATOR_KEY":"…"}'
environment_name = "spillway-multi"
location         = "swedencentral"
second_location  = "eastus2"

models = {
  "gpt-5.4-mini"           = { regions = ["swedencentral", "francecentral", "eastus2"] }
  "gpt-5.1"                = { sku = "DataZoneStandard" }
  "text-embedding-3-large" = { version = "1", sku = "Standard", regions = ["swedencentral", "eastus2"], capacity = 120 }
}
model_priority = 2
capacity_scale = 50

# This one replaces what the expansion would make in its region.
accounts = {
  swedencentral = {
    location    = "swedencentral"
    priority_in = { swedencentral = 1 }
    priority    = 2
    deployments = [
      { name = "gpt-5.4-mini", model = "gpt-5.4-mini", version = "2026-03-17", sku = "GlobalStandard", capacity = 500 },
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "DataZoneStandard", capacity = 300 },
      { name = "text-embedding-3-large", model = "text-embedding-3-large", version = "1", sku = "Standard", capacity = 350 },
    ]
  }
}

pool = {
  models = { "gpt-5.1" = { fallbacks = ["gpt-5.4-mini"] } }
  consumers = [
    { name = "europe", keySetting = "EUROPE_KEY", models = ["gpt-5.1"], geographies = ["eu"] },
  ]
}

front_door     = "Standard"
custom_domain  = "ai.contoso.com"
dns_zone       = "contoso.com"
zone_redundant = true
storage_sku    = "Standard_GZRS"
always_ready   = 2
alert_emails   = ["oncall@contoso.com", "platform@contoso.com"]
tags           = { costCenter = "4711" }
