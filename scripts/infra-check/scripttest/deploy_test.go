package scripttest

import (
	"slices"
	"strings"
	"testing"
)

// deployed is an az that makes what it is told, and then knows the outputs of main.bicep.
func deployed(address, plan string, regions int) []any {
	value := func(v any) map[string]any { return map[string]any{"value": v} }
	apps, groups, containers := []any{"func-x", "func-x-2"}, []any{"rg-demo", "rg-demo-2"}, []any{"https://stx.blob/app-package", "https://stx2.blob/app-package"}
	outputs := map[string]any{
		"AZURE_FUNCTION_APP_PLAN":  value(plan),
		"AZURE_FUNCTION_APP_NAMES": value(apps[:regions]), "AZURE_RESOURCE_GROUPS": value(groups[:regions]),
		"AZURE_PACKAGE_CONTAINERS": value(containers[:regions]), "AZURE_FRONT_DOOR_ID": value(""), "SPILLWAY_ADDRESS": value(address),
		"SPILLWAY_CONFIG": value(map[string]any{"backends": []any{
			map[string]any{"name": "second", "priority": 2, "deployments": map[string]any{"gpt-4o": "gpt-4o"}},
			map[string]any{"name": "first", "priority": 1, "deployments": map[string]any{"gpt-4o": "gpt-4o-ptu"}},
		}}),
	}
	return []any{
		signedIn(),
		Marked(Reply("group list", []any{map[string]any{"name": "rg-of-another-team", "tags": nil}}), "!deployed"),
		Reply("provider register", nil), Reply("deployment sub create", nil), Reply("deployment sub what-if", "Resource changes: 32 to create."),
		Reply("deployment sub show", map[string]any{"properties": map[string]any{"provisioningState": "Succeeded", "outputs": outputs}}, "--name", "spillway-demo"),
		Reply("functionapp deployment source config-zip", nil), Reply("storage blob upload", nil), Reply("functionapp restart", nil),
		Reply("functionapp show", map[string]any{"id": "/sites/func-x", "defaultHostName": "func-x.azurewebsites.net"}), Reply("rest", nil),
	}
}

var registers = []string{
	"az provider register --namespace Microsoft.App --wait --output none",
	"az provider register --namespace Microsoft.CognitiveServices --wait --output none",
	"az provider register --namespace Microsoft.Insights --wait --output none",
	"az provider register --namespace Microsoft.OperationalInsights --wait --output none",
	"az provider register --namespace Microsoft.Storage --wait --output none",
	"az provider register --namespace Microsoft.Web --wait --output none",
}

func TestDeployProvisionsPublishesAndProvesFailover(t *testing.T) {
	t.Parallel()
	spillway := NewDouble(t)
	d := NewDesk(t, fake, deployed(spillway.URL, "flex", 2)...)
	d.Set("TEAM_A_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	zip, params := d.File("spillway.zip", "zip"), d.File("mine.bicepparam", "using 'x'")
	r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--parameters", params, "--zip", zip, "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), append(append([]string{}, registers...),
		"az deployment sub create --name spillway-demo --location swedencentral --parameters "+params+" --output none",
		"az functionapp deployment source config-zip --resource-group rg-demo --name func-x --src "+zip+" --output none",
		"az functionapp deployment source config-zip --resource-group rg-demo-2 --name func-x-2 --src "+zip+" --output none",
	))
	if got := spillway.Journal(); got != strings.Repeat("first ", 5)+"drain "+strings.Repeat("second ", 5)+"restore" {
		t.Errorf("the proof was: %s", got)
	}
}

