package scripttest

import (
	"strings"
	"testing"
)

// resource is one line of `az resource list`.
func resource(name, kind, environment string) map[string]any {
	r := map[string]any{"id": "/subscriptions/0/resourceGroups/rg/providers/" + kind + "/" + name, "name": name, "type": kind, "tags": nil}
	if environment != "" {
		r["tags"] = map[string]any{"azd-env-name": environment}
	}
	return r
}

// made is what a deployment makes in a group, and what Azure adds to it.
func made(suffix string) []any {
	return []any{
		resource("id-tok"+suffix, "Microsoft.ManagedIdentity/userAssignedIdentities", "demo"),
		resource("func-tok"+suffix, "Microsoft.Web/sites", "demo"),
		resource("sttok"+suffix, "Microsoft.Storage/storageAccounts", "demo"),
		resource("privatelink.blob.core.windows.net", "Microsoft.Network/privateDnsZones", "demo"),
		resource("0f-guid", "Microsoft.Insights/workbooks", "demo"),
		resource("pe-packages-tok.nic.1", "Microsoft.Network/networkInterfaces", ""),
		resource("Failure Anomalies - appi-tok", "microsoft.alertsmanagement/smartDetectorAlertRules", ""),
		resource("Application Insights Smart Detection", "microsoft.insights/actiongroups", ""),
	}
}

// account is one line of `az cognitiveservices account list`.
func account(name, region, environment string) map[string]any {
	a := resource(name, "Microsoft.CognitiveServices/accounts", environment)
	a["location"] = region
	return a
}

// installation is two groups of demo; strangers are put into the first. A third group has the tag and not the name.
func installation(strangers ...any) []any {
	groups := []any{map[string]any{"name": "rg-demo"}, map[string]any{"name": "rg-demo-2"}, map[string]any{"name": "rg-of-another-team"}}
	return []any{
		signedIn(),
		Reply("group list", groups, "--tag", "azd-env-name=demo"),
		Reply("group list", []any{}),
		Reply("resource list", append(made(""), strangers...), "--resource-group", "rg-demo"),
		Reply("resource list", made("")[1:], "--resource-group", "rg-demo-2"),
		Reply("cognitiveservices account list", []any{
			account("aoai-sweden-tok", "swedencentral", "demo"), account("aoai-east-tok", "eastus2", "demo"),
			account("aoai-theirs", "swedencentral", "demo"), account("aoai-sweden-tok9", "swedencentral", "demo9"), account("speech", "swedencentral", ""),
		}, "--resource-group", "rg-demo"),
		Reply("cognitiveservices account list", []any{}, "--resource-group", "rg-demo-2"),
		Marked(Reply("group delete", nil), "+deleted"),
		Marked(Reply("group exists", false), "?deleted"),
		Reply("deployment sub list", []any{map[string]any{"name": "spillway-demo"}, map[string]any{"name": "other"}}),
		Reply("deployment sub show", map[string]any{"properties": map[string]any{"outputs": map[string]any{
			"AZURE_RESOURCE_GROUPS": map[string]any{"value": []any{"rg-demo", "rg-demo-2"}},
		}}}),
		Reply("deployment sub delete", nil),
		Reply("cognitiveservices account purge", nil),
		deleted()[2],
	}
}

const (
	purgeOwnSweden = "az cognitiveservices account purge --location swedencentral --resource-group rg-demo --name aoai-sweden-tok --output none"
	purgeOwnEast   = "az cognitiveservices account purge --location eastus2 --resource-group rg-demo --name aoai-east-tok --output none"
)

func TestDestroyDeletesTheGroupsOfTheInstallationAndItsDeployment(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{
		"az group delete --name rg-demo --yes --output none",
		"az group delete --name rg-demo-2 --yes --output none",
		"az deployment sub delete --name spillway-demo --output none",
	})
	wantWords(t, r, "Microsoft.Web/sites func-tok", "left alone: the group rg-of-another-team")
}

func TestDestroyWithPurgeFreesTheAccountsOfItsGroupsOnly(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--purge", "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{
		"az group delete --name rg-demo --yes --output none",
		"az group delete --name rg-demo-2 --yes --output none",
		purgeOwnSweden, purgeOwnEast,
		"az deployment sub delete --name spillway-demo --output none",
	})
	wantWords(t, r, "will not be purged: aoai-theirs", "will not be purged: speech", "the account aoai-sweden-tok in swedencentral will be purged")
}

