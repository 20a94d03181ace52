package scripttest

import (
	"strings"
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
	wantWords(t, r, "served by: first x2", "served by: second x2", "restored first")
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
	wantWords(t, r, "a caller got 503", "restored first")
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

func TestSmokeSaysWhenItCannotSeeWhoServed(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	d.Silent = true
	r := smoke(t, d)
	wantStatus(t, r, 0)
	wantWords(t, r, "SPILLWAY_EXPOSE")
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
	wantWords(t, r, "draining was refused")
}

func TestSmokeDryRunSendsNothing(t *testing.T) {
	t.Parallel()
	d := NewDouble(t)
	r := smoke(t, d, "--dry-run")
	wantStatus(t, r, 0)
	wantWords(t, r, "+ POST "+d.URL+"/ops/api/backends/first/drain", "+ POST "+d.URL+"/ops/api/backends/first/restore")
	if d.Journal() != "" {
		t.Errorf("it did: %s", d.Journal())
	}
}