// A deployment writes its tags over those of a group that is there, and destroy.sh then takes the group for its own.
func TestDeployLeavesAGroupOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		group, tag, parameters string
		status                 int
	}{
		"their group":       {"RG-Demo", "", "using 'x'", 1},
		"their environment": {"rg-demo-2", "Demo", "using 'x'", 1},
		"our own":           {"rg-demo", "demo", "using 'x'", 0},
		"another name":      {"rg-demo-3", "", "using 'x'", 0},
		"a name of our own": {"rg-demo", "", "param resourceGroupName = 'rg-own'", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			there := map[string]any{"name": c.group, "tags": nil}
			if c.tag != "" {
				there["tags"] = map[string]any{"azd-env-name": c.tag}
			}
			d := NewDesk(t, fake, append([]any{Reply("group list", []any{there})}, deployed("http://127.0.0.1:1", "flex", 1)...)...)
			r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "x", "--parameters", d.File("p.bicepparam", c.parameters), "--zip", d.File("z", "zip"), "--no-smoke", "--yes")
			wantStatus(t, r, c.status)
			if c.status != 0 {
				wantWords(t, r, "the group "+c.group+" is there, and is not of this installation", "azd-env-name=demo")
				wantCalls(t, r.changing(), nil)
			}
		})
	}
}

func TestDeployToPremiumPutsThePackageWhereTheAppRunsItFrom(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deployed("http://127.0.0.1:1", "premium", 1)...)
	zip := d.File("spillway.zip", "zip")
	r := d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--zip", zip, "--no-smoke", "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{
		"az storage blob upload --auth-mode login --blob-url https://stx.blob/app-package/spillway.zip --file " + zip + " --overwrite --output none",
		"az functionapp restart --resource-group rg-demo --name func-x --output none",
		"az rest --method post --url /sites/func-x/syncfunctiontriggers?api-version=2016-08-01 --output none",
	})
	wantWords(t, r, "whether it serves and fails over was not looked at")
}

func TestDeployToPremiumGivesTheRoleToUploadToWhoeverIsSignedIn(t *testing.T) {
	t.Parallel()
	servant := Reply("account show", map[string]any{"name": "c", "id": "0", "user": map[string]any{"type": "servicePrincipal", "name": "app-id"}})
	for _, c := range []struct {
		name, parameters, want string
		args                   []string
		replies                []any
	}{
		{"a person", "param plan = 'premium'", " --parameters principalId=oid-ann principalType=User", nil, nil},
		{"a pipeline", "param plan = 'premium'", " --parameters principalId=oid-app principalType=ServicePrincipal", nil, []any{servant}},
		{"whom the caller names", "param plan = 'flex'", " --parameters principalId=oid-g principalType=Group", []string{"--principal", "oid-g", "--principal-type", "Group"}, nil},
		{"whom the parameters name", "param plan = 'premium'\nparam principalId = 'x'", "", nil, nil},
		{"nobody on Flex Consumption", "param plan = 'flex'", "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			replies := append(c.replies, deployed("http://127.0.0.1:1", "premium", 1)...)
			d := NewDesk(t, fake, append(replies, Reply("ad signed-in-user show", map[string]any{"id": "oid-ann"}), Reply("ad sp show", map[string]any{"id": "oid-app"}, "--id", "app-id"))...)
			params := d.File("mine.bicepparam", c.parameters)
			r := d.Script("", "deploy.sh", append(c.args, "--environment", "demo", "--location", "uksouth", "--parameters", params, "--zip", d.File("z", "zip"), "--no-smoke", "--yes")...)
			wantStatus(t, r, 0)
			wantCalls(t, r.changing()[len(registers):len(registers)+1], []string{
				"az deployment sub create --name spillway-demo --location uksouth --parameters " + params + c.want + " --output none",
			})
		})
	}
}

func TestDeployToPremiumTriesTheUploadAgainUntilTheRoleIsInForce(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, append([]any{Refusal("storage blob upload", "AuthorizationPermissionMismatch")}, deployed("http://127.0.0.1:1", "premium", 1)...)...)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--zip", d.File("z", "zip"), "--no-smoke", "--yes", "--wait", "0")
	wantStatus(t, r, 1)
	wantWords(t, r, "Storage Blob Data Contributor")
}

