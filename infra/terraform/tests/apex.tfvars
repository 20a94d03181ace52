# Not for deployment: a domain that is its zone, and secrets that stay app settings behind Front Door.
environment_name = "apex"
location         = "swedencentral"

accounts = {
  one = {
    location = "swedencentral"
    deployments = [
      { name = "gpt-5.1", model = "gpt-5.1", version = "2025-11-13", sku = "GlobalStandard", capacity = 10 },
    ]
  }
}

pool          = { consumers = [{ name = "team-a", keySetting = "TEAM_A_KEY" }] }
front_door    = "Standard"
custom_domain = "contoso.com"
dns_zone      = "contoso.com"
