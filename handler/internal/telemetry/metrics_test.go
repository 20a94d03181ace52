package telemetry

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry/meter"
)

var slots = []string{"ptu/gpt-4o", "payg/gpt-4o", "spare/gpt-4o"}

// scrape is the metrics as Prometheus sees them.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler("i-1").ServeHTTP(w, httptest.NewRequest("GET", "/ops/metrics", nil))
	if got := w.Header().Get("Content-Type"); got != meter.ContentType {
		t.Errorf("content type %q", got)
	}
	return w.Body.String()
}

// sources are a fleet in trouble.
func sources() *Sources {
	return &Sources{
		Slots: slots, Started: testTime.Add(-time.Hour), Now: func() time.Time { return testTime },
		Snapshot: func() *health.Snapshot {
			return &health.Snapshot{Slots: []health.Health{
				{State: health.Open, Until: at(5000)}, {Throttle: health.Throttle{Until: at(1500)}}, {Share: 10},
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

func TestMetricsSayWhatHappened(t *testing.T) {
	m := NewMetrics(new(meter.Registry), slots)
	for _, x := range allRequests() {
		for i := 0; x.Result != nil && i < len(x.Result.Attempts); i++ {
			x.Result.Attempts[i].Began = at(10 * i)
		}
		m.RequestDone(x)
	}
	m.Observe(sources())
	var kept []string
	for line := range strings.Lines(scrape(t, m)) {
		// Buckets between the first and the last say no more than the sum does,
		// and what the process uses is not the same twice.
		if strings.Contains(line, "_bucket{") && !strings.Contains(line, "+Inf") || strings.HasPrefix(line, "process_") || strings.HasPrefix(line, "go_") {
			continue
		}
		kept = append(kept, line)
	}
	golden(t, "metrics.golden", strings.Join(kept, ""))
}

func TestARequestOfAKnownKindAllocatesNothing(t *testing.T) {
	m := NewMetrics(new(meter.Registry), slots)
	for _, x := range allRequests() {
		m.RequestDone(x)
		if n := testing.AllocsPerRun(100, func() { m.RequestDone(x) }); n > 0 {
			t.Errorf("%s: %v allocations", x.ID, n)
		}
	}
}

// Azure Monitor takes ten dimensions (facts/reliability.md T54); the instance
// is one of them.
func TestNoMetricHasTooManyDimensions(t *testing.T) {
	m := NewMetrics(new(meter.Registry), slots)
	for _, x := range allRequests() {
		m.RequestDone(x)
	}
	m.Observe(sources())
	for _, r := range m.Registry.Gather() {
		for _, p := range r.Points {
			if len(p.Labels) > 9 {
				t.Errorf("%s has %d dimensions: %v", r.Name, len(p.Labels), p.Labels)
			}
		}
	}
}

func TestCallersCannotMakeSeries(t *testing.T) {
	m := NewMetrics(new(meter.Registry), slots)
	count := func() (n int) {
		for _, r := range m.Registry.Gather() {
			n += len(r.Points)
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
		x.ID, x.Method, x.Caller, x.KeyID, x.Traceparent = fmt.Sprint(i), fmt.Sprintf("M%d", i), fmt.Sprint("c", i), fmt.Sprint("k", i), fmt.Sprint("t", i)
		m.RequestDone(x)
	}
	if after := count(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

func TestMoreKindsThanAreKeptAreCountedAllTheSame(t *testing.T) {
	m := NewMetrics(new(meter.Registry), slots)
	for i := range maxEntries + 500 {
		x := refused()
		x.Code = fmt.Sprint("code-", i)
		m.RequestDone(x)
	}
	var total float64
	for _, r := range m.Registry.Gather() {
		if r.Name == "spillway.refusals" {
			for _, p := range r.Points {
				total += p.Value
			}
		}
	}
	if total != maxEntries+500 {
		t.Errorf("%v refusals counted, want %d", total, maxEntries+500)
	}
}

func BenchmarkMetrics(b *testing.B) {
	m, x := NewMetrics(new(meter.Registry), slots), served()
	measureCPU(b, nil, func() { m.RequestDone(x) })
}
