# Behind an Application Gateway with its firewall, for those who have a certificate and no use for Front Door. Two regions, each over its zones.
# Secrets come as TF_VAR_secrets: {"TEAM_A_KEY":"...","SPILLWAY_OPERATOR_KEY":"..."}
environment_name = "spillway-agw"
location         = "swedencentral"
second_location  = "francecentral"

accounts = {
  sweden = {
    location = "swedencentral"
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "DataZoneStandard", capacity = 300 },
    ]
  }
  france = {
    location = "francecentral"
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "DataZoneStandard", capacity = 300 },
    ]
  }
}

pool = {
  consumers = [
    { name = "team-a", keySetting = "TEAM_A_KEY", models = ["gpt-5.1"] },
  ]
}

plan                = "premium"
zone_redundant      = true
storage_sku         = "Standard_ZRS"
application_gateway = true
gateway_host_name   = "ai.contoso.com"
gateway_certificate = "https://kv-contoso.vault.azure.net/secrets/ai-contoso-com"
gateway_vault_id    = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-certificates/providers/Microsoft.KeyVault/vaults/kv-contoso"
allowed_ip_ranges   = ["203.0.113.0/28"]
alert_emails        = ["oncall@contoso.com"]
