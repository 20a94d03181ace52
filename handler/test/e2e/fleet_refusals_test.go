package e2e_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/simulator"
)

// afresh is the fleet for a part of a test: its backends are well, and what the
// instances know of them is void.
func (f *fleet) afresh(t *testing.T) *fleet {
	t.Helper()
	g := f.under(t)
	for _, b := range f.setup.backends {
		f.sim.Clear(b.name)
		g.forget(t.Context(), b.name)
	}
	return g
}

// post sends a body to the first instance.
func (f *fleet) post(path, body string, header ...string) answer {
	f.t.Helper()
	return ask(f.t.Context(), f.t, http.MethodPost, f.members[0].url(path), body, header...)
}

// atOnce sends so many requests to the first instance at once.
func (f *fleet) atOnce(n int) []sample {
	samples := make([]sample, n)
	var under sync.WaitGroup
	for i := range samples {
		under.Go(func() { samples[i] = f.members[0].send() })
	}
	under.Wait()
	return samples
}

// wantServed sends so many requests, one after the other, all of which that
// backend is to serve.
func (f *fleet) wantServed(n int, by string) {
	f.t.Helper()
	for i := range n {
		if s := f.members[0].send(); !s.ok() || s.backend != by {
			f.t.Errorf("request %d of %d: %d by %q, want 200 by %q: %v", i+1, n, s.status, s.backend, by, s.err)
		}
	}
}

// wantOpen sends requests to the first instance until the fleet's circuit of the
// backend is open. Failures do not count while the instance itself was stalled by a
// busy machine.
func (f *fleet) wantOpen(since time.Time, backend string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	for {
		soon, stop := context.WithTimeout(ctx, 500*time.Millisecond)
		open := f.seen.await(soon, func() bool {
			_, ok := f.seen.first(since, f.column(backend), tripped)
			return ok
		})
		stop()
		if open {
			return
		}
		if ctx.Err() != nil {
			f.t.Fatalf("the circuit of %s does not open: %s", backend, f.backends("list"))
		}
		f.members[0].send()
	}
}

// wantRefusedFor checks a refusal, and that its retry-after is within the bounds.
func wantRefusedFor(t *testing.T, a answer, status, least, most int) {
	t.Helper()
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != status || err != nil || after < least || after > most {
		t.Errorf("%d with retry-after %q, want %d with %d to %d: %s", a.status, a.header.Get("Retry-After"), status, least, most, a.body)
	}
}

// Whatever fails, nobody is refused while a backend would serve.
func TestFailuresRefuseNobodyWhileABackendServes(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: 1, backends: twoBackends()})
	t.Run("300 connections are reset at once", func(t *testing.T) {
		g := f.afresh(t)
		g.sim.Fault("a", simulator.Fault{Action: "reset-before-headers"})
		if failed := g.failures(g.atOnce(300)); failed > 0 {
			t.Errorf("%d of 300 were not served by the other backend", failed)
		}
	})
	t.Run("both backends fail once", func(t *testing.T) {
		g := f.afresh(t)
		g.sim.Next("a", simulator.Fault{Action: "500"})
		g.sim.Next("b", simulator.Fault{Action: "500"})
		if s := g.members[0].send(); !s.ok() {
			t.Errorf("%d, %v; want it repeated", s.status, s.err)
		}
	})
	t.Run("both backends fail", func(t *testing.T) {
		g := f.afresh(t)
		g.sim.Fault("a", simulator.Fault{Action: "500"})
		g.sim.Fault("b", simulator.Fault{Action: "500"})
		wantRefusedFor(t, g.post(chatPath, hello), http.StatusServiceUnavailable, 1, 2)
	})
	for action, path := range map[string]string{"400-version": "/openai/deployments/gpt-4o/chat/completions?api-version=2099-01-01", "400-model": chatPath} {
		t.Run("a caller's own mistake: "+action, func(t *testing.T) {
			g := f.afresh(t)
			for _, b := range []string{"a", "b"} {
				g.sim.Fault(b, simulator.Fault{Action: action, Count: 8})
			}
			for range 8 {
				if a := g.post(path, hello); a.status == http.StatusOK {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			g.sim.Clear("a")
			g.sim.Clear("b")
			g.wantServed(10, "a")
		})
	}
	t.Run("an operator resets twice in a row", func(t *testing.T) {
		g := f.afresh(t)
		for range 2 {
			began := time.Now()
			g.fail(0, 1)
			g.wantOpen(began, "a")
			g.sim.Clear("a")
			g.wantObeyed("a", open, "reset", "a")
		}
	})
}

// A single backend is never refused by its circuit: there is nobody else.
func TestOnlyBackendIsTriedWhateverItsCircuit(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: 1, backends: []backend{{name: "a", priority: 1}}, env: []string{"SPILLWAY_MAX_WAIT=5s"}})
	for _, action := range []string{"401-key", "404-deployment"} {
		t.Run("one "+action, func(t *testing.T) {
			g := f.afresh(t)
			g.wantServed(3, "a")
			g.sim.Next("a", simulator.Fault{Action: action})
			if s := g.members[0].send(); s.ok() {
				t.Error("the fault was not met")
			}
			g.wantServed(10, "a")
		})
	}
	t.Run("an outage ends", func(t *testing.T) {
		g := f.afresh(t)
		began := time.Now()
		g.sim.Fault("a", simulator.Fault{Action: "503"})
		for range 6 {
			wantRefusedFor(t, g.post(chatPath, hello), http.StatusServiceUnavailable, 1, 10)
		}
		g.wantOpen(began, "a")
		g.sim.Clear("a")
		g.wantServed(5, "a")
	})
	t.Run("a throttled one asks for a minute after a second", func(t *testing.T) {
		g := f.afresh(t)
		g.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: time.Second}, simulator.Fault{Action: "429-token", RetryAfter: time.Minute})
		began := time.Now()
		for range 2 {
			least := 59 - int(time.Since(began)/time.Second)
			wantRefusedFor(t, g.post(chatPath, hello), http.StatusTooManyRequests, least, 60)
		}
		if n := len(g.sim.JournalOf("a")); g.sim.JournalOf("a")[n-1].Status != http.StatusTooManyRequests {
			t.Errorf("the backend's last answer was %d", g.sim.JournalOf("a")[n-1].Status)
		}
	})
}