// The service may answer with other capitals than the template has, and the newest templates give one object.
func TestDeployReadsOutputsWhateverTheirCase(t *testing.T) {
	t.Parallel()
	value := func(v any) map[string]any { return map[string]any{"value": v} }
	object := Reply("deployment sub show", map[string]any{"properties": map[string]any{"provisioningState": "Succeeded", "outputs": map[string]any{
		"azurE_FUNCTION_APP_PLAN": value("premium"), // the object wins
		"spillway": value(map[string]any{
			"plan": "flex", "functionApps": []any{"func-x"}, "resourceGroups": []any{"rg-demo"}, "packageContainers": []any{"c"}, "frontDoorId": "",
		}),
	}}})
	camel := deployed("http://127.0.0.1:1", "flex", 1)
	for _, r := range camel {
		if r, ok := r.(map[string]any); ok && slices.Equal(r["words"].([]string), []string{"deployment", "sub", "show"}) {
			r["camel"] = true
		}
	}
	for name, replies := range map[string][]any{"camel": camel, "object": append([]any{object}, deployed("", "", 1)...)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := NewDesk(t, fake, replies...)
			zip := d.File("z", "zip")
			r := d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--zip", zip, "--no-smoke", "--yes")
			wantStatus(t, r, 0)
			wantCalls(t, r.changing(), []string{"az functionapp deployment source config-zip --resource-group rg-demo --name func-x --src " + zip + " --output none"})
		})
	}
}

func TestDeployStopsWhenTheDeploymentNamesNoApp(t *testing.T) {
	t.Parallel()
	for _, outputs := range []any{nil, map[string]any{}, map[string]any{"AZURE_LOCATION": map[string]any{"value": "x"}}} {
		d := NewDesk(t, fake, signedIn(), Reply("deployment sub show", map[string]any{"properties": map[string]any{"provisioningState": "Succeeded", "outputs": outputs}}))
		r := d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--zip", d.File("z", "zip"), "--no-smoke", "--yes")
		wantStatus(t, r, 1)
		wantWords(t, r, "does not give AZURE_FUNCTION_APP_PLAN")
		wantCalls(t, r.changing(), nil)
	}
}

func TestDeployApprovesThePrivateLinkOfItsOwnFrontDoorOnly(t *testing.T) {
	t.Parallel()
	pending := func(id, description, status string) map[string]any {
		return map[string]any{"id": id, "properties": map[string]any{
			"privateEndpoint":                   map[string]any{"id": "/endpoints" + id},
			"privateLinkServiceConnectionState": map[string]any{"status": status, "description": description},
		}}
	}
	replies := deployed("http://127.0.0.1:1", "flex", 1)
	replies = append([]any{Reply("deployment sub show", map[string]any{"properties": map[string]any{"provisioningState": "Succeeded", "outputs": map[string]any{
		"AZURE_FUNCTION_APP_PLAN": map[string]any{"value": "flex"}, "AZURE_FUNCTION_APP_NAMES": map[string]any{"value": []any{"func-x"}},
		"AZURE_RESOURCE_GROUPS": map[string]any{"value": []any{"rg-demo"}}, "AZURE_PACKAGE_CONTAINERS": map[string]any{"value": []any{"c"}},
		"AZURE_FRONT_DOOR_ID": map[string]any{"value": "4444"},
	}}})}, replies...)
	replies = append(replies,
		Reply("network private-endpoint-connection list", []any{
			pending("/c/ours", "Front Door of Spillway 4444", "Pending"), pending("/c/approved", "Front Door of Spillway 4444", "Approved"),
			pending("/c/theirs", "hello", "Pending"), pending("/c/alike", "Front Door of Spillway", "Pending"), pending("/c/older", "Front Door of Spillway 3333", "Pending"),
		}),
		Reply("network private-endpoint-connection approve", nil))
	d := NewDesk(t, fake, replies...)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--zip", d.File("z", "zip"), "--no-smoke", "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing()[1:], []string{
		"az network private-endpoint-connection approve --id /c/ours --description Front Door of Spillway 4444 --output none",
	})
	wantWords(t, r, "asks to reach func-x: /endpoints/c/ours", `not approved, because its text is not "Front Door of Spillway 4444": /c/alike`)

	// Front Door asks once: of two that name it, one is somebody else's.
	twice := Reply("network private-endpoint-connection list", []any{pending("/c/ours", "Front Door of Spillway 4444", "Pending"), pending("/c/forged", "Front Door of Spillway 4444", "Pending")})
	d = NewDesk(t, fake, append([]any{twice}, replies...)...)
	r = d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--zip", d.File("z", "zip"), "--no-smoke", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "2 requests to reach func-x name this Front Door", "/endpoints/c/forged")
	if len(r.changing()) > 1 {
		t.Errorf("it did %q", r.changing())
	}
}

