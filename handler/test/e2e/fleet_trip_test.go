package e2e_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/simulator"
)

// twoBackends is a backend that will be shut, and one that takes over.
func twoBackends() []backend {
	return []backend{{name: "a", priority: 1}, {name: "b", priority: 2}}
}

// shut reports whether a record lets no request through.
func shut(r health.Record) bool {
	windows := slices.ContainsFunc(r.Windows.ByKind[:], func(t health.ThrottleWindow) bool { return t.Until > time.Now().UnixMilli() })
	return r.Circuit.State != health.Closed || r.Override.Drained || windows
}

func open(r health.Record) bool { return !shut(r) }

// cause is one reason for one or few instances to leave backend a. It returns
// when they had it.
type cause struct {
	name string
	do   func(f *fleet, from int) time.Time
}

func causes() []cause {
	return []cause{
		{"429 seen by one", func(f *fleet, from int) time.Time {
			f.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: 30 * time.Second})
			return f.hit(from, 1, 1)
		}},
		{"failures seen by one", func(f *fleet, from int) time.Time { return f.fail(from, 1) }},
		{"failures seen by three", func(f *fleet, from int) time.Time { return f.fail(from, 3) }},
	}
}

// fail has backend a fail from now on, and lets so many instances meet more
// failures than open a circuit: of a request that comes just before an instance has
// read the last reset, the failure does not count. One instance has opened its own then. None of three
// has; the fleet's circuit opens when nobody has objected for two refreshes.
func (f *fleet) fail(from, instances int) time.Time {
	f.sim.Fault("a", simulator.Fault{Action: "500"})
	return f.hit(from, instances, 9)
}

// hit lets so many instances meet what is scripted for backend a, at once, in so
// many requests, and returns the instant at which the last of them had its answer.
func (f *fleet) hit(from, instances, requests int) time.Time {
	f.t.Helper()
	before := len(f.sim.JournalOf("a"))
	var under sync.WaitGroup
	for i := range requests {
		m := f.members[(from+i%instances)%len(f.members)]
		under.Go(func() {
			if s := m.send(); !s.ok() || s.backend != "b" {
				f.t.Errorf("%s: %d by %q, want 200 by b: %v", m.name, s.status, s.backend, s.err)
			}
		})
	}
	under.Wait()
	var last time.Time
	for _, e := range f.sim.JournalOf("a")[before:] {
		if e.End.After(last) {
			last = e.End
		}
	}
	return last
}

// obedience is how long each instance took to act on what the fleet agreed.
func (f *fleet) obedience(ctx context.Context, since time.Time, backend, served string, holds func(health.Record) bool) []time.Duration {
	f.t.Helper()
	var first commit
	ok := f.seen.await(ctx, func() bool {
		c, found := f.seen.first(since, f.column(backend), holds)
		first = c
		return found
	})
	if !ok {
		f.t.Fatalf("nobody wrote it to the table: %s", f.backends("list"))
	}
	delays := make([]time.Duration, len(f.members))
	var under sync.WaitGroup
	for i, m := range f.members {
		under.Go(func() {
			listed := func() bool { _, ok := f.seen.readAt(m.n, first.revision); return ok }
			for f.seen.await(ctx, listed) && ctx.Err() == nil {
				if s := m.send(); s.ok() && s.backend == served {
					delays[i] = s.sent.Sub(since)
					return
				}
			}
			f.t.Errorf("%s does not obey revision %d", m.name, first.revision)
		})
	}
	under.Wait()
	return delays
}

// trips has the fleet agree so many times, in turn for each cause, and returns
// how long the last instance took, and each.
func (f *fleet) trips(n int) (last, each map[string][]time.Duration) {
	last, each = map[string][]time.Duration{}, map[string][]time.Duration{}
	for i := range n {
		c := causes()[i%len(causes())]
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
		f.forget(ctx, "a")
		knew := c.do(f, rand.IntN(len(f.members)))
		asked := len(f.sim.JournalOf("a"))
		delays := f.obedience(ctx, knew, "a", "b", shut)
		if more := len(f.sim.JournalOf("a")) - asked; len(f.sim.Faults("a")) > 0 && more > len(f.members) {
			f.t.Errorf("%s: backend a was asked %d times by %d instances that had read of it, want at most what was under way", c.name, more, len(f.members))
		}
		f.sim.Clear("a")
		last[c.name], each[c.name] = append(last[c.name], slices.Max(delays)), append(each[c.name], delays...)
		reset := time.Now()
		f.backends("reset", "a")
		f.obedience(ctx, reset, "a", "a", open)
		cancel()
		time.Sleep(rand.N(600 * time.Millisecond)) // at any moment between two refreshes
	}
	return last, each
}

// forget voids what every instance knows of a backend: an instance that was just
// served there would not be bound by what others see.
func (f *fleet) forget(ctx context.Context, backend string) {
	f.t.Helper()
	f.awake(f.members...)
	began := time.Now()
	f.backends("reset", backend)
	known := func() bool {
		c, ok := f.seen.first(began, f.column(backend), open)
		return ok && !slices.ContainsFunc(f.members, func(m *member) bool {
			_, ok := f.seen.readAt(m.n, c.revision)
			return !ok
		})
	}
	if !f.seen.await(ctx, known) {
		f.t.Fatal("not every instance has read the reset of backend " + backend)
	}
}

// What one instance sees of a backend is obeyed by the last of twenty within a
// refresh and an exchange, at the default refresh.
func TestFleetAgreesOnWhatOneInstanceSees(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: sized(t, 20, 3), backends: twoBackends(), skewed: true})
	f.wantTrips(sized(t, 30, 3))
}

func (f *fleet) wantTrips(n int) {
	last, each := f.trips(n)
	var all []time.Duration
	for _, c := range causes() {
		f.t.Logf("%-24s each instance: %s", c.name, spread(each[c.name]))
		f.t.Logf("%-24s last of %d:    %s", c.name, len(f.members), spread(last[c.name]))
		all = append(all, last[c.name]...)
	}
	f.t.Logf("%-24s last of %d:    %s", "all", len(f.members), spread(all))
	if p99 := quantile(all, .99); tooLate(f.t, p99, 2*time.Second) {
		f.t.Errorf("the last of %d instances obeyed after %v (p99), want within 2s even on a busy machine", len(f.members), p99)
	}
}
