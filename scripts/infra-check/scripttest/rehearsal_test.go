package scripttest

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rehearsed is an az that remembers: it answers as Azure does before, during and after the life of an installation. The names of outputs
// come back in camel case, an account that was deleted keeps its name until it is purged, and somebody else's deleted account is there too.
func rehearsed(address string) []any {
	var show map[string]any
	for _, r := range deployed(address, "flex", 1) {
		if r, ok := r.(map[string]any); ok && strings.Join(r["words"].([]string), " ") == "deployment sub show" {
			show = r
		}
	}
	show["camel"] = true
	values := show["json"].(map[string]any)["properties"].(map[string]any)["outputs"].(map[string]any)
	values["SPILLWAY_CONFIG"].(map[string]any)["value"].(map[string]any)["consumers"] = []any{map[string]any{"keySetting": "TEAM_A_KEY"}}
	taken := Refusal("deployment sub create", "(FlagMustBeSetForRestore) An existing resource with ID '/subscriptions/0/.../aoai-sweden-tok0123456789' has been soft-deleted.")
	group := []any{map[string]any{"name": "rg-demo", "tags": map[string]any{"azd-env-name": "demo"}}}
	own := account("aoai-sweden-tok0123456789", "swedencentral", "demo")
	theirs := map[string]any{
		"name": "aoai-theirs", "location": "swedencentral", "properties": map[string]any{"deletionDate": "2026-11-20T10:00:00Z"}, "tags": nil,
		"id": "/subscriptions/0/providers/Microsoft.CognitiveServices/locations/swedencentral/resourceGroups/rg-demo/deletedAccounts/aoai-theirs",
	}
	gone := map[string]any{
		"name": "aoai-sweden-tok0123456789", "location": "swedencentral", "properties": theirs["properties"], "tags": own["tags"],
		"id": strings.Replace(theirs["id"].(string), "aoai-theirs", "aoai-sweden-tok0123456789", 1),
	}
	return append([]any{
		signedIn(),
		Reply("provider register", nil),
		Marked(taken, "?soft-deleted"),
		Marked(Reply("deployment sub create", nil), "+deployed"),
		Marked(show, "?deployed"), Marked(Refusal("deployment sub show", "(DeploymentNotFound) Deployment 'spillway-demo' could not be found."), "!deployed"),
		Reply("deployment operation sub list", []any{map[string]any{"properties": map[string]any{
			"provisioningState": "Failed", "targetResource": map[string]any{"resourceName": "openai-sweden"},
			"statusMessage": map[string]any{"error": map[string]any{"code": "FlagMustBeSetForRestore"}},
		}}}),
		Reply("functionapp deployment source config-zip", nil),
		Marked(Reply("group list", group), "?deployed"), Reply("group list", []any{}),
		Marked(Reply("group exists", true), "?deployed"), Reply("group exists", false),
		Reply("resource list", append(made(""), own)),
		Marked(Reply("cognitiveservices account list", []any{own}), "?deployed"), Reply("cognitiveservices account list", []any{}),
		Marked(Reply("group delete", nil), "-deployed", "+soft-deleted"),
		Marked(Reply("cognitiveservices account list-deleted", []any{gone, theirs}), "?soft-deleted"),
		Reply("cognitiveservices account list-deleted", []any{theirs}),
		Marked(Reply("cognitiveservices account purge", nil, "--name", "aoai-sweden-tok0123456789"), "-soft-deleted"),
		Marked(Reply("deployment sub list", []any{map[string]any{"name": "spillway-demo"}}), "?deployed"),
		Reply("deployment sub list", []any{}),
		Reply("deployment sub delete", nil),
	}, told()...)
}

var update = flag.Bool("update", false, "write the transcript of the rehearsal anew")

