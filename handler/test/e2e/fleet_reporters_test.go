package e2e_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/simulator"
)

// One instance that cannot reach a backend keeps to the others and leaves it
// to the fleet, which objects; the instances leave it together when each saw it
// fail once and none was served.
func TestFleetDistinguishesBackendFromNetworkFailure(t *testing.T) {
	soakOnly(t)
	way := &networkPath{}
	f := startFleet(t, fleetSetup{members: sized(t, 21, 6), backends: twoBackends(), fronts: map[string]*networkPath{"a": way}})
	way.breakFor(f.members[0])
	t.Run("broken network", func(t *testing.T) { f.under(t).wantOneReporterIgnored() })
	t.Run("broken backend", func(t *testing.T) { f.under(t).wantManyReportersObeyed() })
	t.Run("one witness", func(t *testing.T) { f.under(t).wantOnlyInstanceObeyed() })
}

// under is the fleet for a part of a test.
func (f *fleet) under(t *testing.T) *fleet {
	g := *f
	g.t = t
	return &g
}

func (f *fleet) wantOneReporterIgnored() {
	lonely, others := f.members[0], f.members[1:]
	rest := f.fire(3*float64(len(others)), others...)
	time.Sleep(500 * time.Millisecond)
	own := f.fire(10, lonely)
	time.Sleep(time.Duration(sized(f.t, 5, 3)) * time.Second)
	alone, with := own.finish(), rest.finish()
	if failed := f.failures(slices.Concat(alone, with)); failed > 0 {
		f.t.Errorf("%d requests failed", failed)
	}
	elsewhere := slices.DeleteFunc(slices.Clone(with), func(s sample) bool { return s.backend == "a" })
	if len(elsewhere) > 0 {
		f.t.Errorf("%d of %d requests at healthy instances left backend a", len(elsewhere), len(with))
	}
	opened, objected := false, false
	f.seen.mu.Lock()
	for _, c := range f.seen.of(f.column("a")) {
		r := c.records[f.column("a")]
		opened = opened || c.by == lonely.n && (r.Circuit.State != health.Closed || len(r.Circuit.Suspicions) > 0)
		objected = objected || c.by != lonely.n && r.Circuit.State == health.Closed && r.Circuit.LastObjection > 0
	}
	closed := f.allClosed()()
	f.seen.mu.Unlock()
	if !opened || !objected || !closed {
		f.t.Errorf("the instance published its failures: %v; another objected: %v; the fleet's circuit is closed: %v", opened, objected, closed)
	}
	f.t.Logf("%d requests at the cut-off instance all served elsewhere, %d at the others all by a", len(alone), len(with))
}

func (f *fleet) wantManyReportersObeyed() {
	accusers := f.members[1:]
	f.forget(f.t.Context(), "a")
	f.sim.Next("a", slices.Repeat([]simulator.Fault{{Action: "500"}}, len(accusers))...)
	before := len(f.sim.JournalOf("a"))
	began := time.Now()
	f.all(accusers, func(m *member) {
		if s := m.send(); !s.ok() || s.backend != "b" {
			f.t.Errorf("%s: %d by %q: %v", m.name, s.status, s.backend, s.err)
		}
	})
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute) // an instance that a busy machine stalls counts nothing
	defer cancel()
	delays := f.obedience(ctx, began, "a", "b", tripped)
	f.sim.Clear("a")
	journal := f.sim.JournalOf("a")[before:]
	each := map[int]int{}
	for i := range journal {
		if journal[i].Status == http.StatusInternalServerError {
			each[memberOf(&journal[i])]++
		}
	}
	for n, failures := range each {
		if failures > 1 {
			f.t.Errorf("instance %d met %d failures, want one each", n, failures)
		}
	}
	f.t.Logf("%d instances met one failure each; all left it: %s", len(each), spread(delays))
}

// wantOnlyInstanceObeyed: only one instance has traffic, so nobody can contradict
// it, and the fleet obeys.
func (f *fleet) wantOnlyInstanceObeyed() {
	witness := f.members[1]
	f.forget(f.t.Context(), "a")
	fault := f.sim.Fault("a", simulator.Fault{Action: "500"})
	began := time.Now()
	for range 6 {
		witness.send()
	}
	knew := time.Now()
	if s := witness.send(); !s.ok() || s.backend != "b" {
		f.t.Errorf("its own callers are still sent there: %d by %q", s.status, s.backend)
	}
	delays := f.obedience(f.t.Context(), began, "a", "b", tripped)
	f.sim.ClearFault(fault)
	f.t.Logf("own callers protected after %v; the fleet: %s", knew.Sub(began), spread(delays))
	if late := slices.Max(delays); late > 5*time.Second {
		f.t.Errorf("the last instance believed it after %v", late)
	}
}

func tripped(r health.Record) bool { return r.Circuit.State == health.Open }

// all does the same with several instances at once.
func (f *fleet) all(members []*member, do func(*member)) {
	var under sync.WaitGroup
	for _, m := range members {
		under.Go(func() { do(m) })
	}
	under.Wait()
}