// What a deployment left that is running, or that failed, is of before.
func TestDeployPublishesOnlyAfterADeploymentThatSucceeded(t *testing.T) {
	t.Parallel()
	for _, state := range []any{"Running", "Failed", "Canceled", nil} {
		replies := deployed("http://127.0.0.1:1", "flex", 1)
		for _, r := range replies {
			if r, ok := r.(map[string]any); ok && slices.Equal(r["words"].([]string), []string{"deployment", "sub", "show"}) {
				r["json"].(map[string]any)["properties"].(map[string]any)["provisioningState"] = state
			}
		}
		d := NewDesk(t, fake, replies...)
		r := d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--zip", d.File("z", "zip"), "--no-smoke", "--yes")
		wantStatus(t, r, 1)
		wantWords(t, r, "not Succeeded: nothing was published")
		wantCalls(t, r.changing(), nil)
	}
}

// The app may go on with the package of before.
func TestDeployProvesThatItsOwnPackageAnswers(t *testing.T) {
	t.Parallel()
	spillway := NewDouble(t)
	spillway.Version = "1.2.2"
	d := NewDesk(t, fake, deployed(spillway.URL, "flex", 1)...)
	d.Set("SPILLWAY_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	args := []string{"--environment", "demo", "--publish-only", "--yes", "--wait", "1", "--zip"}
	r := d.Script("", "deploy.sh", append(args, d.File("spillway-1.2.3-linux-amd64.zip", "zip"))...)
	wantStatus(t, r, 1)
	wantWords(t, r, "the version 1.2.2 answers after 1 s, not 1.2.3")
	wantStatus(t, d.Script("", "deploy.sh", append(args, d.File("spillway-1.2.2-linux-amd64.zip", "zip"))...), 0)
	r = d.Script("", "deploy.sh", append(args, d.File("mine.zip", "zip"))...)
	wantStatus(t, r, 0)
	wantWords(t, r, "does not tell its version")
}

func TestDeployDryRunPrintsThePlanAndChangesNothing(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deployed("http://127.0.0.1:1", "flex", 1)...)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--dry-run")
	wantStatus(t, r, 0)
	wantCalls(t, r.Calls, []string{"az account show --query " + rowsOf("[name, id]") + " --output tsv"})
	wantWords(t, r, "1. make or update the resources of infra/bicep/examples/minimum.bicepparam in swedencentral",
		"+ az deployment sub create --name spillway-demo --location swedencentral", "+ scripts/package.sh build/spillway.zip", "+ scripts/smoke.sh --environment demo")
}

func TestDeployWhatIfStopsBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deployed("http://127.0.0.1:1", "flex", 1)...)
	d.Set("TEAM_A_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--what-if")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), nil)
	wantWords(t, r, "32 to create")
}

func TestDeployFromAzdTakesTheNamesFromTheEnvironment(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deployed("http://127.0.0.1:1", "flex", 1)...)
	d.Set(`AZURE_FUNCTION_APP_NAMES=["func-a","func-b"]`)
	d.Set(`AZURE_RESOURCE_GROUPS=["rg-a","rg-b"]`)
	d.Set(`AZURE_PACKAGE_CONTAINERS=["c","d"]`)
	d.Set("AZURE_FUNCTION_APP_PLAN=flex")
	zip := d.File("z", "zip")
	r := d.Script("", "deploy.sh", "--publish-only", "--from-environment", "--no-smoke", "--environment", "demo", "--yes", "--zip", zip)
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{
		"az functionapp deployment source config-zip --resource-group rg-a --name func-a --src " + zip + " --output none",
		"az functionapp deployment source config-zip --resource-group rg-b --name func-b --src " + zip + " --output none",
	})
}

