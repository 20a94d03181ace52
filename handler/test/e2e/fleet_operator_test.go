package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/health"
)

// An operator's command applies to every instance within the same bound, and
// the list shows the table's state and the revision of each instance.
func TestOperatorCommandsReachTheFleet(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: sized(t, 20, 3), backends: twoBackends(), skewed: true})
	for range sized(t, 3, 1) {
		f.wantObeyed("b", shut, "drain", "a")
		if list := f.backends("list"); !strings.Contains(list, "by ") || !strings.Contains(list, "drained by") {
			t.Errorf("the list does not say who drained it:\n%s", list)
		}
		f.wantObeyed("a", open, "restore", "a")
		f.forget(t.Context(), "a")
		f.obedience(t.Context(), f.fail(2, 1), "a", "b", shut)
		f.sim.Clear("a")
		f.wantObeyed("a", open, "reset", "a")
	}
	list := f.backends("list")
	for _, m := range f.members {
		if !strings.Contains(list, m.name) {
			t.Errorf("%s is not in the list", m.name)
		}
	}
	t.Logf("\n%s", list)
}

// wantObeyed runs an operator command and checks when every instance obeys it.
func (f *fleet) wantObeyed(served string, holds func(health.Record) bool, args ...string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	f.backends(args...)
	f.seen.mu.Lock()
	c, _ := f.seen.first(began, f.column("a"), holds)
	f.seen.mu.Unlock()
	delays := f.obedience(ctx, began, "a", served, holds)
	for i := range delays {
		delays[i] -= c.at.Sub(began) // the command's own start is no part of it
	}
	f.t.Logf("%-7s obeyed after the table had it: %s", args[0], spread(delays))
	if late := slices.Max(delays); tooLate(f.t, late, 2*time.Second) {
		f.t.Errorf("%v: the last instance obeyed after %v", args, late)
	}
}
