package mutants

const (
	flexT   = "infra/terraform/modules/stamp/flex.tf"
	stampT  = "infra/terraform/modules/stamp/main.tf"
	openaiT = "infra/terraform/modules/openai/main.tf"
	stateT  = "infra/terraform/modules/state/main.tf"
	mainT   = "infra/terraform/main.tf"
	localsT = "infra/terraform/locals.tf"
)

// terraform are faults in HCL, the ones of the study among them; the real provider finds some more of its own.
func terraform() []Mutant {
	return []Mutant{
		{"tf: misspelt argument", flexT, "https_only ", "http_only ", "tf-body"},
		{"tf: misspelt argument in a block", flexT, "http2_enabled ", "http2_on ", "tf-body"},
		{"tf: misspelt block", openaiT, "network_acls {", "network_acl {", "tf-body"},
		{"tf: runtime that does not exist", flexT, `= "custom"`, `= "golang"`, "rule-settings"},
		{"tf: plan sku that does not exist", stampT, `"FC1"`, `"FC9"`, "parity"},
		{"tf: account sku that does not exist", openaiT, `"S0"`, `"S99"`, "parity"},
		{"tf: replication that does not exist", stateT, `split("_", var.sku)[1]`, `"LRX"`, "parity"},
		{"tf: TLS version that does not exist", flexT, `minimum_tls_version                    = "1.2"`, `minimum_tls_version                    = "1.4"`, "rule-security"},
		{"tf: malformed id", openaiT, "scope              = local.id", `scope              = "account"`, "rule-roles"},
		{"tf: bad storage name", mainT, `"st${local.token}state"`, `"ST_${local.token}state"`, "rule-names"},
		{"tf: one digit wrong in a role", localsT, "0a9a7e1f-b9d0", "0a9a7e1f-b9d1", "rule-roles"},
		{"tf: shared keys on", stateT, "shared_access_key_enabled        = false", "shared_access_key_enabled        = true", "rule-security"},
		{"tf: key-based AzureWebJobsStorage left in", flexT, `AzureWebJobsStorage              = ""`, `AzureWebJobsStorage              = "AccountKey="`, "rule-settings"},
		{"tf: required argument missing", stateT, `  account_tier                     = split("_", var.sku)[0]` + "\n", "", "tf-body"},
		{"tf: result given as an argument", stateT, `min_tls_version `, `primary_blob_host = "x"` + "\n  min_tls_version ", "tf-body"},
		{"tf: undeclared variable", mainT, "tags                = local.tags\n}", "tags                = var.tag\n}", "tf-names"},
		{"tf: undeclared local", mainT, "token               = local.token", "token               = local.tokens", "tf-names"},
		{"tf: misspelt attribute of a resource", stateT, "azurerm_storage_account.this.primary_table_endpoint", "azurerm_storage_account.this.primary_tables_endpoint", "tf-names"},
		{"tf: misspelt function", localsT, "substr(", "substring(", "tf-names"},
		{"tf: module variable left out", mainT, "  daily_cap           = var.daily_log_cap\n", "", "tf-wiring"},
		{"tf: module variable that does not exist", mainT, "daily_cap           =", "daily_caps          =", "tf-wiring"},
		{"tf: module folder missing", mainT, `"./modules/state"`, `"./modules/states"`, "tf-wiring"},
		{"tf: syntax", localsT, "locals {", "locals ", "tf-syntax"},
		{"tf: variable never used", "infra/terraform/modules/pool/main.tf", `variable "options"`, "variable \"spare\" {\n  default = 1\n}\n\nvariable \"options\"", "tf-names"},
		{"tf: a validation that an example breaks", "infra/terraform/examples/minimum.tfvars", "capacity = 50", "capacity = 0", "tf-wiring"},
		{"tf: text where a number belongs", "infra/terraform/examples/premium.tfvars", "= 20", `= "many"`, "tf-wiring"},
		{"tf: account with the name of an endpoint", "infra/terraform/examples/minimum.tfvars", "  sweden = {", "  packages = {", "tf-wiring"},
		{"tf: spillover to another kind of deployment", "infra/terraform/examples/ptu-payg.tfvars", `spillover = "overflow"`, `spillover = "gpt-5.1"`, "tf-wiring"},
		{"tf: Private Link on the Standard sku", "infra/terraform/examples/locked-down.tfvars", `= "Premium"`, `= "Standard"`, "tf-wiring"},
		{"tf: domain outside its zone", "infra/terraform/examples/multi-region.tfvars", `= "contoso.com"`, `= "contoso.net"`, "tf-wiring"},
		{"tf: endpoints do not wait for the deployments", openaiT, "  depends_on = [azurerm_cognitive_deployment.this, azapi_resource.spilling]\n", "", "rule-serial"},
		{"tf: no lock on the account", openaiT, "  locks                     = [local.id]\n", "", "rule-serial"},
		{"tf: two providers write side by side", openaiT, "  depends_on = [azurerm_cognitive_deployment.this]\n", "", "rule-serial"},
		{"tf: misspelt property in an azapi body", openaiT, "spilloverDeploymentName", "spillOverDeploymentName", "tf-body"},
		{"tf: unknown API version in azapi", openaiT, "deployments@2025-06-01", "deployments@2025-06-02", "tf-types"},
		{"tf: unknown resource", "infra/terraform/modules/network/main.tf", `resource "azurerm_virtual_network"`, `resource "azurerm_virtual_networks"`, "tf-types"},
		{"tf: app setting that Bicep does not have", stampT, "AZURE_CLIENT_ID  ", "AZURE_CLIENT     ", "parity"},
		{"tf: another default than Bicep", "infra/terraform/variables.tf", "default     = 2048", "default     = 4096", "parity"},
		{"tf: a variable that Bicep does not have", "infra/terraform/variables.tf", `variable "alerts"`, "variable \"extra\" {\n  default = \"\"\n}\n\nvariable \"alerts\"", "parity"},
		{"tf: another probe interval than Bicep", "infra/terraform/modules/frontdoor/main.tf", "interval_in_seconds = 30", "interval_in_seconds = 60", "parity"},
		{"tf: a role less than Bicep", stateT, "count              = var.operator_id == \"\" ? 0 : 1", "count              = 0", "parity"},
		{"tf: an output less than Bicep", "infra/terraform/outputs.tf", `output "SPILLWAY_BASE_URL"`, `output "SPILLWAY_URL"`, "parity"},
		{"tf: another capacity than Bicep", localsT, "var.capacity_scale / 100", "var.capacity_scale / 50", "parity"},
	}
}

