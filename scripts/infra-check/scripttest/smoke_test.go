package scripttest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func smoke(t *testing.T, d *Double, args ...string) Run {
	t.Helper()
	desk := NewDesk(t, fake)
	desk.Set("SPILLWAY_KEY=" + consumerKey)
	desk.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	all := append([]string{"--address", d.URL, "--model", "gpt-4o", "--backend", "first", "--calls", "2"}, args...)
	return desk.Script("", "smoke.sh", all...)
}

func TestSmokeCallsDrainsCallsAndRestores(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	r := smoke(t, d)
	wantStatus(t, r, 0)
	if got := d.Journal(); got != "first first drain second second restore" {
		t.Errorf("it did: %s", got)
	}
	wantWords(t, r, "served by: first x2", "served by: second x2", "restored first/gpt-4o")
	if strings.Contains(r.Words+r.Out, consumerKey) || strings.Contains(r.Words+r.Out, operatorKey) {
		t.Error("it prints the key")
	}
}

func TestSmokeWaitsUntilTheAppIsReady(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Late = 2
	wantStatus(t, smoke(t, d, "--wait", "5"), 0)
	d.Late = 100
	r := smoke(t, d, "--wait", "1")
	wantStatus(t, r, 1)
	wantWords(t, r, "/health/ready is not 200 after 1 s")
}

func TestSmokeFailsAndRestoresWhenCallersNotice(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Broken = true
	r := smoke(t, d)
	wantStatus(t, r, 1)
	wantWords(t, r, "a caller got 503", "restored first/gpt-4o")
	if got := d.Journal(); !strings.HasSuffix(got, "drain restore") {
		t.Errorf("it left the backend drained: %s", got)
	}
}

func TestSmokeFailsWhenADrainedBackendServes(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Ignores = true
	r := smoke(t, d)
	wantStatus(t, r, 1)
	wantWords(t, r, "first is drained and served a request")
}

func TestSmokeSeesWhoServedInTheOperatorsRecordToo(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Silent = true
	r := smoke(t, d)
	wantStatus(t, r, 0)
	wantWords(t, r, "served by: first x2", "served by: second x2")
}

func TestSmokeDrainsNothingWhenItCannotSeeWhoServed(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Silent, d.Blind = true, true
	r := smoke(t, d)
	wantStatus(t, r, 1)
	wantWords(t, r, "SPILLWAY_EXPOSE")
	if got := d.Journal(); got != "first" {
		t.Errorf("it did: %s", got)
	}
}

func TestSmokeLeavesAnOperatorsDrainAlone(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.drained["first/gpt-4o"] = "ann"
	r := smoke(t, d)
	wantStatus(t, r, 1)
	wantWords(t, r, "first served none of 8 calls", "it is drained")
	d.Ignores = true // another instance has not read of the drain yet
	r = smoke(t, d)
	wantStatus(t, r, 1)
	wantWords(t, r, "first/gpt-4o was drained by somebody else")
	if got := d.Journal(); strings.Contains(got, "drain") || strings.Contains(got, "restore") || d.drained["first/gpt-4o"] != "ann" {
		t.Errorf("it did: %s", got)
	}
}

func TestSmokeLeavesADrainThatAnOperatorOrderedMeanwhile(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Drainer = func(d *Double) { d.drained["first/gpt-4o"] = "ann" }
	r := smoke(t, d)
	wantStatus(t, r, 0)
	wantWords(t, r, "first/gpt-4o has been drained by ann meanwhile")
	if d.drained["first/gpt-4o"] != "ann" {
		t.Errorf("it did: %s", d.Journal())
	}
}

func TestSmokeChoosesModelAndBackendItself(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	desk := NewDesk(t, fake)
	desk.Set("SPILLWAY_KEY=" + consumerKey)
	desk.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	r := desk.Script("", "smoke.sh", "--address", d.URL+"//", "--calls", "2")
	wantStatus(t, r, 0)
	wantWords(t, r, "the installation serves gpt-4o without first")

	// Nothing is drained where it would leave callers without a backend.
	d.Lone = true
	before := d.Journal()
	r = desk.Script("", "smoke.sh", "--address", d.URL, "--calls", "2")
	wantStatus(t, r, 1)
	wantWords(t, r, "nothing can fail over")
	if got := d.Journal(); got != before {
		t.Errorf("it did: %s", got)
	}
}

