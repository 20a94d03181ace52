package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// equals are backends of one priority.
func equals(names ...string) (all []backend) {
	for _, name := range names {
		all = append(all, backend{name: name, priority: 1})
	}
	return all
}

// got summarizes what callers got, for a log.
func got(samples []sample) string {
	statuses, longest := map[int]int{}, time.Duration(0)
	for i := range samples {
		statuses[samples[i].status]++
		longest = max(longest, samples[i].took)
	}
	return fmt.Sprintf("%d requests: %v by status, the longest took %v", len(samples), statuses, longest.Round(time.Millisecond))
}

// asked counts the requests that reached the backends since the journal had so many
// entries, and how often the one that asked one of them most did.
func (f *fleet) asked(since int) (all, most int) {
	each := map[string]int{}
	for _, e := range f.sim.Journal()[since:] {
		id := e.Header.Get("X-Ms-Client-Request-Id") + " " + e.Resource
		each[id]++
		all, most = all+1, max(most, each[id])
	}
	return all, most
}

// wantAsked checks that no request since then asked a backend more often than so.
func (f *fleet) wantAsked(since, most int) {
	f.t.Helper()
	all, worst := f.asked(since)
	f.t.Logf("the backends were asked %d times, one of them at most %d times by one request", all, worst)
	if worst > most {
		f.t.Errorf("one request asked a backend %d times, want at most %d", worst, most)
	}
}

// noHint is a 429 for the tokens of a minute that names no wait.
func noHint(remaining string) simulator.Fault {
	return simulator.Fault{Action: "429-v1", Retry: simulator.RetryNone, RetryRaw: []string{}, Header: map[string]string{"x-ratelimit-remaining-tokens": remaining}}
}

// A throttled pool is tried three times by a request, and a limit of tokens refuses
// nobody whom another backend or a smaller size would serve.
func TestThrottledPoolIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: 1, backends: equals("a", "b"), env: []string{"SPILLWAY_MAX_WAIT=2s"}})
	t.Run("waits of a millisecond under 40 requests a second", func(t *testing.T) {
		g := f.afresh(t)
		before := len(g.sim.Journal())
		for _, b := range []string{"a", "b"} {
			g.sim.Fault(b, simulator.Fault{Action: "429-token", Retry: simulator.RetryMS, RetryAfter: time.Millisecond})
		}
		samples := g.fireFor(time.Second, 40, g.members...)
		t.Logf("all throttle: %s", got(samples))
		for _, s := range samples {
			if s.status != http.StatusTooManyRequests {
				t.Errorf("%d, %v; want 429", s.status, s.err)
			}
		}
		g.wantAsked(before, 3)
		g.sim.Clear("b")
		before = len(g.sim.Journal())
		samples = g.fireFor(time.Second, 40, g.members...)
		t.Logf("one throttles: %s", got(samples))
		if failed := g.failures(samples); failed > 0 {
			t.Errorf("%d of %d were refused though b serves", failed, len(samples))
		}
		g.wantAsked(before, 3)
	})
	t.Run("more tokens remain than the request needs", func(t *testing.T) {
		for _, hint := range []simulator.Fault{noHint("40000"), {Action: "429-token", RetryAfter: 20 * time.Second, Header: map[string]string{"x-ratelimit-remaining-tokens": "40000"}}} {
			g := f.afresh(t)
			before := len(g.sim.Journal())
			g.sim.Fault("a", hint)
			for sent := 0; len(g.sim.Journal())-before == sent; sent++ { // until a has refused one
				g.wantServed(1, "b")
			}
			before = len(g.sim.Journal())
			samples := g.fireFor(500*time.Millisecond, 40, g.members...)
			t.Logf("%s throttles: %s", hint.Action, got(samples))
			if failed := g.failures(samples); failed > 0 {
				t.Errorf("%d of %d were refused though b serves", failed, len(samples))
			}
			if n := len(g.sim.Journal()) - before - len(samples); n > 3 {
				t.Errorf("a was asked %d times in one window by %d requests", n, len(samples))
			}
			g.wantAsked(before, 1)
		}
	})
	t.Run("one request is larger than every deployment's minute", func(t *testing.T) {
		g := f.afresh(t)
		for _, b := range []string{"a", "b"} {
			g.sim.Next(b, noHint("50000"))
		}
		large := strings.Replace(hello, `{"model"`, `{"max_tokens":100000,"model"`, 1)
		if a := g.post(chatPath, large); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
			t.Errorf("%d, retry after %q: %s", a.status, a.header.Get("Retry-After"), a.body)
		}
		samples := g.fireFor(500*time.Millisecond, 40, g.members...)
		t.Logf("the others: %s", got(samples))
		if failed := g.failures(samples); failed > 0 {
			t.Errorf("%d of %d smaller requests were refused", failed, len(samples))
		}
	})
	t.Run("every backend is misconfigured", func(t *testing.T) {
		g := f.afresh(t)
		for _, b := range []string{"a", "b"} {
			g.sim.Fault(b, simulator.Fault{Action: "401-key"})
		}
		for range 3 {
			wantRefusedFor(t, g.post(chatPath, hello), http.StatusServiceUnavailable, 1, 10)
		}
		for _, b := range []string{"a", "b"} {
			g.sim.Clear(b)
		}
		samples := g.fireFor(300*time.Millisecond, 20, g.members...)
		if failed := g.failures(samples); failed > 0 {
			t.Errorf("%d of %d were refused once the backends were well", failed, len(samples))
		}
	})
}
