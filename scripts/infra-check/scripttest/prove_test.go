package scripttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestProveRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake)
	for _, args := range [][]string{
		{},
		{"--local", "--environment", "demo", "--location", "x"},
		{"--address", "http://127.0.0.1:1", "--environment", "demo"},
		{"--environment", "demo"},
		{"--environment", "de'mo", "--location", "x"},
		{"--local", "--model", `a"b`},
		{"--local", "--load", "many"},
	} {
		r := d.Script("", "prove.sh", args...)
		wantStatus(t, r, 2)
		wantCalls(t, r.Calls, nil)
	}
}

// What prove.sh destroys at its end is what it has deployed.
func TestProveLeavesAnInstallationThatIsThereAlready(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	r := d.Script("", "prove.sh", "--environment", "demo", "--location", "x", "--yes", "--transcript", filepath.Join(d.dir, "transcript.txt"))
	wantStatus(t, r, 1)
	wantWords(t, r, "the installation demo is there already")
	wantCalls(t, r.changing(), nil)
}

// Whether an installation is there decides what is destroyed at the end: without an answer nothing is deployed.
func TestProveStopsWhenItCannotSeeWhetherAnInstallationIsThere(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, append([]any{Refusal("group list", "(ServiceUnavailable)")}, installation()...)...)
	r := d.Script("", "prove.sh", "--environment", "demo", "--location", "x", "--yes", "--transcript", filepath.Join(d.dir, "transcript.txt"))
	wantStatus(t, r, 1)
	wantWords(t, r, "this could not be read")
	wantCalls(t, r.changing(), nil)
}

// failingDeployment is an az with which a deployment is made, and its package is refused.
func failingDeployment() []any {
	replies := append([]any{
		Marked(Reply("group list", []any{}), "!deployed"), Reply("provider register", nil),
		Marked(Reply("deployment sub create", nil), "+deployed"), Refusal("functionapp deployment source config-zip", "the site is starting"),
	}, deployed("http://127.0.0.1:1", "flex", 1)...)
	return append(replies, installation()...)
}

func TestProveCleansUpAfterADeploymentThatFailed(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, failingDeployment()...)
	d.Set("TEAM_A_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	d.Set("GO=true") // nothing is packaged
	transcript := filepath.Join(d.dir, "transcript.txt")
	args := []string{"--environment", "demo", "--location", "x", "--yes", "--transcript", transcript}
	r := d.Script("", "prove.sh", args...)
	wantStatus(t, r, 1)
	wantWords(t, r, "it was not deployed")
	gone := []string{
		"az group delete --name rg-demo --yes --output none", "az group delete --name rg-demo-2 --yes --output none", purgeOwnSweden, purgeOwnEast, "az deployment sub delete --name spillway-demo --output none",
	}
	calls := r.changing()
	wantCalls(t, calls[len(calls)-5:], gone)

	// Nor does it leave anything, or the transcript half, when nobody reads on what it prints.
	for _, left := range []string{"state", "calls.log", "transcript.txt"} {
		if err := os.Remove(filepath.Join(d.dir, left)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("bash", append([]string{"-c", `"$@" 2>&1 | head -n 1`, "-", filepath.Join(Root, "scripts", "prove.sh")}, args...)...)
	cmd.Env = d.env
	_ = cmd.Run() // its status is that of head
	b, err := os.ReadFile(transcript)
	if err != nil || !strings.Contains(string(b), "it was not deployed") || !strings.Contains(string(b), "\ndone\n") {
		t.Errorf("%v: %s", err, b)
	}
	calls = Run{Calls: d.calls()}.changing()
	wantCalls(t, calls[max(0, len(calls)-5):], gone)
}

// Both backends have a quota of 50,000 tokens: the load that gets one throttled must leave the other one something.
func TestProveThrottlesOneBackendAndNotAll(t *testing.T) {
	t.Parallel()
	spillway := NewDouble(t)
	spillway.Quota, spillway.Shares = 50_000, 5
	d := NewDesk(t, fake)
	d.Set("SPILLWAY_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	r := d.Script("", "prove.sh", "--address", spillway.URL, "--model", "gpt-4o", "--transcript", filepath.Join(d.dir, "transcript.txt"))
	wantStatus(t, r, 0)
	wantWords(t, r, "first is throttled", "200, served by second", "proved: served, throttled, spilled over without an error, shared again")
}
