package scripttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var fake string

func TestMain(m *testing.M) {
	// A hash of the scripts: the cache of test results knows the environment, and does not know files outside of the module.
	_ = os.Getenv("SPILLWAY_SOURCES")
	if filepath.Base(os.Args[0]) == "az" {
		os.Exit(fakeAz())
	}
	var err error
	if fake, err = os.Executable(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// signedIn is an az that knows who it is.
func signedIn() any {
	return Reply("account show", map[string]any{
		"name": "Contoso", "id": "00000000-0000-0000-0000-000000000000", "user": map[string]any{"type": "user", "name": "ann@contoso.com"},
	})
}

func wantStatus(t *testing.T, r Run, status int) {
	t.Helper()
	if r.Status != status {
		t.Fatalf("status %d, want %d\nout: %s\nwords: %s\ncalls: %s", r.Status, status, r.Out, r.Words, strings.Join(r.Calls, "\n"))
	}
}

func wantCalls(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("calls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func wantWords(t *testing.T, r Run, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(r.Words+r.Out, p) {
			t.Errorf("it does not say %q\nout: %s\nwords: %s", p, r.Out, r.Words)
		}
	}
}

func TestEveryScriptExplainsItselfAndRefusesWrongUse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deploy.sh", "smoke.sh", "destroy.sh", "aoai-status.sh", "aoai-purge.sh", "prove.sh"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := NewDesk(t, fake)
			help := d.Script("", name, "--help")
			wantStatus(t, help, 0)
			wantWords(t, help, "usage: scripts/"+name, "--dry-run")
			wantCalls(t, help.Calls, nil)
			wrong := d.Script("", name, "--no-such-option")
			wantStatus(t, wrong, 2)
			wantCalls(t, wrong.Calls, nil)
		})
	}
}

var valued = regexp.MustCompile(`(--[a-z-]+) [A-Z]+`)

// An option whose value was forgotten must not be half a command: without its value, --subscription would be az's default.
func TestAnOptionWithoutItsValueEndsEveryScriptBeforeAnythingIsAsked(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deploy.sh", "smoke.sh", "destroy.sh", "aoai-status.sh", "aoai-purge.sh"} {
		d := NewDesk(t, fake, installation()...)
		tried := map[string]bool{}
		for _, m := range valued.FindAllStringSubmatch(d.Script("", name, "--help").Out, -1) {
			if tried[m[1]] {
				continue
			}
			tried[m[1]] = true
			for _, after := range [][]string{{m[1]}, {m[1], "--yes"}, {m[1], ""}} {
				r := d.Script("", name, append([]string{"--environment", "demo"}, after...)...)
				wantStatus(t, r, 2)
				wantWords(t, r, m[1]+" needs a value")
				wantCalls(t, r.Calls, nil)
			}
		}
		if len(tried) < 2 {
			t.Errorf("%s: its help names %v only", name, tried)
		}
	}
}

func TestADryRunOfTheWholeDeploymentNeedsNoAz(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake)
	d.WithoutAz()
	d.Set("TEAM_A_KEY=" + consumerKey)
	d.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	r := d.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--dry-run")
	wantStatus(t, r, 0)
	wantWords(t, r, "az is not installed", "+ az deployment sub create --name spillway-demo", "+ scripts/package.sh build/spillway.zip")
	broken := NewDesk(t, fake, Refusal("account show", "Please run 'az login' to setup account."))
	r = broken.Script("", "deploy.sh", "--environment", "demo", "--location", "swedencentral", "--dry-run")
	wantStatus(t, r, 0)
	wantWords(t, r, "Please run 'az login'", "+ az deployment sub create --name spillway-demo")
	for _, args := range [][]string{
		{"deploy.sh", "--environment", "demo", "--location", "swedencentral", "--yes"},
		{"deploy.sh", "--environment", "demo", "--publish-only", "--dry-run"},
		{"destroy.sh", "--environment", "demo", "--dry-run"},
		{"aoai-status.sh"},
		{"aoai-purge.sh", "--environment", "demo", "--dry-run"},
		{"smoke.sh", "--environment", "demo", "--dry-run"},
	} {
		r := d.Script("", args[0], args[1:]...)
		wantStatus(t, r, 1)
		wantWords(t, r, "az is not installed: https://aka.ms/azure-cli")
	}
}

func TestNobodySignedInIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, Refusal("account show", "Please run 'az login' to setup account."))
	r := d.Script("", "aoai-status.sh")
	wantStatus(t, r, 1)
	wantWords(t, r, "az login")
	wantCalls(t, r.Calls, []string{"az account show --query " + rowsOf("[name, id]") + " --output tsv"})
}

// az config makes a group and a form of answers the default of every call: no list is shorter for it, and no answer is read as another.
func TestWhatIsAzsDefaultSomewhereChangesNothing(t *testing.T) {
	t.Parallel()
	other := Reply("cognitiveservices account list", []any{}, "--resource-group", "rg-of-another-team")
	for script, args := range map[string][]string{"destroy.sh": {"--environment", "demo", "--purge", "--yes"}, "aoai-status.sh": {"--quota", "--deleted"}} {
		replies := map[string][]any{"destroy.sh": installation(), "aoai-status.sh": append([]any{other}, accounts()...)}[script]
		plain := NewDesk(t, fake, replies...).Script("", script, args...)
		d := NewDesk(t, fake, replies...)
		d.Set("AZURE_CORE_OUTPUT=table")
		d.Set("AZURE_DEFAULTS_GROUP=rg-of-another-team")
		d.Set("AZURE_DEFAULTS_LOCATION=westus")
		r := d.Script("", script, args...)
		wantStatus(t, r, plain.Status)
		wantCalls(t, r.Calls, plain.Calls)
		if r.Out != plain.Out || r.Words != plain.Words {
			t.Errorf("%s says\n%s%s\nwant\n%s%s", script, r.Out, r.Words, plain.Out, plain.Words)
		}
	}
}

// Whoever has a CDPATH may have a folder "scripts" in it, too.
func TestScriptsFindTheirProject(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	if err := os.Mkdir(filepath.Join(elsewhere, "scripts"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "scripts/destroy.sh", "--help")
	cmd.Dir, cmd.Env = Root, append(os.Environ(), "CDPATH="+elsewhere)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "destroy.sh deletes an installation") {
		t.Errorf("%v: %s", err, out)
	}
}

// az of Windows ends its lines by a carriage return, for a bash beside it as well.
func TestAzOfWindowsIsReadAsAnyOther(t *testing.T) {
	t.Parallel()
	for script, args := range map[string][]string{
		"destroy.sh":     {"--environment", "demo", "--purge", "--yes"},
		"aoai-status.sh": {"--quota", "--deleted"},
		"deploy.sh":      {"--environment", "demo", "--publish-only", "--zip", "/dev/null", "--no-smoke", "--yes"},
	} {
		replies := map[string][]any{"destroy.sh": installation(), "aoai-status.sh": accounts(), "deploy.sh": deployed("http://127.0.0.1:1", "premium", 2)}[script]
		args = slices.Clone(args)
		plain, windows := NewDesk(t, fake, replies...), NewDesk(t, fake, replies...)
		if script == "deploy.sh" {
			args[slices.Index(args, "/dev/null")] = plain.File("z.zip", "zip")
		}
		windows.Set("FAKE_AZ_HOW=as on Windows")
		want, got := plain.Script("", script, args...), windows.Script("", script, args...)
		wantStatus(t, got, want.Status)
		wantCalls(t, got.Calls, want.Calls)
		if got.Out != want.Out || got.Words != want.Words {
			t.Errorf("%s says\n%q%q\nwant\n%q%q", script, got.Out, got.Words, want.Out, want.Words)
		}
	}
}

// What comes with macOS is told what to do, before anything else is read of the scripts.
func TestAnOldBashIsRefused(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("bash", "-c", "source scripts/lib.sh; BASH_VERSION='3.2.57(1)-release'; source scripts/azure.sh; echo went on")
	cmd.Dir = Root
	out, err := cmd.CombinedOutput()
	if err == nil || string(out) != "error: bash 5 or newer is needed, this is 3.2.57(1)-release; on macOS: brew install bash\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// The portal's name of a region is compared with nothing that the templates know.
func TestARegionIsNamedAsAzNamesIt(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, installation()...)
	for _, args := range [][]string{
		{"deploy.sh", "--environment", "demo", "--location", "Sweden Central", "--yes"},
		{"prove.sh", "--environment", "demo", "--location", "SwedenCentral", "--yes"},
		{"aoai-purge.sh", "--environment", "demo", "--location", "sweden central", "--yes"},
	} {
		r := d.Script("", args[0], args[1:]...)
		wantStatus(t, r, 2)
		wantWords(t, r, "--location takes the name of a region, such as swedencentral")
		wantCalls(t, r.Calls, nil)
	}
}
