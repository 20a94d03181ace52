package admin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/tablestore/memory"
	"spillway/handler/internal/telemetry/condition"
)

// refusing is a fleet of two instances, of which the first finds these refusals.
func refusing(t *testing.T, now time.Time, refusals ...proxy.OpenedOperation) (first, second *Handler, w *fakeFleet) {
	t.Helper()
	store, at := new(memory.Store), func() time.Time { return now }
	w, first = sharing(store, "a", at)
	first.cfg.Refusals = func(time.Time) []proxy.OpenedOperation { return refusals }
	_, second = sharing(store, "b", at)
	return first, second, w
}

func share(t *testing.T, from, to *Handler, now time.Time) {
	t.Helper()
	if err := writeTraffic(t.Context(), from.cfg.Traffic, from.trafficKey, from.ownTraffic(now)); err != nil {
		t.Fatal(err)
	}
	to.readTraffic(t.Context())
}

// A backend that refuses an operation is no healthy one, on whichever instance the
// page is looked at.
func TestRefusedOperationIsShown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	gone := proxy.OpenedOperation{Slot: 0, Operation: "chat", Reason: "deployment not found", Since: now.Add(-time.Minute), Until: now.Add(8 * time.Second)}
	first, second, w := refusing(t, now, gone)
	for _, o := range []*Handler{first, second} {
		share(t, first, second, now)
		s := o.currentStatus()
		p := &s.Pools[0]
		b := &p.Groups[0].Backends[0]
		if b.State != Refusing || b.Label != "refuses chat (deployment not found)" || b.LeftMS != 8000 || b.Since == nil || !b.Since.Equal(gone.Since) || b.Detail != "found by a" {
			t.Errorf("%s: %s, %q, %q, %d ms, since %v", o.cfg.Instance, b.State, b.Label, b.Detail, b.LeftMS, b.Since)
		}
		if s.Headline.Text != "gpt-4o spills over" || p.Summary != "priority 2 serves: ptu-uksouth: refuses chat (deployment not found)" || p.Serving != 2 {
			t.Errorf("%s: %q, %q, %d serve", o.cfg.Instance, s.Headline.Text, p.Summary, p.Serving)
		}
	}
	p := &w.cfg.Pools[0] // it serves other operations
	w.traffic(3, p, func(int) []proxy.Attempt { return []proxy.Attempt{served(&p.Backends[0], time.Second, -1)} })
	if s := first.currentStatus(); s.Headline.Text != "gpt-4o is degraded" || s.Pools[0].Serving != 3 {
		t.Errorf("while others are served: %q, %d serve", s.Headline.Text, s.Pools[0].Serving)
	}
	read, err := ReadShared(t.Context(), first.cfg.Traffic, now)
	if err != nil || len(read.Refusals) != 1 || read.Refusals[0].Slot != "ptu-uksouth/gpt-4o" || read.Refusals[0].Instances[0] != "a" {
		t.Errorf("%v, read %+v", err, read.Refusals)
	}
}

func TestWhatEveryBackendRefusesIsAnOutage(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	first, second, w := refusing(t, now, proxy.OpenedOperation{Model: "gpt-4o", Operation: "chat", Reason: "401", Since: now, Until: now.Add(time.Minute)})
	share(t, first, second, now)
	for _, o := range []*Handler{first, second} {
		if s := o.currentStatus(); s.Headline.Level != LevelCritical || s.Headline.Text != "gpt-4o is down" || s.Pools[0].Summary != "every backend refuses chat (401)" || s.Pools[0].Since == nil {
			t.Errorf("%s: %+v, %q", o.cfg.Instance, s.Headline, s.Pools[0].Summary)
		}
	}
	p := &w.cfg.Pools[0]
	w.traffic(3, p, func(int) []proxy.Attempt { return []proxy.Attempt{served(&p.Backends[0], time.Second, -1)} })
	if s := first.currentStatus(); s.Headline.Text != "gpt-4o is degraded" {
		t.Errorf("while others are served: %q", s.Headline.Text)
	}
}

// An own circuit binds one instance; the page of every other says so.
func TestOwnCircuitIsShownByEveryInstance(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	first, second, w := refusing(t, now)
	w.health[0] = health.Health{State: health.Open, Own: true, Until: now.Add(9 * time.Second), FailedAt: now.Add(-time.Second), Reason: "503"}
	share(t, first, second, now)
	if b := &first.currentStatus().Pools[0].Groups[0].Backends[0]; b.State != Open || b.Label != "circuit open on this instance alone" {
		t.Errorf("a: %s, %q", b.State, b.Label)
	}
	if b := &second.currentStatus().Pools[0].Groups[0].Backends[0]; b.State != Refusing || b.Label != "open on a alone (503)" {
		t.Errorf("b: %s, %q", b.State, b.Label)
	}
}

// API versions are text of callers: however many they invent, the page stays small.
func TestRefusalsAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var many []proxy.OpenedOperation
	for i := range 1000 {
		many = append(many, proxy.OpenedOperation{Slot: 0, Operation: "chat", APIVersion: strings.Repeat("x", i%60), Consumer: "team-a", Reason: "operation not supported", Since: now, Until: now})
	}
	first, _, _ := refusing(t, now, many...)
	if b := &first.currentStatus().Pools[0].Groups[0].Backends[0]; len(b.Refuses) != 60 || len(b.Label) > 400 || !strings.Contains(b.Label, "and 57 more") {
		t.Errorf("%d refusals, %q", len(b.Refuses), b.Label)
	}
}

