package check

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/parity"
	"spillway/scripts/infra-check/plan"
	"spillway/scripts/infra-check/rules"
)

const root = "../../.."

// The templates as they are have no fault, and what is committed was made from them.
func TestTheTreeHasNoFault(t *testing.T) {
	result, err := Run(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Findings {
		t.Error(f)
	}
	if len(result.Examples) < 7 {
		t.Errorf("only %d examples", len(result.Examples))
	}
}

// fault is a change of one resource of a preview: a member at a path gets a value, or the resource goes.
type fault struct {
	name    string
	example string
	kind    string // the resource type, and after a space a part of the name
	path    string // by bars; empty: the resource goes
	value   any    // nil: the member goes
	rule    string
}

func security() []fault {
	const state = "Microsoft.Storage/storageAccounts state"
	return []fault{
		{"storage accepts shared keys", "examples/minimum", state, "properties|allowSharedKeyAccess", true, "rule-security"},
		{"blobs may be public", "examples/minimum", state, "properties|allowBlobPublicAccess", true, "rule-security"},
		{"TLS 1.0 at storage", "examples/minimum", state, "properties|minimumTlsVersion", "TLS1_0", "rule-security"},
		{"account accepts keys", "examples/minimum", "Microsoft.CognitiveServices/accounts", "properties|disableLocalAuth", false, "rule-security"},
		{"account without subdomain", "examples/minimum", "Microsoft.CognitiveServices/accounts", "properties|customSubDomainName", nil, "rule-security"},
		{"component accepts keys", "examples/minimum", "Microsoft.Insights/components", "properties|DisableLocalAuth", false, "rule-security"},
		{"workspace accepts keys", "examples/minimum", "Microsoft.OperationalInsights/workspaces", "properties|features|disableLocalAuth", false, "rule-security"},
		{"FTP publishing by password", "examples/minimum", "Microsoft.Web/sites/basicPublishingCredentialsPolicies ftp", "properties|allow", true, "rule-security"},
		{"http allowed", "examples/minimum", "Microsoft.Web/sites", "properties|httpsOnly", false, "rule-security"},
		{"TLS 1.0 at the app", "examples/minimum", "Microsoft.Web/sites", "properties|siteConfig|minTlsVersion", "1.0", "rule-security"},
		{"vault with access policies", "examples/ptu-payg", "Microsoft.KeyVault/vaults", "properties|enableRbacAuthorization", false, "rule-security"},
		{"a wider role", "examples/minimum", "Microsoft.Authorization/roleAssignments", "properties|roleDefinitionId", "/x/25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68", "rule-roles"},
		{"no principal type", "examples/minimum", "Microsoft.Authorization/roleAssignments", "properties|principalType", nil, "rule-roles"},
		{"the identity may not call an account", "examples/minimum", "Microsoft.Authorization/roleAssignments", "", nil, "rule-roles"},
		{"account open although the network is private", "examples/locked-down", "Microsoft.CognitiveServices/accounts", "properties|publicNetworkAccess", "Enabled", "rule-network"},
		{"state open although the network is private", "examples/locked-down", state, "properties|networkAcls|defaultAction", "Allow", "rule-network"},
		{"no private endpoint for the vault", "examples/locked-down", "Microsoft.Network/privateEndpoints vault", "", nil, "rule-network"},
		{"endpoint in the wrong zone", "examples/locked-down", "Microsoft.Network/privateEndpoints/privateDnsZoneGroups packages", "properties|privateDnsZoneConfigs|0|properties|privateDnsZoneId", "«Microsoft.Network/privateDnsZones/privatelink.openai.azure.com»", "rule-network"},
		{"subnet without rules", "examples/locked-down", "Microsoft.Network/virtualNetworks", "properties|subnets|0|properties|networkSecurityGroup", nil, "rule-network"},
		{"subnet delegated to another plan", "examples/locked-down", "Microsoft.Network/virtualNetworks", "properties|subnets|0|properties|delegations|0|properties|serviceName", "Microsoft.Web/serverFarms", "rule-network"},
		{"underscore in the subnet's name", "examples/locked-down", "Microsoft.Network/virtualNetworks", "properties|subnets|0|name", "the_app", "rule-names"},
		{"Front Door can be gone around", "examples/multi-region", "Microsoft.Web/sites", "properties|siteConfig|ipSecurityRestrictions|0|headers", nil, "rule-network"},
		{"open by default behind Front Door", "examples/multi-region", "Microsoft.Web/sites", "properties|siteConfig|ipSecurityRestrictionsDefaultAction", "Allow", "rule-network"},
		{"Front Door without firewall", "examples/multi-region", "Microsoft.Cdn/profiles/securityPolicies", "", nil, "rule-network"},
		{"probe that is always healthy", "examples/multi-region", "Microsoft.Cdn/profiles/originGroups", "properties|healthProbeSettings|probePath", "/health/live", "rule-network"},
		{"a gateway that holds streams back", "examples/app-gateway", "Microsoft.Network/applicationGateways", "properties|globalConfiguration|enableResponseBuffering", true, "rule-network"},
		{"a gateway whose probe is always healthy", "examples/app-gateway", "Microsoft.Network/applicationGateways", "properties|probes|0|properties|path", "/health/live", "rule-network"},
		{"a gateway without its firewall", "examples/app-gateway", "Microsoft.Network/applicationGateways", "properties|firewallPolicy", nil, "rule-network"},
		{"a firewall that refuses long prompts", "examples/app-gateway", "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies", "properties|policySettings|requestBodyEnforcement", true, "rule-network"},
		{"the app can be called past the gateway", "examples/app-gateway", "Microsoft.Web/sites", "properties|siteConfig|ipSecurityRestrictionsDefaultAction", "Allow", "rule-network"},
		{"the gateway's identity may not read the certificate", "examples/app-gateway", "Microsoft.Authorization/roleAssignments kv-contoso", "properties|roleDefinitionId", "/x/00482a5a-887f-4fb3-b363-3b7fe8e74483", "rule-roles"},
		{"zones with one instance", "examples/app-gateway", "Microsoft.Web/serverfarms", "sku|capacity", 1.0, "rule-names"},
		{"an availability test that tells nobody", "examples/ptu-payg", "Microsoft.Insights/metricAlerts", "", nil, "rule-alerts"},
		{"a firewall that blocks every SDK", "examples/locked-down", "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies", "properties|managedRules|managedRuleSets|1|ruleSetAction", "Block", "rule-network"},
		{"the welcome page answers", "examples/minimum", "Microsoft.Web/sites/config", "properties|AzureWebJobsDisableHomepage", nil, "rule-settings"},
		{"sticky sessions", "examples/multi-region", "Microsoft.Cdn/profiles/originGroups", "properties|sessionAffinityState", "Enabled", "rule-network"},
	}
}

func product() []fault {
	const (
		app      = "Microsoft.Web/sites"
		settings = "Microsoft.Web/sites/config"
	)
	return []fault{
		{"runtime version that is not in the catalogue", "examples/minimum", app, "properties|functionAppConfig|runtime|version", "1", "rule-settings"},
		{"WEBSITE_RUN_FROM_PACKAGE on Flex", "examples/minimum", settings, "properties|WEBSITE_RUN_FROM_PACKAGE", "1", "rule-settings"},
		{"key in AzureWebJobsStorage", "examples/minimum", settings, "properties|AzureWebJobsStorage", "AccountKey=x", "rule-settings"},
		{"state address left out", "examples/minimum", settings, "properties|SPILLWAY_STATE__tableServiceUri", nil, "rule-settings"},
		{"transcripts without the address of blobs", "examples/locked-down", settings, "properties|SPILLWAY_STATE__blobServiceUri", nil, "rule-settings"},
		{"address of blobs with a slash at its end", "examples/locked-down", settings, "properties|SPILLWAY_STATE__blobServiceUri", "https://sttokentokentokstate.blob.core.windows.net/", "rule-settings"},
		{"transcripts in a container that is not made", "examples/locked-down", settings, "properties|SPILLWAY_TRANSCRIPTS", "letters", "rule-settings"},
		{"credential misspelt", "examples/minimum", settings, "properties|SPILLWAY_STATE__credential", "managedIdentity", "rule-settings"},
		{"telemetry without Entra ID", "examples/minimum", settings, "properties|APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "ClientId=x", "rule-settings"},
		{"extension bundle by app setting", "examples/minimum", settings, "properties|AzureFunctionsJobHost__extensionBundle__id", "x", "rule-settings"},
		{"the pool cannot be read", "examples/minimum", settings, "properties|SPILLWAY_CONFIG", "{", "rule-pool"},
		{"backend names a deployment that is not there", "examples/minimum", "Microsoft.CognitiveServices/accounts/deployments", "name", "aoai-eastus-tokentokentok/other", "rule-pool"},
		{"backend serves another model", "examples/minimum", "Microsoft.CognitiveServices/accounts/deployments", "properties|model|name", "gpt-5.1", "rule-pool"},
		{"a version that the table of models does not have", "examples/minimum", "Microsoft.CognitiveServices/accounts/deployments", "properties|model|version", "2020-01-01", "rule-models"},
		{"files without the role for them", "examples/ptu-payg", "Microsoft.Authorization/roleAssignments a001fd3d", "", nil, "rule-roles"},
		{"an alert is missing", "examples/minimum", "Microsoft.Insights/scheduledQueryRules budget", "", nil, "rule-alerts"},
		{"storage name too long", "examples/minimum", "Microsoft.Storage/storageAccounts state", "name", "sttokentokentokanotherstate", "rule-names"},
		{"group without the tag that destroy.sh looks for", "examples/minimum", "Microsoft.Resources/resourceGroups", "tags", map[string]any{}, "rule-names"},
	}
}

// Every promise is broken once, in what a preview says: the rule that is for it notices, and so does parity.
func TestBrokenPromisesAreNoticed(t *testing.T) {
	for _, f := range append(security(), product()...) {
		t.Run(f.name, func(t *testing.T) {
			preview, err := Preview(root, f.example)
			if err != nil {
				t.Fatal(err)
			}
			whole := parity.OfBicep(preview.Resources)
			f.apply(t, preview)
			broken := parity.OfBicep(preview.Resources)
			models, err := rules.ReadModels(root)
			if err != nil {
				t.Fatal(err)
			}
			var found finding.List
			rules.Facts(f.example, broken, &found)
			models.Deployed(f.example, broken, &found)
			wantCheck(t, found, f.rule)
			found = finding.List{}
			parity.Compare(f.example, broken, whole, &found)
			wantCheck(t, found, "parity")
		})
	}
}

func wantCheck(t *testing.T, found finding.List, check string) {
	t.Helper()
	for _, f := range found.All {
		if f.Check == check {
			return
		}
	}
	t.Errorf("%s did not notice; found: %v", check, found.All)
}

func (f fault) apply(t *testing.T, p *arm.Preview) {
	t.Helper()
	kind, part, _ := strings.Cut(f.kind, " ")
	for i, r := range p.Resources {
		b, err := json.Marshal(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if r.Type != kind || !strings.Contains(string(b), part) {
			continue
		}
		switch f.path {
		case "":
			p.Resources = append(p.Resources[:i], p.Resources[i+1:]...)
		case "name":
			p.Resources[i].Name, _ = f.value.(string)
		default:
			set(t, r.Body, strings.Split(f.path, "|"), f.value)
		}
		return
	}
	t.Fatalf("%s has no %s", f.example, f.kind)
}

// set puts a value at the end of a path; nil takes the member away.
func set(t *testing.T, v any, path []string, value any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if len(path) > 1 {
			set(t, v[path[0]], path[1:], value)
			return
		}
		delete(v, path[0])
		if value != nil {
			v[path[0]] = value
		}
	case []any:
		at, err := strconv.Atoi(path[0])
		if err != nil || at >= len(v) {
			t.Fatalf("no item %s", path[0])
		}
		set(t, v[at], path[1:], value)
	default:
		t.Fatalf("there is no %v", path)
	}
}

// What a preview does not show is read from the compiled template.
func TestFaultsOfTheCompiledTemplateAreNoticed(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(Template)))
	if err != nil {
		t.Fatal(err)
	}
	var file any
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if b, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ name, old, new, rule string }{
		{"deployments side by side", `"batchSize":1,"count":"[length(parameters('deployments'))]","mode":"serial"`, `"count":"[length(parameters('deployments'))]"`, "rule-serial"},
		{"deployments do not wait for the filters", `"dependsOn":["account","policies"]`, `"dependsOn":["account"]`, "rule-serial"},
		{"conditional module read without its condition", `"vaultId":"[if(variables('hasVault'), createObject('value', reference('vault').outputs.id.value), createObject('value', ''))]"`, `"vaultId":{"value":"[reference('vault').outputs.id.value]"}`, "rule-conditions"},
		{"empty name of a resource that is switched off", `if(variables('hasDomain'), parameters('customDomain'), 'unused')`, `parameters('customDomain')`, "rule-conditions"},
		{"branch that no example takes", `"zoneRedundant":"[parameters('zoneRedundant')]"`, `"zoneRedundant":"[if(greater(parameters('maximumInstances'), 5000), true(), parameters('zoneRedundant'))]"`, "rule-coverage"},
	} {
		t.Run(f.name, func(t *testing.T) {
			if !strings.Contains(string(b), f.old) {
				t.Fatalf("the compiled template has no %s", f.old)
			}
			main, err := arm.ReadTemplate([]byte(strings.ReplaceAll(string(b), f.old, f.new)))
			if err != nil {
				t.Fatal(err)
			}
			var list finding.List
			rules.Compiled(main, &list)
			rules.Coverage(main, []map[string]any{{"maximumInstances": 100.0}, {"maximumInstances": 20.0}}, &list)
			wantCheck(t, list, f.rule)
		})
	}
}