// The package of before may still run: it would pass as well.
func TestSmokeWaitsForTheVersionThatWasPublished(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	r := smoke(t, d, "--version", "1.2.3")
	wantStatus(t, r, 0)
	wantWords(t, r, "the installation serves gpt-4o without first, as version 1.2.3")
	before := d.Journal()
	r = smoke(t, d, "--version", "1.2", "--wait", "1")
	wantStatus(t, r, 1)
	wantWords(t, r, "the version 1.2.3 answers after 1 s, not 1.2")
	if got := d.Journal(); got != before {
		t.Errorf("it did: %s", got)
	}
}

// A name is part of another one: it is no other backend of the model that is drained, nor one whose state counts.
func TestSmokeComparesWholeNames(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Others = `{"name":"the-first","slot":"the-first/gpt-4o","condition":"drained","phase":"closed"},{"name":"eu","slot":"eu/my/gpt-4o","condition":"available","phase":"closed"},`
	r := smoke(t, d)
	wantStatus(t, r, 0)
	wantWords(t, r, "restored first/gpt-4o")
	d.Lone = true
	before := d.Journal()
	r = smoke(t, d)
	wantStatus(t, r, 1)
	wantWords(t, r, "no other backend of gpt-4o accepts requests")
	if got := d.Journal(); got != before+" first first" {
		t.Errorf("it did: %s", got)
	}
}

func TestSmokeRestoresWhenItIsStopped(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	stopped := make(chan struct{})
	d.Drainer = func(*Double) { close(stopped) }
	desk := NewDesk(t, fake)
	desk.Set("SPILLWAY_KEY=" + consumerKey)
	desk.Set("SPILLWAY_OPERATOR_KEY=" + operatorKey)
	cmd := exec.Command("bash", filepath.Join(Root, "scripts", "smoke.sh"), "--address", d.URL, "--model", "gpt-4o", "--calls", "1")
	cmd.Env = desk.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-stopped:
		// Nor does a second one cut the restore off.
		d.mu.Lock()
		d.Reader = func() { _ = cmd.Process.Signal(syscall.SIGTERM) }
		d.mu.Unlock()
		_ = cmd.Process.Signal(syscall.SIGTERM)
	case err := <-ended:
		t.Fatalf("it ended before it drained: %v", err)
	}
	if err := <-ended; cmd.ProcessState.ExitCode() != 143 {
		t.Errorf("it ended with %v", err)
	}
	if got := d.Journal(); !strings.HasSuffix(got, "drain restore") {
		t.Errorf("it left the backend drained: %s", got)
	}
}

func TestSmokeRefusesNamesThatNothingHas(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	desk := NewDesk(t, fake)
	for _, args := range [][]string{
		{"--environment", "demo'"},
		{"--environment", `a"b`},
		{"--address", d.URL, "--model", `gpt"`},
		{"--address", d.URL, "--backend", "a b"},
		{"--address", d.URL, "--calls", "0"},
		{"--address", d.URL, "--wait", "x"},
		{"--address", d.URL, "--wait", "08"}, // an octal number to bash
	} {
		r := desk.Script("", "smoke.sh", args...)
		wantStatus(t, r, 2)
		wantCalls(t, r.Calls, nil)
	}
}

func TestSmokeWithoutKeysSendsNothing(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	desk := NewDesk(t, fake)
	r := desk.Script("", "smoke.sh", "--address", d.URL, "--model", "gpt-4o", "--backend", "first")
	wantStatus(t, r, 1)
	wantWords(t, r, "SPILLWAY_KEY")
	desk.Set("SPILLWAY_KEY=" + consumerKey)
	r = desk.Script("", "smoke.sh", "--address", d.URL, "--model", "gpt-4o", "--backend", "first")
	wantStatus(t, r, 1)
	wantWords(t, r, "SPILLWAY_OPERATOR_KEY")
	if d.Journal() != "" {
		t.Errorf("it did: %s", d.Journal())
	}
}

func TestSmokeWithAWrongOperatorsKeyChangesNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	desk := NewDesk(t, fake)
	desk.Set("SPILLWAY_KEY=" + consumerKey)
	desk.Set("SPILLWAY_OPERATOR_KEY=wrong")
	r := desk.Script("", "smoke.sh", "--address", d.URL, "--model", "gpt-4o", "--backend", "first", "--calls", "1")
	wantStatus(t, r, 1)
	wantWords(t, r, "the operators' API was refused")
	if d.Journal() != "" {
		t.Errorf("it did: %s", d.Journal())
	}
}

func TestSmokeDryRunSendsNothing(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	r := smoke(t, d, "--dry-run")
	wantStatus(t, r, 0)
	wantWords(t, r, "+ POST "+d.URL+"/ops/api/backends/first/gpt-4o/drain", "+ POST "+d.URL+"/ops/api/backends/first/gpt-4o/restore")
	if d.Journal() != "" {
		t.Errorf("it did: %s", d.Journal())
	}
}