func TestDeployAfterTerraformPublishesToOneApp(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deployed("http://127.0.0.1:1", "flex", 1)...)
	zip := d.File("z", "zip")
	r := d.Script("", "deploy.sh", "--environment", "demo", "--publish-only", "--group", "rg", "--app", "func", "--zip", zip, "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{"az functionapp deployment source config-zip --resource-group rg --name func --src " + zip + " --output none"})
}

func TestDeployRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deployed("http://127.0.0.1:1", "flex", 1)...)
	for _, args := range [][]string{
		{},
		{"--environment", "demo"},
		{"--location", "swedencentral"},
		{"--environment", "a/b", "--location", "swedencentral"},
		{"--environment", "demo", "--location", "swedencentral", "--parameters", "nothing.bicepparam"},
		{"--environment", "demo", "--publish-only", "--zip", "nothing.zip"},
		{"--environment", "demo", "--location", "x", "--group", "rg", "--app", "a"},
		{"--environment", "demo", "--publish-only", "--app", "a"},
		{"--environment", "demo", "--publish-only", "--from-environment"},
	} {
		r := d.Script("", "deploy.sh", args...)
		wantStatus(t, r, 2)
		wantCalls(t, r.Calls, nil)
	}
}

func TestDeploySaysWhatIsMissingBeforeItAsksAz(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deployed("http://127.0.0.1:1", "flex", 1)...)
	d.Set("TEAM_A_KEY=" + consumerKey)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "minimum.bicepparam reads SPILLWAY_OPERATOR_KEY from the environment")
	wantCalls(t, r.Calls, nil)

	// Parameters that read nothing: the proof still needs its keys, unless there is none.
	params, zip := d.File("mine.bicepparam", "using 'x'"), d.File("z", "zip")
	r = d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--parameters", params, "--zip", zip, "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "export SPILLWAY_KEY", "--no-smoke")
	wantCalls(t, r.Calls, nil)
	r = d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--parameters", params, "--zip", zip, "--no-smoke", "--yes")
	wantStatus(t, r, 0)
}

func TestDeployNamesTheRegionWithoutCapacity(t *testing.T) {
	t.Parallel()
	operation := func(name, state, code string) any {
		return map[string]any{"properties": map[string]any{
			"provisioningState": state, "targetResource": map[string]any{"resourceName": name}, "statusMessage": map[string]any{"error": map[string]any{"code": code}},
		}}
	}
	d := NewDesk(t, fake, signedIn(), Reply("group list", []any{}), Reply("provider register", nil), Refusal("deployment sub create", "DeploymentFailed"),
		Reply("deployment operation sub list", []any{operation("monitor", "Succeeded", ""), operation("openai-east", "Failed", "InsufficientQuota")}),
		Reply("cognitiveservices account list", []any{account("aoai-sweden-tok0123456789", "swedencentral", "demo"), account("aoai-east-tok0123456789", "eastus2", "demo")}))
	d.Set("TEAM_A_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--zip", d.File("z", "zip"), "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "failed: openai-east in eastus2: ", "InsufficientQuota", "aoai-status.sh --quota")
	if strings.Contains(r.Words, "failed: monitor") {
		t.Error("it names what succeeded")
	}
}

func TestDeployStopsWhenAzFails(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, signedIn(), Reply("group list", []any{}), Reply("provider register", nil), Refusal("deployment sub create", "InsufficientQuota"))
	d.Set("TEAM_A_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--zip", d.File("z", "zip"), "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "InsufficientQuota")
	if calls := r.changing(); !strings.HasPrefix(calls[len(calls)-1], "az deployment sub create") {
		t.Errorf("it went on: %s", calls)
	}
}