func TestDestroyListsWhatItPurgesBeforeItAsks(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	d.Set("CONFIRM_FROM_PIPE=yes")
	r := d.Script("no\n", "destroy.sh", "--environment", "demo", "--purge")
	wantStatus(t, r, 1)
	wantCalls(t, r.changing(), nil)
	wantWords(t, r, "the account aoai-east-tok in eastus2 will be purged", "nothing was changed")
}

// The groups of a deployment are those it names, or, without it, those with the usual names.
func TestDestroyTakesGroupsByTagAndName(t *testing.T) {
	t.Parallel()
	replies := append([]any{
		Reply("deployment sub list", []any{}),
		Reply("group list", []any{map[string]any{"name": "RG-Demo"}, map[string]any{"name": "rg-own"}}),
		Reply("resource list", made("")), Reply("cognitiveservices account list", []any{}),
	}, installation()...)
	d := NewDesk(t, fake, replies...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{"az group delete --name RG-Demo --yes --output none"})
	r = d.Script("", "destroy.sh", "--environment", "demo", "--group", "rg-own", "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{"az group delete --name RG-Demo --yes --output none", "az group delete --name rg-own --yes --output none"})
}

func TestDestroyFailsWhenTheGroupIsStillThere(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, append([]any{Reply("group exists", true)}, installation()...)...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "the group rg-demo is still there")
}

func TestDestroyFailsWhenAnAccountIsStillListed(t *testing.T) {
	t.Parallel()
	left := map[string]any{"id": "/subscriptions/0/providers/Microsoft.CognitiveServices/locations/eastus2/resourceGroups/RG-demo/deletedAccounts/aoai-east-tok"}
	d := NewDesk(t, fake, append([]any{Reply("cognitiveservices account list-deleted", []any{left})}, installation()...)...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--purge", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "the account aoai-east-tok is still listed as deleted")
}

func TestDestroyLeavesAGroupThatHoldsThingsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for name, theirs := range map[string]any{
		"another tag":        resource("their-db-tok", "Microsoft.Sql/servers", "prod"),
		"no tag":             resource("their-db", "Microsoft.Sql/servers", ""),
		"our tag, inherited": resource("their-db", "Microsoft.Sql/servers", "demo"),
		"an interface":       resource("vm-nic", "Microsoft.Network/networkInterfaces", ""),
		"actions":            resource("their actions", "microsoft.insights/actiongroups", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := NewDesk(t, fake, installation(theirs)...)
			r := d.Script("", "destroy.sh", "--environment", "demo", "--yes")
			wantStatus(t, r, 1)
			wantWords(t, r, "not of this installation: /subscriptions/0", "--with-strangers")
			wantCalls(t, r.changing(), nil)
			r = d.Script("", "destroy.sh", "--environment", "demo", "--with-strangers", "--yes")
			wantStatus(t, r, 0)
		})
	}
}

func TestDestroyOfAnUnknownInstallationDeletesNothing(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	for _, name := range []string{"prod", "dem"} {
		r := d.Script("", "destroy.sh", "--environment", name, "--yes")
		wantStatus(t, r, 1)
		wantCalls(t, r.changing(), nil)
	}
	for _, args := range [][]string{{}, {"--yes"}, {"--environment", "", "--yes"}, {"--environment", "a b", "--yes"}, {"--environment", "'; rm", "--yes"}} {
		r := d.Script("", "destroy.sh", args...)
		wantStatus(t, r, 2)
		wantCalls(t, r.Calls, nil)
	}
}

func TestDestroyDryRunPrintsThePlan(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--purge", "--dry-run")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), nil)
	wantWords(t, r, "+ az group delete --name rg-demo --yes", "+ "+strings.TrimSuffix(purgeOwnEast, " --output none"))
}

func TestDestroyAsksForTheNameOfTheInstallation(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	d.Set("CONFIRM_FROM_PIPE=yes")
	r := d.Script("yes\n", "destroy.sh", "--environment", "demo")
	wantStatus(t, r, 1)
	wantCalls(t, r.changing(), nil)
}
