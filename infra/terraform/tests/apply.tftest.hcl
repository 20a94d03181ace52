# Worked out by terraform test with mocked providers: scripts/infra-check.sh runs this file once for each example,
# with -var-file and with TF_VAR_secrets. Applies: every expression is worked out to the end.

mock_provider "azurerm" {
  source = "./tests/azurerm"
}

mock_provider "azapi" {}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
}

run "applies" {
  command = apply

  assert {
    condition     = startswith(output.SPILLWAY_BASE_URL, "https://") && endswith(output.SPILLWAY_BASE_URL, "/openai/v1")
    error_message = "Callers need an https address that ends in /openai/v1."
  }
  assert {
    condition     = length(output.SPILLWAY_CONFIG.backends) > 0
    error_message = "The pool has no backend."
  }
  assert {
    condition     = length(output.AZURE_FUNCTION_APP_NAMES) == length(output.AZURE_RESOURCE_GROUPS)
    error_message = "One function app and one resource group for each region."
  }
}
