# Two pay-as-you-go deployments in two regions, sharing the load; if one is throttled or down the other serves.
# TF_VAR_secrets='{"TEAM_A_KEY":"…","SPILLWAY_OPERATOR_KEY":"…"}'
environment_name = "spillway-min"
location         = "swedencentral"

accounts = {
  sweden = {
    location = "swedencentral"
    deployments = [
      { name = "gpt-5.4-mini", model = "gpt-5.4-mini", version = "2026-03-17", sku = "GlobalStandard", capacity = 50 },
    ]
  }
  eastus = {
    location = "eastus2"
    deployments = [
      { name = "gpt-5.4-mini", model = "gpt-5.4-mini", version = "2026-03-17", sku = "GlobalStandard", capacity = 50 },
    ]
  }
}

pool = {
  consumers = [
    { name = "team-a", keySetting = "TEAM_A_KEY", models = ["gpt-5.4-mini"] },
  ]
}

# Asking it every few minutes would keep it awake.
availability_test = false
always_ready      = 0
