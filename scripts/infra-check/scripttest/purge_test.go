package scripttest

import "testing"

// deleted are an az's answers about deleted accounts: those of demo are gone once something was purged.
func deleted() []any {
	account := func(name, group, region, environment string) map[string]any {
		return map[string]any{
			"name": name, "location": region, "properties": map[string]any{"deletionDate": "2026-11-20T10:00:00Z"},
			"id":   "/subscriptions/0/providers/Microsoft.CognitiveServices/locations/" + region + "/resourceGroups/" + group + "/deletedAccounts/" + name,
			"tags": map[string]any{"azd-env-name": environment},
		}
	}
	inherited := account("their-aoai", "rg-theirs", "swedencentral", "demo")
	inherited["id"] = "/subscriptions/0/providers/Microsoft.CognitiveServices/locations/swedencentral/resourcegroups/rg-theirs/deletedaccounts/their-aoai"
	somebodyElses := account("aoai-prod", "rg-prod", "swedencentral", "prod")
	somebodyElses["tags"] = nil
	demo2 := account("aoai-demo2", "rg-demo2", "swedencentral", "demo2")
	return []any{
		signedIn(),
		Marked(Reply("cognitiveservices account list-deleted", []any{
			account("aoai-sweden-abc0123456789", "rg-demo", "swedencentral", "demo"), account("aoai-east-abc0123456789", "RG-Demo", "eastus2", "demo"), demo2, somebodyElses, inherited,
		}), "!purged"),
		Reply("cognitiveservices account list-deleted", []any{demo2, somebodyElses}),
		Marked(Reply("cognitiveservices account purge", nil), "+purged"),
	}
}

// rowsOf is the query by which rows_of asks for rows and for an end of the list.
func rowsOf(query string) string { return "[(" + query + ") || `[]`, ['end of list']][]" }

const (
	purgeSweden = "az cognitiveservices account purge --location swedencentral --resource-group rg-demo --name aoai-sweden-abc0123456789 --output none"
	purgeEast   = "az cognitiveservices account purge --location eastus2 --resource-group RG-Demo --name aoai-east-abc0123456789 --output none"
)

func TestPurgeRefusesWithoutAScopeAndAsksAzNothing(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deleted()...)
	for _, args := range [][]string{
		{},
		{"--yes"},
		{"--location", "swedencentral", "--yes"},
		{"--resource-group", "", "--yes"},
		{"--environment", "*", "--yes"},
		{"--account", "aoai-*", "--yes"},
		{"--resource-group"},
		{"--resource-group", "--yes"},
	} {
		r := d.Script("", "aoai-purge.sh", args...)
		wantStatus(t, r, 2)
		wantCalls(t, r.Calls, nil)
	}
}

func TestPurgeTakesExactlyWhatTheScopeNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"environment", []string{"--environment", "demo"}, []string{purgeSweden, purgeEast}},
		{"group, whatever its case", []string{"--resource-group", "rg-demo"}, []string{purgeSweden, purgeEast}},
		{"group and region", []string{"--resource-group", "rg-demo", "--location", "eastus2"}, []string{purgeEast}},
		{"group and environment", []string{"--resource-group", "rg-theirs", "--environment", "demo"}, nil},
		{"an id in lower case", []string{"--resource-group", "RG-theirs"}, []string{"az cognitiveservices account purge --location swedencentral --resource-group rg-theirs --name their-aoai --output none"}},
		{"account", []string{"--account", "aoai-sweden-abc0123456789"}, []string{purgeSweden}},
		{"the beginning of a name is no name", []string{"--account", "aoai"}, nil},
		{"all that are given must match", []string{"--account", "aoai-sweden-abc0123456789", "--environment", "demo2"}, nil},
		{"no tag is no environment", []string{"--environment", "None1"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := NewDesk(t, fake, deleted()...)
			r := d.Script("", "aoai-purge.sh", append(c.args, "--yes")...)
			wantStatus(t, r, 0)
			wantCalls(t, r.changing(), c.want)
		})
	}
}

func TestPurgeAsksAndADifferentAnswerChangesNothing(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deleted()...)
	d.Set("CONFIRM_FROM_PIPE=yes")
	r := d.Script("yes\n", "aoai-purge.sh", "--environment", "demo")
	wantStatus(t, r, 1)
	wantCalls(t, r.changing(), nil)
	r = d.Script("2\n", "aoai-purge.sh", "--environment", "demo")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), []string{purgeSweden, purgeEast})
}

func TestPurgeWithNobodyToAskChangesNothing(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deleted()...)
	r := d.Script("", "aoai-purge.sh", "--environment", "demo")
	wantStatus(t, r, 1)
	wantWords(t, r, "--yes")
	wantCalls(t, r.changing(), nil)
}

func TestPurgeDryRunPrintsThePlan(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deleted()...)
	r := d.Script("", "aoai-purge.sh", "--environment", "demo", "--dry-run")
	wantStatus(t, r, 0)
	wantCalls(t, r.changing(), nil)
	wantWords(t, r, "+ "+purgeSweden, "+ "+purgeEast, "to be purged: aoai-east-abc0123456789 in eastus2")
}

func TestPurgeGivesTheSubscriptionToEveryCall(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deleted()...)
	r := d.Script("", "aoai-purge.sh", "--account", "aoai-sweden-abc0123456789", "--subscription", "test", "--yes")
	wantStatus(t, r, 0)
	wantCalls(t, r.Calls, []string{
		"az account show --query " + rowsOf("[name, id]") + " --output tsv --subscription test",
		"az cognitiveservices account list-deleted --query " + rowsOf("[].[name, location, id, properties.deletionDate, tags.\"azd-env-name\" || `\"_\"`]") + " --output tsv --subscription test",
		"az cognitiveservices account purge --location swedencentral --resource-group rg-demo --name aoai-sweden-abc0123456789 --subscription test --output none",
		"az cognitiveservices account list-deleted --query " + rowsOf("[].id") + " --output tsv --subscription test",
	})
}

// The tag is of every project of azd, and a policy hands it down.
func TestPurgeOfAnEnvironmentLeavesWhatHasNoNameOfSpillway(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, deleted()...)
	r := d.Script("", "aoai-purge.sh", "--environment", "demo", "--yes")
	wantStatus(t, r, 0)
	wantWords(t, r, "left alone: their-aoai in swedencentral, was in rg-theirs")
}

func TestPurgeFailsWhenAnIdNamesNoGroup(t *testing.T) {
	t.Parallel()
	odd := map[string]any{"name": "aoai-odd-abc0123456789", "location": "eastus2", "id": "/deletedAccounts/aoai-odd-abc0123456789", "properties": map[string]any{}, "tags": map[string]any{"azd-env-name": "demo"}}
	d := NewDesk(t, fake, append([]any{Reply("cognitiveservices account list-deleted", []any{odd})}, deleted()...)...)
	r := d.Script("", "aoai-purge.sh", "--environment", "demo", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "an id that names no group")
	wantCalls(t, r.changing(), nil)
}

func TestPurgeFailsWhenTheAccountIsStillListed(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, append([]any{Reply("cognitiveservices account purge", nil)}, deleted()...)...)
	r := d.Script("", "aoai-purge.sh", "--account", "aoai-east-abc0123456789", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "the account aoai-east-abc0123456789 is still listed as deleted")
	r = d.Script("", "aoai-purge.sh", "--account", "their-aoai", "--yes")
	wantStatus(t, r, 1)
	wantWords(t, r, "the account their-aoai is still listed as deleted")
}