// What Terraform's plans say is broken, too: the rules about order, and parity with Bicep.
func TestFaultsOfPlansAreNoticed(t *testing.T) {
	const example = "examples/ptu-payg"
	preview, err := Preview(root, example)
	if err != nil {
		t.Fatal(err)
	}
	inBicep := parity.OfBicep(preview.Resources)
	for _, f := range []struct {
		name, kind string
		spoil      func(*plan.Instance)
		rule       string
	}{
		{"no lock on the account", "azapi_resource", func(i *plan.Instance) { delete(i.Values, "locks") }, "rule-serial"},
		{"two providers write side by side", "azapi_resource", func(i *plan.Instance) { i.After = nil }, "rule-serial"},
		{"deployments do not wait for the filters", "azurerm_cognitive_deployment", func(i *plan.Instance) { i.After = nil }, "rule-serial"},
		{"the app does not wait for its role", "azurerm_function_app_flex_consumption", func(i *plan.Instance) { i.After = nil }, "rule-serial"},
		{"an update that ends after half an hour", "azurerm_cognitive_account", func(i *plan.Instance) { set(t, i.Values, []string{"timeouts", "update"}, nil) }, "rule-serial"},
		{"another capacity than Bicep", "azurerm_cognitive_deployment", func(i *plan.Instance) { set(t, i.Values, []string{"sku", "0", "capacity"}, 1.0) }, "parity"},
		{"another query than Bicep", "azurerm_monitor_scheduled_query_rules_alert_v2", func(i *plan.Instance) { set(t, i.Values, []string{"criteria", "0", "query"}, "T") }, "parity"},
		{"an app setting that Bicep does not have", "azurerm_function_app_flex_consumption", func(i *plan.Instance) { set(t, i.Values, []string{"app_settings", "X"}, "y") }, "parity"},
		{"a role on another account", "azurerm_role_assignment", func(i *plan.Instance) { i.Values["scope"] = "«Microsoft.CognitiveServices/accounts/other»" }, "parity"},
		{"shared keys on", "azurerm_storage_account", func(i *plan.Instance) { i.Values["shared_access_key_enabled"] = true }, "rule-security"},
		{"another name", "azurerm_service_plan", func(i *plan.Instance) { i.Name += "x" }, "parity"},
	} {
		t.Run(f.name, func(t *testing.T) {
			planned, err := Planned(root, example)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(planned.Resources, func(i plan.Instance) bool {
				kind, _ := i.Values["type"].(string)
				return i.Type == f.kind && (f.kind != "azapi_resource" || strings.Contains(kind, "deployments"))
			})
			if at < 0 {
				t.Fatalf("the plan has no %s", f.kind)
			}
			f.spoil(&planned.Resources[at])
			var found finding.List
			broken := parity.OfTerraform(planned.Resources)
			rules.Facts(example, broken, &found)
			rules.Terraform(example, planned.Resources, &found)
			parity.Compare(example, inBicep, broken, &found)
			wantCheck(t, found, f.rule)
		})
	}
}