// tree are faults in files that belong to no example.
func tree() []Mutant {
	return []Mutant{
		{"example in one language only", "infra/terraform/examples/premium.tfvars", "", "", "parity"},
		{"query missing", "infra/monitor/alert-budget.kql", "", "", "rule-files"},
		{"workbook that is not one", "infra/monitor/workbook.json", "Notebook/1.0", "Notebook/0", "rule-files"},
		{"extension bundle in host.json", "host.json", `"version": "2.0"`, `"version": "2.0", "extensionBundle": {"id": "x"}`, "rule-files"},
		{"host.json does not stream", "host.json", `"enableProxyingHttpRequest": true`, `"enableProxyingHttpRequest": false`, "rule-files"},
		{"region of a model that nobody knows", "infra/models.json", `"eastus": 500`, `"eastus3": 500`, "rule-files"},
		{"model that is not in the table of models", "infra/bicep/examples/minimum.bicepparam", "version: '2026-03-17'", "version: '2026-03-18'", "rule-models"},
		{"region that the table does not list for a model", "infra/bicep/examples/minimum.bicepparam", "location: 'swedencentral'", "location: 'westeurope'", "rule-models"},
		{"retired model in azd's parameters", "infra/bicep/main.parameters.json", `"model": "gpt-5.4-mini"`, `"model": "gpt-4o-mini"`, "rule-models"},
		{"azd gives a parameter that does not exist", "infra/bicep/main.parameters.json", `"principalId"`, `"principal"`, "rule-files"},
		{"a parameter that the README does not name", "infra/README.md", "`wafMode`", "`wafModus`", "rule-files"},
		{"azd without its template", "infra/azure.yaml", "path: bicep", "path: .", "rule-files"},
	}
}
