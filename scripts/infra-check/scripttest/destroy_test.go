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

// functionApp is the app of a service of azd.
func functionApp(name, service string) map[string]any {
	app := resource(name, "Microsoft.Web/sites", "demo")
	app["tags"] = map[string]any{"azd-env-name": "demo", "azd-service-name": service}
	return app
}

// made is what a deployment makes in a group, and what Azure adds to it.
func made(suffix string) []any {
	return []any{
		resource("id-tok0123456789"+suffix, "Microsoft.ManagedIdentity/userAssignedIdentities", "demo"),
		functionApp("func-tok0123456789"+suffix, "spillway"),
		resource("sttok0123456789"+suffix, "Microsoft.Storage/storageAccounts", "demo"),
		resource("privatelink.blob.core.windows.net", "Microsoft.Network/privateDnsZones", "demo"),
		resource("privatelink.blob.core.windows.net/spillway", "Microsoft.Network/privateDnsZones/virtualNetworkLinks", "demo"),
		resource("contoso.com", "Microsoft.Network/dnsZones", "demo"),
		resource("0f-guid", "Microsoft.Insights/workbooks", "demo"),
		resource("pe-packages-tok0123456789.nic.1", "Microsoft.Network/networkInterfaces", ""),
		resource("Failure Anomalies - appi-tok0123456789", "microsoft.alertsmanagement/smartDetectorAlertRules", ""),
		resource("Application Insights Smart Detection", "microsoft.insights/actiongroups", ""),
	}
}

