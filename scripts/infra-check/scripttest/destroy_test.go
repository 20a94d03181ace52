package scripttest

import (
	"strings"
	"testing"
)

func tagged(id, kind, environment string) map[string]any {
	r := map[string]any{"id": "/subscriptions/0/resourceGroups/rg/providers/" + kind + "/" + id, "type": kind, "tags": nil}
	if environment != "" {
		r["tags"] = map[string]any{"azd-env-name": environment}
	}
	return r
}

// installation is two groups of demo; strangers are put into the first.
func installation(strangers ...any) []any {
	own := []any{
		tagged("func", "Microsoft.Web/sites", "demo"),
		tagged("nic", "Microsoft.Network/networkInterfaces", ""),
		tagged("anomalies", "microsoft.alertsmanagement/smartDetectorAlertRules", ""),
	}
	return []any{
		signedIn(),
		Reply("group list", []any{map[string]any{"name": "rg-demo"}, map[string]any{"name": "rg-demo-2"}}, "--tag", "azd-env-name=demo"),
		Reply("group list", []any{}),
		Reply("resource list", append(own, strangers...), "--resource-group", "rg-demo"),
		Reply("resource list", own, "--resource-group", "rg-demo-2"),
		Reply("group delete", nil),
		Reply("deployment sub list", []any{map[string]any{"name": "spillway-demo"}, map[string]any{"name": "other"}}),
		Reply("deployment sub delete", nil),
		deleted(), purged(),
	}
}

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
}

func TestDestroyWithPurgeFreesTheAccountsOfItsGroupsOnly(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--purge", "--yes")
	wantStatus(t, r, 0)
	var purges []string
	for _, c := range r.changing() {
		if strings.Contains(c, "purge") {
			purges = append(purges, c)
		}
	}
	wantCalls(t, purges, []string{purgeSweden, purgeEast})
}

func TestDestroyLeavesAGroupThatHoldsThingsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation(tagged("their-db", "Microsoft.Sql/servers", "prod"))...)
	r := d.Script("", "destroy.sh", "--environment", "demo", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "their-db", "--with-strangers")
	wantCalls(t, r.changing(), nil)
	r = d.Script("", "destroy.sh", "--environment", "demo", "--with-strangers", "--yes")
	wantStatus(t, r, 0)
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
	wantWords(t, r, "+ az group delete --name rg-demo --yes", "+ scripts/aoai-purge.sh --resource-group rg-demo-2 --yes")
}

func TestDestroyAsksForTheNameOfTheInstallation(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	d.Set("CONFIRM_FROM_PIPE=yes")
	r := d.Script("yes\n", "destroy.sh", "--environment", "demo")
	wantStatus(t, r, 1)
	wantCalls(t, r.changing(), nil)
}
