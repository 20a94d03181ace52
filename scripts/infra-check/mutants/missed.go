package mutants

// Missed are faults that no check of the fast tier notices; Check says who would. They are tried too, so that the list stays true.
func Missed() []Mutant {
	return []Mutant{
		{"the ! after a conditional module left out", mainB, "hasVault ? vault!.outputs.id : ''", "hasVault ? vault.outputs.id : ''", "the Bicep compiler (a warning)"},
		{"@batchSize on a resource without a loop", state, "resource storage ", "@batchSize(1)\nresource storage ", "the Bicep compiler"},
		{"@description twice", mainB, "@description('Region of the function app", "@description('x')\n@description('Region of the function app", "the Bicep compiler"},
		{"a query that cannot be read", "infra/monitor/alert-budget.kql", "| summarize", "| sumarize", "Log Analytics, when the alert first runs"},
		{"a capacity that nobody has quota for", "infra/models.json", `"uksouth": 500`, `"uksouth": 501`, "Azure, when it deploys: quotas and models are not known here"},
	}
}