// told is what Azure says of zones and workbooks, whose names have no token in them.
func told() []any {
	endpoint := map[string]any{"CNAMERecord": map[string]any{"cname": "spillway-tok0123456789-h4.z01.azurefd.net"}}
	return []any{
		Reply("network dns record-set list", []any{endpoint}, "--zone-name", "contoso.com"), Reply("network dns record-set list", []any{}),
		Reply("resource show", map[string]any{"properties": map[string]any{"sourceId": "/workspaces/log-0th3rs"}}, "--ids", resource("theirs", "Microsoft.Insights/workbooks", "")["id"].(string)),
		Reply("resource show", map[string]any{"properties": map[string]any{"sourceId": "/subscriptions/0/.../workspaces/log-tok0123456789"}}),
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
	return append([]any{
		signedIn(),
		Reply("group list", groups, "--tag", "azd-env-name=demo"),
		Reply("group list", []any{}),
		Reply("resource list", append(made(""), strangers...), "--resource-group", "rg-demo"),
		Reply("resource list", made("")[1:], "--resource-group", "rg-demo-2"),
		Reply("cognitiveservices account list", []any{
			account("aoai-sweden-tok0123456789", "swedencentral", "demo"), account("aoai-east-tok0123456789", "eastus2", "demo"),
			account("aoai-theirs", "swedencentral", "demo"), account("aoai-sweden-tok0123456789x", "swedencentral", "demo9"), account("speech", "swedencentral", ""),
		}, "--resource-group", "rg-demo"),
		Reply("cognitiveservices account list", []any{}, "--resource-group", "rg-demo-2"),
		Marked(Reply("group delete", nil), "+deleted"),
		Marked(Reply("group exists", false), "?deleted"),
		Reply("deployment sub list", []any{map[string]any{"name": "spillway-demo"}, map[string]any{"name": "other"}}),
		Reply("deployment sub show", map[string]any{"properties": map[string]any{"outputs": map[string]any{
			"AZURE_RESOURCE_GROUPS": map[string]any{"value": []any{"rg-demo", "rg-demo-2"}},
		}}}),
		Reply("deployment operation sub list", []any{}),
		Reply("deployment sub delete", nil),
		Reply("cognitiveservices account purge", nil),
		deleted()[2],
	}, told()...)
}

const (
	purgeOwnSweden = "az cognitiveservices account purge --location swedencentral --resource-group rg-demo --name aoai-sweden-tok0123456789 --output none"
	purgeOwnEast   = "az cognitiveservices account purge --location eastus2 --resource-group rg-demo --name aoai-east-tok0123456789 --output none"
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
	wantWords(t, r, "Microsoft.Web/sites func-tok0123456789", "left alone: the group rg-of-another-team")
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
	wantWords(t, r, "will not be purged: aoai-theirs", "will not be purged: speech", "the account aoai-sweden-tok0123456789 in swedencentral will be purged")
}

func TestDestroyListsWhatItPurgesBeforeItAsks(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	d.Set("CONFIRM_FROM_PIPE=yes")
	r := d.Script("no\n", "destroy.sh", "--environment", "demo", "--purge")
	wantStatus(t, r, 1)
	wantCalls(t, r.changing(), nil)
	wantWords(t, r, "the account aoai-east-tok0123456789 in eastus2 will be purged", "nothing was changed")
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
	left := map[string]any{"id": "/subscriptions/0/providers/Microsoft.CognitiveServices/locations/eastus2/resourceGroups/RG-demo/deletedAccounts/aoai-east-tok0123456789"}
	d := NewDesk(t, fake, append([]any{Reply("cognitiveservices account list-deleted", []any{left})}, installation()...)...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--purge", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "the account aoai-east-tok0123456789 is still listed as deleted")
}

func TestDestroyLeavesAGroupThatHoldsThingsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for name, theirs := range map[string]any{
		"another tag":         resource("their-db-tok0123456789", "Microsoft.Sql/servers", "prod"),
		"no tag":              resource("their-db", "Microsoft.Sql/servers", ""),
		"our tag, inherited":  resource("their-db", "Microsoft.Sql/servers", "demo"),
		"an interface":        resource("vm-nic", "Microsoft.Network/networkInterfaces", ""),
		"actions":             resource("their actions", "microsoft.insights/actiongroups", ""),
		"the token in a word": resource("dbtok0123456789x", "Microsoft.Sql/servers", "demo"),
		"a private zone":      resource("privatelink.vaultcore.azure.net", "Microsoft.Network/privateDnsZones", "demo"),
		"a link":              resource("privatelink.vaultcore.azure.net/hub", "Microsoft.Network/privateDnsZones/virtualNetworkLinks", "demo"),
		"a zone":              resource("fabrikam.com", "Microsoft.Network/dnsZones", "demo"),
		"a workbook":          resource("theirs", "Microsoft.Insights/workbooks", "demo"),
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

// Every project of azd has the tag, a group rg-NAME, and a token of 13 characters in its names.
func TestDestroyLeavesAGroupThatIsNotCertainlyItsOwn(t *testing.T) {
	t.Parallel()
	identity := resource("id-abc0123456789", "Microsoft.ManagedIdentity/userAssignedIdentities", "demo")
	for name, holds := range map[string][]any{
		"another project":       {identity, functionApp("func-abc0123456789", "api"), resource("stabc0123456789", "Microsoft.Storage/storageAccounts", "demo")},
		"another project's app": {identity, functionApp("app-abc0123456789", "spillway")},
		"an app of another tag": {identity, func() any {
			a := functionApp("func-abc0123456789", "spillway")
			a["tags"].(map[string]any)["azd-env-name"] = "other"
			return a
		}()},
		"a token of one letter":      {resource("id-t", "Microsoft.ManagedIdentity/userAssignedIdentities", "demo"), functionApp("func-t", "spillway")},
		"nothing that could be seen": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replies := append([]any{
				Reply("group list", []any{map[string]any{"name": "rg-demo"}}), Reply("deployment sub list", []any{}), Reply("resource list", holds),
			}, installation()...)
			d := NewDesk(t, fake, replies...)
			for _, args := range [][]string{{"--yes"}, {"--yes", "--with-strangers", "--group", "rg-demo"}} {
				r := d.Script("", "destroy.sh", append(args, "--environment", "demo")...)
				wantStatus(t, r, 1)
				wantWords(t, r, "left alone: the group rg-demo", "no group is certainly of the installation demo")
				wantCalls(t, r.changing(), nil)
			}
		})
	}
}

// A group in which nothing is seen stays, and so does the record that names it.
func TestDestroyTakesOnlyTheGroupsInWhichItSeesSomething(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, append([]any{Reply("resource list", []any{}, "--resource-group", "rg-demo-2")}, installation()...)...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--yes")
	wantStatus(t, r, 0)
	wantWords(t, r, "left alone: the group rg-demo-2")
	wantCalls(t, r.changing(), []string{"az group delete --name rg-demo --yes --output none"})
}

// A deployment that failed before the function app is known by its record.
func TestDestroyOfAnInstallationThatWasNotFinished(t *testing.T) {
	t.Parallel()
	half := []any{made("")[0], made("")[2]}
	recorded := []any{map[string]any{"properties": map[string]any{"targetResource": map[string]any{"resourceType": "Microsoft.Resources/resourceGroups", "resourceName": "rg-demo"}}}}
	for _, c := range []struct {
		record []any
		status int
	}{{recorded, 0}, {nil, 1}} {
		d := NewDesk(t, fake, append([]any{
			Reply("group list", []any{map[string]any{"name": "rg-demo"}}), Reply("resource list", half), Reply("deployment operation sub list", c.record),
			Reply("deployment sub show", map[string]any{"properties": map[string]any{"outputs": nil}}),
		}, installation()...)...)
		wantStatus(t, d.Script("", "destroy.sh", "--environment", "demo", "--yes"), c.status)
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
