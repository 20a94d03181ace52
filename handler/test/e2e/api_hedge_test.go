package e2e_test

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// firstTokens streams n answers, 8 at a time, and returns the times until the
// first token of each, sorted.
func (r *rig) firstTokens(t *testing.T, n int) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var asking sync.WaitGroup
	asks := make(chan struct{})
	for range 8 {
		asking.Go(func() {
			for range asks {
				d, text := r.firstToken(t)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
				if !strings.HasSuffix(text, "data: [DONE]\n\n") || strings.Count(text, `"id":"chatcmpl-`) == 0 || mixed(text) {
					t.Errorf("not one whole answer: %q", text)
				}
			}
		})
	}
	for range n {
		asks <- struct{}{}
	}
	close(asks)
	asking.Wait()
	slices.Sort(took)
	return took
}

// mixed reports whether chunks of two answers are in the text.
func mixed(text string) bool {
	ids := map[string]bool{}
	for _, piece := range strings.Split(text, `"id":"`)[1:] {
		id, _, _ := strings.Cut(piece, `"`)
		if id != "" { // the first chunk of Azure's has none
			ids[id] = true
		}
	}
	return len(ids) != 1
}

func (r *rig) firstToken(t *testing.T) (time.Duration, string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.host.URL+chatPath, strings.NewReader(helloSSE))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	began := time.Now()
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	var text strings.Builder
	var took time.Duration
	for {
		line, err := lines.ReadString('\n')
		text.WriteString(line)
		if took == 0 && strings.Contains(line, `"content":"`) {
			took = time.Since(began)
		}
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			return took, text.String()
		}
	}
}

func TestHedgingCutsTailLatency(t *testing.T) {
	soakOnly(t)
	const n, slow = 1000, 1500 * time.Millisecond
	measure := func(model map[string]any) (p50, p99 time.Duration, extra, abandoned int) {
		resources := fourResources()
		for i := range resources {
			resources[i].Deployments[0].TimeToFirstToken = 10 * time.Millisecond
		}
		r := api{resources: resources, document: map[string]any{"models": map[string]any{"gpt-4o": model}}}.start(t)
		for _, res := range resources {
			r.sim.Fault(res.Name, simulator.Fault{Action: "slow", Latency: slow, Every: 20})
		}
		took := r.firstTokens(t, n)
		for _, e := range r.sim.Journal() {
			if e.Disconnected() {
				abandoned++
			}
		}
		return took[n/2], took[n*99/100], len(r.sim.Journal()) - n, abandoned
	}
	mid, before, none, _ := measure(map[string]any{"strategy": "round-robin"})
	hedgedMid, after, extra, abandoned := measure(map[string]any{"strategy": "round-robin", "hedge": map[string]any{"after": "300ms", "maxPercent": 5}})
	t.Logf("without: p50 %v p99 %v; with: p50 %v p99 %v, %d extra calls for %d requests, %d broken off", mid, before, hedgedMid, after, extra, n, abandoned)
	if none != 0 || before < slow {
		t.Errorf("without hedges %d extra calls and p99 %v: the fault proves nothing", none, before)
	}
	if after > before*6/10 {
		t.Errorf("p99 fell from %v to %v, want a fall of at least 40 %%", before, after)
	}
	if extra > n*5/100 || extra == 0 || abandoned == 0 {
		t.Errorf("%d extra calls, %d broken off, want at most 5 %%", extra, abandoned)
	}
}
