package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// A consumer is held to its priority groups, and to how many at once. (Models
// and geographies are in the tests of the API, the largest request in those of
// quotas.)
func TestConsumerLimitsAreEnforced(t *testing.T) {
	t.Parallel()
	s := metered(
		map[string]any{"name": "all"},
		map[string]any{"name": "spare", "minPriority": 2},
		map[string]any{"name": "single", "concurrency": 2},
	)
	s.backends = []backend{
		{name: "ptu", priority: 1, capacity: "provisioned", deployment: simulator.Deployment{SKU: simulator.Provisioned, TimeToFirstToken: time.Second}},
		{name: "payg", priority: 2},
	}
	s.journal = 0
	r := start(t, s)
	ask := func(consumer string) answer { return r.post(chatPath, hello, "api-key", keyOf(consumer)) }
	if a := ask("all"); a.backend() != "ptu" {
		t.Errorf("a consumer without rules: %d by %q", a.status, a.backend())
	}
	if a := ask("spare"); a.backend() != "payg" {
		t.Errorf("a consumer that is kept off the PTU: %d by %q", a.status, a.backend())
	}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if a := ask("single"); a.status != http.StatusOK {
				t.Errorf("one of two at once: %d %s", a.status, a.body)
			}
		})
	}
	if _, err := r.sim.WaitArrival(t.Context(), "ptu", 3); err != nil {
		t.Fatal(err)
	}
	third := ask("single")
	wantRefusal(t, third, http.StatusTooManyRequests, "concurrency_limit_exceeded")
	if !strings.Contains(third.body, "concurrency") || third.header.Get("Retry-After") != "1" {
		t.Errorf("a third at once: retry-after %q: %s", third.header.Get("Retry-After"), third.body)
	}
	all.Wait()
	if a := ask("single"); a.status != http.StatusOK {
		t.Errorf("after the two: %d %s", a.status, a.body)
	}
}
