package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"spillway/handler/internal/simulator"
)

// Under random faults, at 100 in flight, every caller gets its own answer whole, an
// error, or an aborted connection: never another's answer, and never half of one as if
// it were whole.
func TestSoakEveryCallerGetsItsOwnAnswer(t *testing.T) {
	if os.Getenv("SPILLWAY_SOAK") == "" {
		t.Skip("half a minute of both processors: SPILLWAY_SOAK=1m go test -run SoakEveryCaller ./handler/test/e2e")
	}
	r := start(t, setup{journal: -1, env: []string{"SPILLWAY_MAX_WAIT=0s"}})
	for _, backend := range []string{"ptu", "payg1", "payg2"} {
		for _, action := range []string{
			"500", "503-envoy", "reset-before-headers", "truncated-200", "object-200", "garbage-200", "array-200", "204", "stream-for-json", "json-for-stream",
			"stream-error", "cut-reset", "cut-clean", "keepalive", "410", "404-html", "400-operation", "filter-200", "error-200", "no-done", "eof-before-headers",
		} {
			f := simulator.Fault{Action: action, Probability: 0.01}
			if action == "cut-reset" || action == "cut-clean" {
				f.Chunks = 3
			}
			r.sim.Fault(backend, f)
		}
	}
	const requests, inFlight = 20_000, 100
	id := regexp.MustCompile(`"id":"(chatcmpl-[0-9a-f]+)"`)
	var next, served, refused, aborted atomic.Int64
	var seen sync.Map
	var callers sync.WaitGroup
	for range inFlight {
		callers.Go(func() {
			for n := next.Add(1); n <= requests; n = next.Add(1) {
				body, stream := fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":"Question %d"}]}`, n), n%2 == 0
				if stream {
					body = strings.Replace(body, `{`, `{"stream":true,`, 1)
				}
				a := r.post(chatPath, body)
				switch {
				case a.err != nil || a.status == 0:
					aborted.Add(1)
					continue
				case a.status != http.StatusOK:
					refused.Add(1)
					if !strings.HasPrefix(a.body, `{"error":{`) {
						t.Errorf("%d without an error: %s", a.status, a.body)
					}
					continue
				}
				served.Add(1)
				ids := id.FindAllStringSubmatch(a.body, -1)
				whole := stream && strings.Contains(a.body, `"finish_reason":"stop"`) && strings.HasSuffix(a.body, "data: [DONE]\n\n") ||
					!stream && strings.HasSuffix(a.body, "}") && strings.Contains(a.body, `"finish_reason":"stop"`)
				if !whole || len(ids) == 0 || a.header.Get("X-Ms-Client-Request-Id") != a.header.Get("X-Request-Id") {
					t.Errorf("no whole answer of its own: %v\n%s", a.header, a.body)
					continue
				}
				for _, one := range ids[1:] {
					if one[1] != ids[0][1] {
						t.Errorf("two answers in one: %s and %s", ids[0][1], one[1])
					}
				}
				if _, twice := seen.LoadOrStore(ids[0][1], n); twice {
					t.Errorf("%s was given to two callers", ids[0][1])
				}
			}
		})
	}
	callers.Wait()
	t.Logf("%d served, %d refused, %d aborted of %d", served.Load(), refused.Load(), aborted.Load(), requests)
}
