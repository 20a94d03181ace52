package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// prompts asks twice with each of n long prompts that have nothing in common,
// 16 at a time, and returns the share of requests that the prompt caches
// served.
func (r *rig) prompts(t *testing.T, n int) float64 {
	t.Helper()
	for range 2 {
		asks := make(chan int)
		var asking sync.WaitGroup
		for range 16 {
			asking.Go(func() {
				for i := range asks {
					prompt := strings.Repeat(fmt.Sprintf("tenant %d reads a long document. ", i), 160)
					if a := r.post(chatPath, fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"system","content":%q},{"role":"user","content":"Hello"}]}`, prompt)); a.status != 200 {
						t.Errorf("%d %s", a.status, a.body)
					}
				}
			})
		}
		for i := range n {
			asks <- i
		}
		close(asks)
		asking.Wait()
	}
	hits := 0
	for _, e := range r.sim.Journal() {
		if e.CachedTokens > 0 {
			hits++
		}
	}
	return float64(hits) / float64(2*n)
}

// fastDeployments makes each answer take a moment, so that requests are in flight
// together.
func fastDeployments(resources []simulator.Resource) []simulator.Resource {
	for i := range resources {
		resources[i].Deployments[0].TimeToFirstToken = 5 * time.Millisecond
	}
	return resources
}

func TestAffinityKeepsPromptCacheHitRateOfOneBackend(t *testing.T) {
	t.Parallel()
	const n = 250
	single := api{resources: fastDeployments([]simulator.Resource{deployed("a", "gpt-4o")})}.start(t).prompts(t, n)
	spread := api{resources: fastDeployments(fourResources())}.start(t).prompts(t, n)
	without := api{resources: fastDeployments(fourResources()), document: map[string]any{"models": map[string]any{"gpt-4o": map[string]any{"affinity": "none"}}}}.start(t).prompts(t, n)
	t.Logf("hit rates: one backend %.3f, four with affinity %.3f (%.2f of it), four without %.3f (%.2f of it)",
		single, spread, spread/single, without, without/single)
	if single < 0.45 {
		t.Errorf("one backend hits %.3f: the simulated cache proves nothing", single)
	}
	if spread < 0.9*single {
		t.Errorf("four backends with affinity hit %.3f, want at least 0.9 of %.3f", spread, single)
	}
	if share := without / single; share < 0.15 || share > 0.35 {
		t.Errorf("without affinity %.2f of a single backend's rate, want about a quarter", share)
	}
}

// preferred is the backend, other than one that is throttled, that a request was sent to
// first: on a busy machine a hedge may have overtaken it.
func (r *rig) preferred(a answer, throttled string) string {
	r.t.Helper()
	for _, t := range r.lineOf(a).Attempts {
		if t.Backend != throttled {
			return t.Backend
		}
	}
	r.t.Fatalf("no attempt: %d %s", a.status, a.body)
	return ""
}

// Affinity yields at once: no caller waits or fails for the sake of a cache.
func TestAffinityYieldsToAThrottledBackend(t *testing.T) {
	t.Parallel()
	r := api{resources: fastDeployments(fourResources())}.start(t)
	prompt := strings.Repeat("the same long document. ", 300)
	body := fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"system","content":%q}]}`, prompt)
	by := r.preferred(r.post(chatPath, body), "")
	for range 5 {
		if next := r.preferred(r.post(chatPath, body), ""); next != by {
			t.Fatalf("moved from %s to %s", by, next)
		}
	}
	const throttled = 3 * time.Second
	until := time.Now().Add(throttled)
	r.sim.Throttle(by, throttled)
	other := ""
	for range 30 {
		a := r.post(chatPath, body)
		if time.Now().After(until) {
			break
		}
		next := r.preferred(a, by)
		if a.status != 200 || a.backend() == by || other != "" && next != other {
			t.Fatalf("%d by %q, want 200 by the next owner, always the same", a.status, next)
		}
		other = next
	}
	if other == "" {
		t.Error("no answer came while the backend was throttled")
	}
	eventually(t, "the first owner serves again", func() bool { return r.post(chatPath, body).backend() == by })
	// A key or a session of the caller's goes ahead of the prompt.
	for _, session := range []string{"one", "two", "three", "four", "five", "six"} {
		first := r.preferred(r.post(chatPath, hello, "X-Ms-Session-Id", session), "")
		for range 3 {
			if next := r.preferred(r.post(chatPath, hello, "X-Ms-Session-Id", session), ""); next != first {
				t.Errorf("session %s moved from %s to %s", session, first, next)
			}
		}
	}
}
