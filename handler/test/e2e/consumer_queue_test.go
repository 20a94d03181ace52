package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// classes is a setup of one interactive consumer and one of class batch, before
// one backend that they wait for.
func classes() setup {
	s := metered(map[string]any{"name": "people"}, map[string]any{"name": "jobs", "class": "batch"})
	s.journal = 0
	s.env = append(s.env, "SPILLWAY_MAX_WAIT=20s")
	return s
}

// throttleBackend has the only backend answer 429 once, and returns when it did.
// The answer to that request is not checked.
func (r *rig) throttleBackend(d time.Duration) (wait func()) {
	r.t.Helper()
	r.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: d})
	var first sync.WaitGroup
	first.Go(func() {
		ask(r.t.Context(), r.t, http.MethodPost, r.host.HandlerURL()+chatPath, hello, "api-key", keyOf("people"))
	})
	if _, err := r.sim.WaitArrival(r.t.Context(), "a", 1); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // until the answer has arrived
	return first.Wait
}

// sendAtOnce sends so many requests of a consumer at once, straight to the handler,
// and counts their answers.
func (r *rig) sendAtOnce(all *sync.WaitGroup, consumer string, n int) (served, refused *atomic.Int64) {
	served, refused = new(atomic.Int64), new(atomic.Int64)
	body := strings.Replace(hello, "Hello", "from the "+consumer, 1)
	for range n {
		all.Go(func() {
			a := ask(r.t.Context(), r.t, http.MethodPost, r.host.HandlerURL()+chatPath, body, "api-key", keyOf(consumer))
			switch {
			case a.status == http.StatusOK:
				served.Add(1)
			case a.status == http.StatusTooManyRequests && strings.Contains(a.body, "rate_limit_exceeded"):
				refused.Add(1)
			default:
				r.t.Errorf("%s: %d %s %v", consumer, a.status, a.body, a.err)
			}
		})
	}
	return served, refused
}

// A throttled pool that reopens is for people first: batch requests that came
// earlier go after interactive ones that came later.
func TestInteractiveRequestsLeaveTheQueueFirst(t *testing.T) {
	soakOnly(t)
	r := start(t, classes())
	if a := ask(t.Context(), t, http.MethodGet, r.host.URL+"/health/live", ""); a.status != http.StatusOK {
		t.Fatal(a.err)
	}
	first := r.throttleBackend(1500 * time.Millisecond)
	var all sync.WaitGroup
	jobs, _ := r.sendAtOnce(&all, "jobs", 25)
	time.Sleep(300 * time.Millisecond) // until the batch requests wait in the queue
	people, _ := r.sendAtOnce(&all, "people", 25)
	all.Wait()
	first()
	if jobs.Load() != 25 || people.Load() != 25 {
		t.Errorf("%d batch and %d interactive requests were served, want all", jobs.Load(), people.Load())
	}
	var places [2][]int
	for n, e := range r.sim.Journal() {
		switch {
		case strings.Contains(string(e.Body), "from the people"):
			places[0] = append(places[0], n)
		case strings.Contains(string(e.Body), "from the jobs"):
			places[1] = append(places[1], n)
		}
	}
	slices.Sort(places[0])
	slices.Sort(places[1])
	t.Logf("interactive arrived as numbers %v, batch as %v", places[0], places[1])
	if len(places[0]) < 25 || len(places[1]) < 25 || places[0][12] >= places[1][12] || places[0][20] >= places[1][12] {
		t.Error("the backend did not see interactive requests first")
	}
}

// When the queue is full, batch requests give up their slots to interactive
// ones and new batch requests are refused; no interactive one is refused.
func TestBatchRequestsAreRefusedFirstWhenTheQueueIsFull(t *testing.T) {
	soakOnly(t)
	const slots, over, later = 1000, 15, 20
	r := start(t, classes())
	if a := ask(t.Context(), t, http.MethodGet, r.host.URL+"/health/live", ""); a.status != http.StatusOK {
		t.Fatal(a.err)
	}
	first := r.throttleBackend(7 * time.Second) // the throttled request has one of the slots
	var all sync.WaitGroup
	served, refused := r.sendAtOnce(&all, "jobs", slots-1+over)
	eventually(t, "batch requests are refused", func() bool { return refused.Load() >= over })
	people, none := r.sendAtOnce(&all, "people", later)
	eventually(t, "batch requests give up their slots", func() bool { return refused.Load() >= over+later })
	all.Wait()
	first()
	t.Logf("batch: %d served, %d refused; interactive: %d served, %d refused", served.Load(), refused.Load(), people.Load(), none.Load())
	if people.Load() != later || none.Load() != 0 || refused.Load() != over+later {
		t.Errorf("%d of %d interactive requests were served, and %d batch ones refused, want %d", people.Load(), later, refused.Load(), over+later)
	}
}

// eventually waits until the condition holds, or fails the test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not within a minute: %s", what)
			return
		}
	}
}