// An outage of eight seconds under thin traffic ends with the first request after it.
func TestThinTrafficIsServedOnceTheOnlyBackendIsWell(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: 1, backends: []backend{{name: "a", priority: 1}}})
	f.wantServed(3, "a")
	f.sim.Fault("a", simulator.Fault{Action: "503", For: 8 * time.Second})
	refused := 0
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if s := f.members[0].send(); !s.ok() {
			refused++
		}
	}
	f.wantServed(10, "a")
	t.Logf("%d requests met the outage; all after it were served", refused)
}

// Two apps on one storage account have a backend of the same name: what one learns
// of its own takes nothing from the other.
func TestAppsShareNoVerdictOnDifferentEndpoints(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: 2, backends: twoBackends()})
	own, other := f.members[0], f.members[1]
	way := &networkPath{}
	way.open(t, f.sim.URL("a"))
	way.breakFor(other)
	other.kill()
	for i := range other.env { // its backend a is another resource, which fails
		other.env[i] = strings.Replace(other.env[i], f.sim.URL("a"), way.url, 1)
	}
	other.start()
	f.awake(own, other)
	for range 6 {
		if s := other.send(); !s.ok() || s.backend != "b" {
			t.Errorf("the other app: %d by %q, want 200 by b: %v", s.status, s.backend, s.err)
		}
	}
	f.within(20*time.Second, "the other app's circuit is open", func() bool {
		_, ok := f.seen.first(time.Time{}, columnOf(way.url), tripped)
		return ok
	})
	f.wantServed(20, "a")
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	for _, c := range f.seen.of(f.column("a")) {
		if r := c.records[f.column("a")]; !r.Equal(health.Record{}) {
			t.Errorf("instance %d wrote of a backend that never failed: %+v", c.by, r)
		}
	}
}

// What one consumer's requests do to the backends takes nothing from another.
func TestPoisonousRequestsTakeNothingFromOthers(t *testing.T) {
	t.Parallel()
	s := fleetSetup{members: 1, env: []string{"SPILLWAY_AUTH=key", "WELL_KEY=" + teamKey, "ILL_KEY=" + illKey}}
	for i, name := range []string{"a", "b", "c"} {
		s.backends = append(s.backends, backend{name: name, priority: i + 1})
	}
	s.document = map[string]any{"consumers": []map[string]any{{"name": "well", "keySetting": "WELL_KEY"}, {"name": "ill", "keySetting": "ILL_KEY"}}}
	f := startFleet(t, s)
	streamed := true
	poison := func(g *fleet) {
		for _, b := range s.backends {
			g.sim.Fault(b.name, simulator.Fault{Action: "500", Stream: &streamed})
		}
	}
	ill := func(g *fleet) {
		for range 5 {
			if a := g.post(chatPath, helloSSE, "api-key", illKey); a.status == http.StatusOK {
				t.Errorf("a poisonous request was served: %s", a.body)
			}
		}
	}
	t.Run("amid the other's requests", func(t *testing.T) {
		g := f.afresh(t)
		poison(g)
		g.wantServed(5, "a")
		for range 3 {
			ill(g)
			g.wantServed(5, "a")
		}
	})
	t.Run("before the other's requests", func(t *testing.T) {
		g := f.afresh(t)
		poison(g)
		ill(g)
		if failed := g.failures(g.atOnce(40)); failed > 0 {
			t.Errorf("%d of 40 requests of the other consumer were refused", failed)
		}
	})
	t.Run("two circuits open and one throttle are an outage", func(t *testing.T) {
		g := f.afresh(t)
		for _, b := range []string{"a", "b"} {
			g.sim.Fault(b, simulator.Fault{Action: "500"})
		}
		g.sim.Fault("c", simulator.Fault{Action: "429-token", RetryAfter: 30 * time.Second})
		for i := range 8 {
			a := g.post(chatPath, hello, "api-key", teamKey)
			wantRefusedFor(t, a, http.StatusServiceUnavailable, 1, 10)
			if t.Failed() {
				t.Fatalf("request %d", i+1)
			}
		}
	})
}

const illKey = "key-of-the-consumer-whose-requests-fail"
