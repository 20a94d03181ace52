package e2e_test

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// openLoop sends n requests at a fixed rate, whatever becomes of them, and
// counts those that were not answered 200.
func (r *rig) openLoop(n int, every time.Duration) (failed int64) {
	r.t.Helper()
	client := &http.Transport{MaxIdleConnsPerHost: 256}
	defer client.CloseIdleConnections()
	var wrong atomic.Int64
	var under sync.WaitGroup
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for range n {
		<-ticker.C
		under.Go(func() {
			req, err := http.NewRequestWithContext(context.WithoutCancel(r.t.Context()), http.MethodPost, r.host.URL+chatPath, strings.NewReader(hello))
			if err != nil {
				wrong.Add(1)
				return
			}
			res, err := client.RoundTrip(req)
			if err != nil {
				wrong.Add(1)
				r.t.Log(err)
				return
			}
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK {
				wrong.Add(1)
				r.t.Log(res.StatusCode, err)
			}
		})
	}
	under.Wait()
	return wrong.Load()
}

// window is one time the PTU asked to be left alone.
type window struct{ from, until time.Time }

func windows(journal []simulator.Entry) []window {
	var out []window
	for _, e := range journal {
		if e.Status != http.StatusTooManyRequests {
			continue
		}
		ms, _ := strconv.Atoi(e.ResponseHeader.Get("Retry-After-Ms"))
		out = append(out, window{e.End, e.End.Add(time.Duration(ms) * time.Millisecond)})
	}
	return out
}

// A PTU of 50 requests a second is offered 150: all are answered, it is kept
// busy, and pay-as-you-go gets only what it refuses.
func TestLoadSpillsFromPTUAndReturns(t *testing.T) {
	soakOnly(t)
	backends := threeBackends()
	d := &backends[0].deployment
	d.ProvisionedTokensPerMinute, d.ProvisionedBurst, d.AnswerTokens = 60*50*18, 400*time.Millisecond, 16
	r := start(t, setup{backends: backends})
	const requests = 2250
	if failed := r.openLoop(requests, time.Second/150); failed != 0 {
		t.Errorf("%d of %d requests were not answered 200", failed, requests)
	}
	ptu := r.sim.JournalOf("ptu")
	throttled := windows(ptu)
	if len(throttled) < 20 {
		t.Fatalf("the PTU refused %d times: the load did not fill it", len(throttled))
	}
	r.wantSpillOnlyInside(throttled)
	r.wantReturnAfter(throttled, ptu)
	report := r.sim.PTU("ptu", "gpt-4o")
	t.Logf("PTU: %+v; busy %.1f %%, used of what was open %.1f %%", report, 100*report.BusyShare(), 100*report.UsedShare())
	if report.BusyShare() < 0.95 {
		t.Errorf("the PTU was busy %.1f %% of the time, want at least 95", 100*report.BusyShare())
	}
}

// wantSpillOnlyInside checks that whatever went to pay-as-you-go went there
// because the PTU had asked to be left alone, by the handler's own account, and
// logs how well that agrees with the PTU's.
func (r *rig) wantSpillOnlyInside(throttled []window) {
	r.t.Helper()
	unexplained := 0
	for _, line := range r.host.Stdout() {
		if strings.Contains(line.Text, `"backend":"payg`) && !throttledPTU.MatchString(line.Text) {
			unexplained++
			r.t.Log(line.Text)
		}
	}
	if unexplained > 0 {
		r.t.Errorf("%d requests spilled though the PTU was not known to be throttled", unexplained)
	}
	const slack = 50 * time.Millisecond
	outside, spilled := 0, 0
	for _, e := range append(r.sim.JournalOf("payg1"), r.sim.JournalOf("payg2")...) {
		spilled++
		if !slices.ContainsFunc(throttled, func(w window) bool { return e.Time.After(w.from.Add(-slack)) && e.Time.Before(w.until.Add(slack)) }) {
			outside++
		}
	}
	r.t.Logf("%d requests spilled, %d of them more than %v outside the PTU's own windows", spilled, outside, slack)
	if spilled == 0 || outside*50 > spilled {
		r.t.Errorf("%d of %d spilled requests left while the PTU was open", outside, spilled)
	}
}

var throttledPTU = regexp.MustCompile(`"backend":"ptu","(verdict":"|why":")throttled`)

// wantReturnAfter checks that the PTU is used again as soon as its wait is
// over.
func (r *rig) wantReturnAfter(throttled []window, ptu []simulator.Entry) {
	r.t.Helper()
	var delays []time.Duration
	for _, w := range throttled {
		i := slices.IndexFunc(ptu, func(e simulator.Entry) bool { return !e.Time.Before(w.until) })
		if i >= 0 {
			delays = append(delays, ptu[i].Time.Sub(w.until))
		}
	}
	slices.Sort(delays)
	late, _ := slices.BinarySearch(delays, 50*time.Millisecond)
	r.t.Logf("return to the PTU after its wait: p50 %v, p95 %v, max %v; %d of %d within 50ms",
		delays[len(delays)/2], delays[len(delays)*95/100], delays[len(delays)-1], late, len(delays))
	if late*100 < len(delays)*95 {
		r.t.Errorf("%d of %d returns took longer than 50ms", len(delays)-late, len(delays))
	}
}
