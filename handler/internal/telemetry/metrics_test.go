package telemetry

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"spillway/handler/internal/consumer"
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

// Of ten thousand consumers few have series of their own: those that came first, and
// those that make many requests. The others' requests are all counted.
func TestTheBusiestConsumersHaveSeries(t *testing.T) {
	p := testProvider(t)
	m := p.Metrics
	const consumers, busy = 10_000, "team-9000"
	ask := func(name string) {
		x := served()
		x.Consumer = &consumer.Consumer{Name: name}
		m.RequestDone(x)
	}
	for i := range consumers {
		ask(fmt.Sprint("team-", i))
		if i%20 == 0 {
			ask(busy)
		}
	}
	counted, total := map[string]uint64{}, uint64(0)
	for _, family := range gather(t, p) {
		if family.GetName() != "gen_ai_client_operation_duration_seconds" {
			continue
		}
		for _, series := range family.GetMetric() {
			counted[labelOf(series, "spillway_consumer")] += series.GetHistogram().GetSampleCount()
			total += series.GetHistogram().GetSampleCount()
		}
	}
	if total != consumers+consumers/20 || len(counted) > firstNamed+topNamed+1 {
		t.Errorf("%d requests of %d consumers, want all of the requests", total, len(counted))
	}
	if counted["team-0"] != 1 || counted[busy] < consumers/30 || counted[others.Name] < consumers/2 {
		t.Errorf("the first consumer %d, the busiest %d, others %d", counted["team-0"], counted[busy], counted[others.Name])
	}
	if size := len(scrape(t, p)); size > 2<<20 {
		t.Errorf("%d bytes of metrics", size)
	}
}

func labelOf(series *dto.Metric, name string) string {
	for _, label := range series.GetLabel() {
		if label.GetName() == name {
			return label.GetValue()
		}
	}
	return ""
}

// The limits of which most is used are listed, and the sums of the others.
func TestTheMostUsedLimitsHaveSeries(t *testing.T) {
	p, all := testProvider(t), make([]quota.LimitStatus, 10_000)
	for i := range all {
		all[i] = quota.LimitStatus{Consumer: fmt.Sprint("team-", i), Limit: "tokensPerMinute", Amount: 100, Used: float64(i % 50), Remaining: 100 - float64(i%50)}
	}
	all[9000].Used, all[9000].Remaining = 99, 1
	s := sources()
	s.Quotas = func() []quota.LimitStatus { return slices.Clone(all) }
	p.Observe(s)
	used, remaining := map[string]float64{}, 0.0
	for _, family := range gather(t, p) {
		for _, series := range family.GetMetric() {
			switch family.GetName() {
			case "spillway_quota_used":
				used[labelOf(series, "spillway_consumer")] = series.GetGauge().GetValue()
			case "spillway_quota_remaining":
				remaining += series.GetGauge().GetValue()
			}
		}
	}
	if len(used) != mostLimits+1 || used["team-9000"] != 99 || used[others.Name] == 0 {
		t.Errorf("%d series, team-9000 %v, others %v", len(used), used["team-9000"], used[others.Name])
	}
	var want float64
	for i := range all {
		want += all[i].Remaining
	}
	if remaining != want {
		t.Errorf("%v remaining in all, want %v", remaining, want)
	}
}

func BenchmarkMetrics(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("consumers=%d", n), func(b *testing.B) {
			m, x, i := testProvider(b).Metrics, served(), 0
			all := make([]*consumer.Consumer, n)
			for i := range all {
				all[i] = &consumer.Consumer{Name: fmt.Sprint("team-", i)}
			}
			measureCPU(b, nil, func() {
				x.Consumer = all[i%n]
				i++
				m.RequestDone(x)
			})
		})
	}
}
