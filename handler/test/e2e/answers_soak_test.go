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
	"time"

	"spillway/handler/internal/simulator"
)

// Under random faults, at 100 in flight, every caller gets its own answer whole, an
// error, or an aborted connection: never another's answer, and never half of one as if
// it were whole.
func TestSoakEveryCallerGetsItsOwnAnswer(t *testing.T) {
	if os.Getenv("SPILLWAY_SOAK") == "" {
		t.Skip("half a minute of both processors: SPILLWAY_SOAK=1m go test -run SoakEveryCaller ./handler/test/e2e")
	}
	r := start(t, setup{journal: -1, env: []string{"SPILLWAY_MAX_WAIT=0s"}, document: map[string]any{"throttle": map[string]any{"maxWait": "20ms", "defaultWait": "20ms"}}})
	for _, backend := range []string{"ptu", "payg1", "payg2"} {
		for _, f := range everyFault() {
			r.sim.Fault(backend, f)
		}
	}
	const requests, inFlight = 20_000, 100
	id, stopped := regexp.MustCompile(`"id":"(chatcmpl-[0-9a-f]+)"`), regexp.MustCompile(`"finish_reason":"(stop|content_filter)"`)
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
				if strings.Contains(a.body, `"chatcmpl-sample"`) || encodedByFault(a) {
					continue // the answer of some faults, the same for all
				}
				ids := id.FindAllStringSubmatch(a.body, -1)
				text := strings.ReplaceAll(a.body, "\r", "\n")
				whole := stopped.MatchString(text) && (stream && strings.HasSuffix(text, "data: [DONE]\n\n") || !stream && strings.HasSuffix(text, "}"))
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

// everyFault is each action of the simulator at random: what waits or hangs does so for
// a moment, and a limit is over at once.
func everyFault() []simulator.Fault {
	var faults []simulator.Fault
	for _, action := range simulator.Actions() {
		if action == "no-finish" {
			continue // [DONE] ends a stream
		}
		f := simulator.Fault{Action: action, Probability: 0.002, Hold: 300 * time.Millisecond, Pause: time.Millisecond, Latency: 10 * time.Millisecond}
		switch {
		case action == "status":
			f.Status = http.StatusTeapot
		case strings.HasPrefix(action, "429") || action == "stream-429":
			f.RetryAfter = 20 * time.Millisecond
		case strings.HasPrefix(action, "cut-"):
			f.Chunks = 3
		}
		faults = append(faults, f)
	}
	return faults
}

// encodedByFault reports whether an answer came in gzip although that was not asked
// for: it is relayed as it is.
func encodedByFault(a answer) bool { return a.header.Get("Content-Encoding") != "" }