func TestRefusalIsAnEvent(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	first, _, _ := refusing(t, now)
	first.cfg.Recent.OperationRefused(&proxy.OpenedOperation{Slot: 1, Operation: "chat", Consumer: "team-a", Reason: "403"})
	if e := first.timeline(now); len(e) != 1 || e[0].Kind != OperationRefused || e[0].Subject != "payg-sweden/gpt-4o" || e[0].Text != "refuses chat of team-a (403)" {
		t.Errorf("%+v", e)
	}
}

// A refusal of every backend is handed on to the caller, and nobody served it.
func TestRefusedRequestsAreNotServed(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	first, _, w := refusing(t, now)
	p := &w.cfg.Pools[0]
	w.finish(fakeRequest{id: "req", pool: p, status: 404, took: time.Second, attempts: []proxy.Attempt{{
		Backend: &p.Backends[0], Status: 404, Duration: time.Second, Outcome: health.Outcome{Class: health.Misconfigured, Reason: proxy.NotDeployed},
	}}})
	s := first.currentStatus()
	if m := s.Pools[0].Minute; m.Served != 0 || m.Failed != 1 {
		t.Errorf("%+v", m)
	}
	if h := first.history("", now); sum(h.Plots["failed"]) != 1 || sum(h.Plots["requests"]) != 1 {
		t.Errorf("%v of %v failed", h.Plots["failed"], h.Plots["requests"])
	}
}

// The parts that fail are in the headline, whichever instance they are of.
func TestConditionsOfAllInstancesAreShown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	first, second, _ := refusing(t, now)
	first.cfg.Conditions = condition.New(
		condition.Part{Name: "usage", Check: func(time.Time) (condition.State, error) { return condition.Degraded, errors.New("x") }},
		condition.Part{Name: "entra-keys", Works: "keys", Fix: "check", Check: func(time.Time) (condition.State, error) { return condition.Failing, errors.New("no route") }},
		condition.Part{Name: "state-read", Check: func(time.Time) (condition.State, error) { return condition.Failing, errors.New("y") }},
	)
	first.cfg.Conditions.Check(now)
	share(t, first, second, now)
	for _, o := range []*Handler{first, second} {
		s := o.currentStatus()
		if s.Headline.Text != "entra-keys: failing; usage: degraded" || s.Headline.Level != LevelWarning || len(s.Conditions) != 3 || s.Conditions[0].Instance != "a" || s.Conditions[0].Why != "no route" {
			t.Errorf("%s: %+v, %+v", o.cfg.Instance, s.Headline, s.Conditions)
		}
	}
	if read, err := ReadShared(t.Context(), first.cfg.Traffic, now.Add(time.Hour)); err != nil || len(read.Conditions)+len(read.Refusals) > 0 {
		t.Errorf("of an instance that has not written for an hour: %+v, %v", read, err)
	}
}

// The last read of the table may be old: the page of an instance that was not looked
// at for a while showed a circuit that had long closed.
func TestFleetsCircuitIsThatOfTheSnapshot(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	later := now.Add(time.Second)
	for name, c := range map[string]struct {
		health      health.Health
		read        health.CircuitState
		unreachable bool
		want        health.CircuitState
	}{
		"closed since the read":         {health.Health{}, health.Open, false, health.Closed},
		"opened since the read":         {health.Health{State: health.Open, Until: later}, health.Closed, false, health.Open},
		"an own circuit":                {health.Health{State: health.Open, Own: true, Until: later}, health.Open, false, health.Closed},
		"served in spite of it":         {health.Health{Until: later}, health.HalfOpen, false, health.HalfOpen},
		"served in spite of a new one":  {health.Health{Until: later}, health.Closed, false, health.Open},
		"the table is unreachable":      {health.Health{State: health.Open, Own: true, Until: later}, health.Open, true, health.Open},
		"half-open since the last read": {health.Health{State: health.HalfOpen, Until: later}, health.Open, false, health.HalfOpen},
	} {
		v := statusBuilder{now: now, unreachable: c.unreachable}
		if got := v.fleetPhase(&c.health, c.read); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A circuit that binds one instance alone is shared as soon as it is noticed, not with
// the traffic of the next 15 seconds: it may be over by then.
func TestOwnCircuitIsSharedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		w, o := sharing(store, "a", time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go o.shareTraffic(ctx)
		w.health[0] = health.Health{Own: true, State: health.Open, Until: time.Now().Add(10 * time.Second), Reason: "eof"}
		w.cfg.Recent.OwnCircuitChanged(0, health.Closed, &w.health[0])
		synctest.Wait()
		shared, err := ReadShared(t.Context(), store, time.Now())
		if err != nil || len(shared.Refusals) != 1 || shared.Refusals[0].String() != "open on a alone (eof)" {
			t.Errorf("%v, %+v", err, shared.Refusals)
		}
	})
}