// A private endpoint is refused while a deployment of its account is being written.
func TestEndpointsWaitForTheDeployments(t *testing.T) {
	const example = "examples/locked-down"
	for _, missing := range []string{"azurerm_cognitive_deployment.this", "azapi_resource.spilling"} {
		planned, err := Planned(root, example)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range planned.Resources {
			if r.Type == "azurerm_private_endpoint" {
				planned.Resources[i].After = slices.DeleteFunc(r.After, func(address string) bool { return strings.HasSuffix(address, missing) })
			}
		}
		var found finding.List
		rules.Terraform(example, planned.Resources, &found)
		wantCheck(t, found, "rule-serial")
	}
}

// What Azure would refuse only after minutes of work, or accept and never serve, the templates refuse themselves; Terraform's validations of
// the same are in infra/terraform/tests. Only the compiler can run these refusals: that they are there is seen here.
func TestTheTemplatesRefuseWhatCannotWork(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(Template)))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"fail(join(variables('faults'), ' '))", "contains(createArray('packages', 'vault', 'state-table', 'state-blob')", "length(variables('lostSpillovers'))",
		"An account key is 1 to 24", "The name of a deployment has at most 64", "resourceGroupName has at most 88", "resourceGroupName ends with no dot", "are names of app settings", "Two backends have one name",
		"filter names one of contentFilters", "alwaysReady is at most",
		"secondLocation is another region", "auth with entra needs", "zoneRedundant needs zone-redundant storage", "frontDoorPrivateLink",
		"if(parameters('recover'), 'recover', 'default')",
	} {
		if !strings.Contains(string(b), part) {
			t.Errorf("the compiled template has no %s", part)
		}
	}
}