// The life of an installation, with the commands of the README: nothing of it goes wrong silently, and what is not ours stays.
// testdata/rehearsal.txt is the transcript: go test -run Rehearsal -update writes it.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	spillway := NewDouble(t)
	d := NewDesk(t, fake, rehearsed(spillway.URL)...)
	d.Set("TEAM_A_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	first, second := d.File("1.0.zip", "one"), d.File("1.1.zip", "two")
	var transcript strings.Builder
	told := strings.NewReplacer(d.dir+"/", "", spillway.URL, "https://func-x.azurewebsites.net")
	step := func(status int, script string, args ...string) Run {
		t.Helper()
		r := d.Script("", script, args...)
		fmt.Fprintf(&transcript, "$ scripts/%s %s\n%s%sstatus %d\n\n", script, told.Replace(strings.Join(args, " ")), told.Replace(r.Words), r.Out, r.Status)
		wantStatus(t, r, status)
		return r
	}
	published := func(zip string) string {
		return fmt.Sprintf("az functionapp deployment source config-zip --resource-group rg-demo --name func-x --src %s --output none", zip)
	}
	all := []string{"--environment", "demo", "--location", "swedencentral", "--yes", "--zip"}

	r := step(0, "deploy.sh", append(all, first)...)
	wantWords(t, r, "served by: first x5", "served by: second x5", "restored first/gpt-4o", "the installation serves gpt-4o without first")
	step(0, "smoke.sh", "--environment", "demo", "--calls", "2")
	// A change, and back: the package that ran before is published again, without touching the resources.
	r = step(0, "deploy.sh", append(all, second)...)
	wantCalls(t, r.changing()[len(r.changing())-1:], []string{published(second)})
	r = step(0, "deploy.sh", "--environment", "demo", "--publish-only", "--yes", "--zip", first)
	wantCalls(t, r.changing(), []string{published(first)})
	wantWords(t, r, "the installation serves gpt-4o without first")

	// What a group holds cannot be read: nothing is deleted.
	plan := d.Script("", "destroy.sh", "--environment", "demo", "--dry-run")
	list := slices.IndexFunc(plan.Calls, func(call string) bool { return strings.Contains(call, "resource list") })
	d.Set("FAKE_AZ_FAIL=" + strconv.Itoa(list+1))
	for _, how := range []string{"fails after its answer", "prints nothing"} {
		d.Set("FAKE_AZ_HOW=" + how)
		fmt.Fprintf(&transcript, "(az resource list %s)\n", how)
		wantCalls(t, step(1, "destroy.sh", "--environment", "demo", "--yes").changing(), nil)
	}
	d.Set("FAKE_AZ_FAIL=")

	// Destroyed without a purge, its names are held: a deployment fails, and says what it is.
	step(0, "destroy.sh", "--environment", "demo", "--yes")
	r = step(1, "deploy.sh", append(all, first)...)
	wantWords(t, r, "FlagMustBeSetForRestore", "scripts/aoai-purge.sh")
	r = step(0, "aoai-purge.sh", "--environment", "demo", "--yes")
	wantCalls(t, r.changing(), []string{"az cognitiveservices account purge --location swedencentral --resource-group rg-demo --name aoai-sweden-tok0123456789 --output none"})

	// Destroyed with a purge, it can be deployed again at once.
	step(0, "deploy.sh", append(all, first)...)
	r = step(0, "destroy.sh", "--environment", "demo", "--purge", "--yes")
	wantWords(t, r, "the account aoai-sweden-tok0123456789 in swedencentral will be purged")
	step(0, "deploy.sh", append(all, first)...)
	step(0, "destroy.sh", "--environment", "demo", "--purge", "--yes")
	r = step(1, "destroy.sh", "--environment", "demo", "--yes")
	wantWords(t, r, "no resource group has the tag azd-env-name=demo")
	r = step(0, "aoai-status.sh", "--environment", "demo", "--deleted")
	wantWords(t, r, "aoai-theirs")
	const file = "testdata/rehearsal.txt"
	if *update {
		if err := os.WriteFile(file, []byte(transcript.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != transcript.String() {
		t.Errorf("%s is not the transcript (go test -run Rehearsal -update writes it): %v\n%s", file, err, transcript.String())
	}
}
