package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
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
	r := start(t, setup{env: []string{"SPILLWAY_MAX_WAIT=0s"}, document: map[string]any{"throttle": map[string]any{"maxWait": "20ms", "defaultWait": "20ms"}}})
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
	ends := make(chan answer, requests) // that are no whole answers
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
					ends <- a
					continue
				case a.status != http.StatusOK:
					refused.Add(1)
					ends <- a
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
	close(ends)
	checkReasons(t, ends, r.sim.Journal())
}

// checkReasons checks that each answer that is not whole has its reason in the faults
// that its own attempts met: the caller's own mistake with its status, a break behind
// the first content, or a fault at each backend that was not throttled or set aside by
// one of another request.
func checkReasons(t *testing.T, ends <-chan answer, journal []simulator.Entry) {
	attempts := map[string][]simulator.Entry{}
	for _, e := range journal {
		id := e.Header.Get("X-Ms-Client-Request-Id")
		attempts[id] = append(attempts[id], e)
	}
	counts := map[string]int{}
	for a := range ends {
		of := attempts[a.header.Get("X-Request-Id")]
		reason := reasonFor(a, of)
		if reason == "" {
			t.Errorf("%d without a reason, after %s: %s", a.status, faultsOf(of), a.body)
		}
		counts[reason]++
	}
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%5d %s", counts[reason], reason)
	}
}

// mistakes are the faults that are the caller's own, by the status that they have.
var mistakes = map[string]int{
	"400-context": 400, "400-filter": 400, "400-invalid": 400, "409": 409, "413": 413, "422": 422, "431": 431,
	"500-filter": 400, "filter-200": 400, "invalid-200": 400, "stream-filter": 400, "stream-invalid": 400,
}

func reasonFor(a answer, attempts []simulator.Entry) string {
	backends := map[string]bool{}
	for _, e := range attempts {
		if e.Fault == "" {
			continue
		}
		backends[e.Resource] = true
		switch {
		case a.status != http.StatusOK && mistakes[e.Fault] == a.status:
			return fmt.Sprintf("%d %s", a.status, e.Fault)
		case a.status == http.StatusOK && e.Outcome == simulator.Broken:
			return "aborted after " + e.Fault
		}
	}
	switch {
	case len(attempts) == 0 && a.status == http.StatusTooManyRequests && strings.Contains(a.body, "are throttled"):
		return "429, throttled by faults of other requests" // none waits
	case len(backends) == 0 || a.status == http.StatusOK:
		return ""
	}
	return fmt.Sprintf("%d, faults at %d backends", a.status, len(backends))
}

func faultsOf(attempts []simulator.Entry) string {
	var list []string
	for _, e := range attempts {
		list = append(list, e.Resource+" "+e.Fault)
	}
	return strings.Join(list, ", ")
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
