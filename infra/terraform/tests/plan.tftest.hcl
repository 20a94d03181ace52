# Worked out by terraform test with mocked providers: scripts/infra-check.sh runs this file once for each example,
# with -var-file and with TF_VAR_secrets. Plans: the computed values are known, so that they can be asserted on.

mock_provider "azurerm" {
  source          = "./tests/azurerm"
  override_during = plan
}

mock_provider "azapi" {}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
}

run "promises" {
  command = plan

  assert {
    condition     = alltrue([for b in output.SPILLWAY_CONFIG.backends : startswith(b.endpoint, "https://")])
    error_message = "A backend is not reached by https."
  }
  assert {
    condition     = length(distinct([for b in output.SPILLWAY_CONFIG.backends : b.name])) == length(output.SPILLWAY_CONFIG.backends)
    error_message = "Two backends have one name."
  }
  assert {
    condition     = alltrue([for b in output.SPILLWAY_CONFIG.backends : lookup(b.auth, "clientId", "22222222-2222-2222-2222-222222222222") == "22222222-2222-2222-2222-222222222222"])
    error_message = "A backend does not name the identity of this installation."
  }
}

run "rejects_unknown_sku" {
  command = plan
  variables {
    accounts = { x = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Bogus", capacity = 1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_capacity_zero" {
  command = plan
  variables {
    accounts = { x = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 0 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_spillover_to_a_later_deployment" {
  command = plan
  variables {
    accounts = { x = { location = "swedencentral", deployments = [
      { name = "ptu", model = "m", version = "1", sku = "ProvisionedManaged", capacity = 15, spillover = "std" },
      { name = "std", model = "m", version = "1", sku = "Standard", capacity = 1 },
    ] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_private_link_without_premium" {
  command = plan
  variables {
    front_door              = "Standard"
    front_door_private_link = true
  }
  expect_failures = [var.front_door_private_link]
}

run "rejects_an_account_with_the_name_of_an_endpoint" {
  command = plan
  variables {
    accounts = { packages = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_two_backends_of_one_name" {
  command = plan
  variables {
    accounts = { a = { location = "swedencentral", deployments = [{ name = "b-c", model = "m", version = "1", sku = "Standard", capacity = 1 }] }, "a-b" = { location = "swedencentral", deployments = [{ name = "c", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
  }
  expect_failures = [var.extra_backends]
}

run "rejects_entra_without_a_tenant" {
  command = plan
  variables {
    auth         = "entra"
    entra_tenant = ""
  }
  expect_failures = [var.auth]
}

run "rejects_zones_on_storage_without" {
  command = plan
  variables {
    zone_redundant = true
    storage_sku    = "Standard_LRS"
  }
  expect_failures = [var.zone_redundant]
}

run "rejects_a_domain_outside_its_zone" {
  command = plan
  variables {
    front_door    = "Premium"
    custom_domain = "contoso.com"
    dns_zone      = "contoso.net"
  }
  expect_failures = [var.dns_zone]
}

run "rejects_what_one_variable_shows" {
  command = plan
  variables {
    environment_name    = "a_b"
    second_location     = var.location
    resource_group_name = "rg-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"
    always_ready        = 101
    custom_domain       = "contoso.com"
    application_gateway = true
  }
  expect_failures = [var.environment_name, var.second_location, var.resource_group_name, var.always_ready, var.custom_domain, var.application_gateway]
}

run "rejects_two_ways_in" {
  command = plan
  variables {
    front_door          = "Standard"
    application_gateway = true
    gateway_host_name   = "ai.contoso.com"
    gateway_certificate = "https://kv-contoso.vault.azure.net/secrets/ai"
    gateway_vault_id    = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-shared/providers/Microsoft.KeyVault/vaults/kv-contoso"
  }
  expect_failures = [var.application_gateway]
}

run "rejects_an_installation_without_a_backend_or_an_address_space" {
  command = plan
  variables {
    accounts       = {}
    address_spaces = []
  }
  expect_failures = [var.extra_backends, var.address_spaces]
}

run "rejects_a_key_with_capitals" {
  command = plan
  variables {
    accounts = { Sweden = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_a_key_that_is_too_long" {
  command = plan
  variables {
    accounts = { a-key-of-twenty-five-chars = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_a_deployment_whose_name_is_too_long" {
  command = plan
  variables {
    accounts = { x = { location = "swedencentral", deployments = [{ name = "a-deployment-whose-name-has-more-than-sixty-four-characters-in-it-x", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_the_key_of_an_account_that_is_there_already" {
  command = plan
  variables {
    accounts = { x = { location = "swedencentral", key_auth = true, existing = { resource_group = "rg-shared", name = "contoso" }, deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_a_filter_that_nobody_makes" {
  command = plan
  variables {
    accounts        = { x = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1, filter = "strict" }] } }
    content_filters = {}
  }
  expect_failures = [var.accounts]
}

run "rejects_spillover_to_another_kind" {
  command = plan
  variables {
    accounts = { x = { location = "swedencentral", deployments = [
      { name = "std", model = "m", version = "1", sku = "Standard", capacity = 1 },
      { name = "ptu", model = "m", version = "1", sku = "GlobalProvisionedManaged", capacity = 15, spillover = "std" },
    ] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_a_backend_with_the_name_of_another" {
  command = plan
  variables {
    accounts       = { a = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
    extra_backends = [{ name = "a-d", endpoint = "https://x.openai.azure.com" }]
  }
  expect_failures = [var.extra_backends]
}

run "rejects_numbers_and_words_that_nothing_takes" {
  command = plan
  variables {
    models          = { "gpt-5.1" = { sku = "Batch", regions = ["swedencentral"], capacity = 1 } }
    model_priority  = 1001
    content_filters = { strict = [{ name = "Hate", source = "Both", blocking = true, enabled = true }] }
    daily_log_cap   = -2
  }
  expect_failures = [var.models, var.model_priority, var.content_filters, var.daily_log_cap]
}

run "rejects_a_priority_that_is_too_high" {
  command = plan
  variables {
    accounts = { one = { location = "swedencentral", priority = 1001, deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_a_weight_below_zero" {
  command = plan
  variables {
    accounts = { one = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1, weight = -1 }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_an_upgrade_that_nobody_knows" {
  command = plan
  variables {
    accounts = { one = { location = "swedencentral", deployments = [{ name = "d", model = "m", version = "1", sku = "Standard", capacity = 1, upgrade = "Always" }] } }
  }
  expect_failures = [var.accounts]
}

run "rejects_a_backend_with_the_name_of_one_that_models_makes" {
  command = plan
  variables {
    models         = { "gpt-5.1" = { regions = ["swedencentral"], capacity = 1 } }
    extra_backends = [{ name = "swedencentral-gpt-5.1", endpoint = "https://contoso.openai.azure.com" }]
  }
  expect_failures = [var.extra_backends]
}

run "rejects_names_that_azure_does_not_tell_apart" {
  command = plan
  variables {
    accounts = { openai = { location = "swedencentral", deployments = [
      { name = "gpt", model = "m", version = "1", sku = "Standard", capacity = 1 },
      { name = "GPT", model = "m", version = "1", sku = "Standard", capacity = 1 },
    ] } }
    resource_group_name = "rg-demo."
    pool                = { consumers = [{ name = "team-a", keySetting = "TEAM A KEY" }] }
    secrets             = { TEAM_A_KEY = "x", Team_A_Key = "x" }
  }
  expect_failures = [var.extra_backends, var.resource_group_name, var.pool, var.secrets]
}

run "rejects_keys_that_differ_by_case" {
  command = plan
  variables {
    accounts = {
      openai = { location = "swedencentral", deployments = [{ name = "a", model = "m", version = "1", sku = "Standard", capacity = 1 }] }
      OpenAI = { location = "swedencentral", deployments = [{ name = "b", model = "m", version = "1", sku = "Standard", capacity = 1 }] }
    }
  }
  expect_failures = [var.accounts]
}
