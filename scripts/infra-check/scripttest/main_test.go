package scripttest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var fake string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fakeaz")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if fake, err = build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// signedIn is an az that knows who it is.
func signedIn() any {
	return Reply("account show", map[string]any{"name": "Contoso", "id": "00000000-0000-0000-0000-000000000000"})
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
	for _, name := range []string{"deploy.sh", "smoke.sh", "destroy.sh", "aoai-status.sh", "aoai-purge.sh"} {
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

func TestNobodySignedInIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, Refusal("account show", "Please run 'az login' to setup account."))
	r := d.Script("", "aoai-status.sh")
	wantStatus(t, r, 1)
	wantWords(t, r, "az login")
	wantCalls(t, r.Calls, []string{"az account show --query [name, id] --output tsv"})
}
