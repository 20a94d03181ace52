package admin

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore/memory"
)

// instance is a replica with its handler.
type instance struct {
	*fleet.Replica
	page *Handler
}

// fleetOf runs instances that share one table, until the test ends.
func fleetOf(t *testing.T, names ...string) []instance {
	t.Helper()
	store := new(memory.Store)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	var all []instance
	for _, name := range names {
		w := newFakeFleet(time.Now, []string{"gpt-4o"}, threeBackends())
		cfg := w.cfg
		k := fleet.New(fleet.Config{Store: store, Slots: cfg.Slots, Instance: name, Refresh: cfg.Refresh, OnChange: cfg.Recent.Changed})
		cfg.Instance, cfg.Replica = name, k
		o := New(cfg)
		running.Go(func() { k.Run(ctx) })
		running.Go(func() { o.Run(ctx) })
		all = append(all, instance{k, o})
	}
	return all
}

// The status shows a change of another instance within one refresh, even when the
// answering instance has no traffic.
func TestStatusFollowsOtherInstancesWithinOneRefresh(t *testing.T) {
	changes := map[string]struct {
		happens func(t *testing.T, a instance)
		want    BackendState
	}{
		"a drain": {func(t *testing.T, a instance) {
			t.Helper()
			if err := a.Drain(t.Context(), "ptu-uksouth", "anna"); err != nil {
				t.Fatal(err)
			}
		}, Drained},
		"a throttle": {func(t *testing.T, a instance) {
			t.Helper()
			attempt(t, a, health.Outcome{Class: health.Throttled, Wait: time.Minute, Limit: health.LimitProvisioned, Reason: "429 provisioned", Signals: health.NoSignals()})
		}, Throttled},
		"a trip": {func(t *testing.T, a instance) {
			t.Helper()
			for range 5 {
				attempt(t, a, health.Outcome{Class: health.Failed, Reason: "503", Signals: health.NoSignals()})
			}
		}, Open},
	}
	for name, n := range changes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := fleetOf(t, "a", "b")
				for range 20 { // b's status is requested; a has traffic
					all[0].Snapshot()
					all[1].page.currentStatus()
					time.Sleep(time.Second / 2)
				}
				began := time.Now()
				n.happens(t, all[0])
				for all[1].page.currentStatus().Pools[0].Groups[0].Backends[0].State != n.want {
					if time.Since(began) > time.Minute {
						t.Fatal("the page never followed")
					}
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(began); took > 700*time.Millisecond {
					t.Errorf("the page followed after %v, want one refresh of 500 ms", took)
				}
				if got := all[1].page.currentStatus().Changes; len(got) == 0 || got[0].Slot != "ptu-uksouth/gpt-4o" || got[0].By != "a" {
					t.Errorf("changes: %+v", got)
				}
			})
		})
	}
}

func attempt(t *testing.T, a instance, o health.Outcome) {
	t.Helper()
	ticket, ok := a.Acquire(0, "")
	if !ok {
		t.Fatal("the attempt is not admitted")
	}
	a.ReportOutcome(ticket, o)
}
