# Not for deployment: two private regions, Front Door with a domain whose records are made elsewhere, two accounts in one region.
environment_name = "own-dns"
location         = "westeurope"
second_location  = "northeurope"

accounts = {
  one = {
    location = "westeurope"
    key_auth = true
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "GlobalStandard", capacity = 10 },
    ]
  }
  two = {
    location = "westeurope"
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "GlobalStandard", capacity = 10 },
    ]
  }
}

pool = { consumers = [{ name = "team-a", keySetting = "TEAM_A_KEY" }] }

private_network   = true
front_door        = "Standard"
custom_domain     = "ai.contoso.com"
allowed_ip_ranges = ["198.51.100.0/24", "203.0.113.7/32"]
settings          = { SPILLWAY_LOG_LEVEL = "debug", SPILLWAY_STATE_REFRESH = "250ms" }