// An example in one language only is compared with nothing.
func TestAnExampleInOneLanguageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"bicep/examples/a.bicepparam", "bicep/examples/b.bicepparam", "terraform/examples/a.tfvars"} {
		file := filepath.Join(dir, "infra", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &run{root: dir}
	if names := r.names(); len(names) != 1 || names[0] != "examples/a" {
		t.Error(names)
	}
	wantCheck(t, r.findings, "parity")
}

// A preview that leaves something out, refuses, or names what is not known is no preview.
func TestAPreviewThatIsNotWholeIsRefused(t *testing.T) {
	secrets, err := Secrets(root, "examples/ptu-payg")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "infra/bicep/examples/ptu-payg.snapshot.json"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, broken := range map[string]string{
		"a diagnostic":         strings.Replace(text, `"diagnostics": []`, `"diagnostics": ["NestedDeploymentShortCircuited"]`, 1),
		"a parameter":          strings.Replace(text, `parameters('vaultUri')`, `parameters('unheardOf')`, 1),
		"a function":           strings.Replace(text, `toLower(`, `toTitle(`, 1),
		"a secret without any": strings.ReplaceAll(text, `'SEARCH_KEY')`, `'OTHER_KEY')`),
	} {
		if broken == text {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := arm.Read([]byte(broken), secrets); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A template that changes after its previews were made is reported by name.
func TestAChangedTemplateIsStale(t *testing.T) {
	sums, err := Sums(root, "terraform")
	if err != nil {
		t.Fatal(err)
	}
	line := sums[:strings.Index(sums, "\n")]
	_, file, _ := strings.Cut(line, "  ")
	got := changed(sums, strings.Replace(sums, line[:8], "00000000", 1))
	if len(got) != 1 || got[0] != "infra/"+file {
		t.Errorf("%v, want %s", got, file)
	}
}
