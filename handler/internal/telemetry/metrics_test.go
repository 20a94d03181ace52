package telemetry

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
)

var slots = []string{"ptu/gpt-4o", "payg/gpt-4o", "spare/gpt-4o"}

// scrape is the metrics as Prometheus sees them.
func scrape(t *testing.T, p *Provider) string {
	t.Helper()
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/ops/metrics", nil))
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", got)
	}
	return w.Body.String()
}

// gather reads the metrics as the Prometheus handler does.
func gather(t *testing.T, p *Provider) []*dto.MetricFamily {
	t.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// sources are the state of an instance without its table.
func sources() *Sources {
	return &Sources{
		Slots: slots, Started: testTime.Add(-time.Hour), Now: func() time.Time { return testTime },
		Snapshot: func() *health.Snapshot {
			return &health.Snapshot{Slots: []health.Health{
				{State: health.Open, Until: at(5000)}, {Throttle: health.Throttle{Until: at(1500)}}, {TrafficPercent: 10},
			}}
		},
		InFlight: func(s health.Slot) int64 { return int64(s) },
		Counters: func() fleet.Counters {
			return fleet.Counters{
				Exchanges: 3, Writes: 2, Conflicts: 1, ExchangeTime: 12 * time.Millisecond, Latency: [9]uint64{2, 1}, Outage: 3 * time.Second,
				Trips: 4, Probes: 5, LocalProbes: 6, Disagreement: 700 * time.Millisecond, Disagreements: 2, StaleRequests: 8, Disconnected: true,
			}
		},
		Transcripts: func() (written, dropped uint64) { return 20, 3 },
		Quotas: func() []quota.LimitStatus {
			return []quota.LimitStatus{
				{Consumer: "team-a", Limit: "tokensPerMinute", Amount: 100, Remaining: 40},
				{Consumer: "team-a", Limit: "tokensPerMinute", Model: "gpt-4o", Amount: 60, Remaining: 10},
			}
		},
	}
}

func TestMetricsOfEveryKindOfRequest(t *testing.T) {
	p := testProvider(t)
	m := p.Metrics
	for _, x := range allRequests() {
		for i := 0; x.Result != nil && i < len(x.Result.Attempts); i++ {
			x.Result.Attempts[i].Start = at(10 * i)
		}
		m.RequestDone(x)
	}
	p.Observe(sources())
	var kept []string
	for line := range strings.Lines(scrape(t, p)) {
		// Buckets between the first and the last say no more than the sum does,
		// and what the process uses is not the same twice.
		if strings.Contains(line, "_bucket{") && !strings.Contains(line, "+Inf") || strings.HasPrefix(line, "process_") || strings.HasPrefix(line, "go_") {
			continue
		}
		kept = append(kept, line)
	}
	golden(t, "metrics.golden", strings.Join(kept, ""))
}

func TestMetricsAllocateNothingForKnownKinds(t *testing.T) {
	p := testProvider(t)
	m := p.Metrics
	for _, x := range allRequests() {
		m.RequestDone(x)
		if n := testing.AllocsPerRun(100, func() { m.RequestDone(x) }); n > 0 {
			t.Errorf("%s: %v allocations", x.ID, n)
		}
	}
}

// Azure Monitor takes ten dimensions of a metric; the instance is one of them.
func TestNoMetricHasTooManyDimensions(t *testing.T) {
	p := testProvider(t)
	m := p.Metrics
	for _, x := range allRequests() {
		m.RequestDone(x)
	}
	p.Observe(sources())
	for _, family := range gather(t, p) {
		for _, series := range family.GetMetric() {
			if len(series.GetLabel()) > 10 {
				t.Errorf("%s has %d dimensions: %v", family.GetName(), len(series.GetLabel()), series.GetLabel())
			}
		}
	}
}

func TestCallersCannotAddSeries(t *testing.T) {
	p := testProvider(t)
	m := p.Metrics
	count := func() (n int) {
		for _, family := range gather(t, p) {
			n += len(family.GetMetric())
		}
		return n
	}
	m.RequestDone(refused())
	first := refused()
	first.Method = "BREW"
	m.RequestDone(first)
	before := count()
	for i := range 1000 {
		x := refused()
		x.ID, x.Method, x.Caller, x.KeyID, x.Trace = fmt.Sprint(i), fmt.Sprintf("M%d", i), fmt.Sprint("c", i), fmt.Sprint("k", i), remoteTrace(fmt.Sprintf("00-%032x-%016x-01", i+1, i+1))
		m.RequestDone(x)
	}
	if after := count(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

func TestCountsAreExactBeyondTheCacheAndTheCardinalityLimit(t *testing.T) {
	p := testProvider(t)
	m := p.Metrics
	for i := range maxEntries + 500 {
		x := refused()
		x.Code = fmt.Sprint("code-", i)
		m.RequestDone(x)
	}
	var total float64
	for _, family := range gather(t, p) {
		if family.GetName() == "spillway_refusals_total" {
			for _, series := range family.GetMetric() {
				total += series.GetCounter().GetValue()
			}
		}
	}
	if total != maxEntries+500 {
		t.Errorf("%v refusals counted, want %d", total, maxEntries+500)
	}
}

func BenchmarkMetrics(b *testing.B) {
	m, x := testProvider(b).Metrics, served()
	measureCPU(b, nil, func() { m.RequestDone(x) })
}
