package meter_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/common/expfmt"

	"spillway/handler/internal/telemetry/meter"
)

func TestPrometheusReadsWhatIsWritten(t *testing.T) {
	r := new(meter.Registry)
	requests := r.Add(meter.Desc{Name: "spillway.requests", Unit: "{request}", Help: "Requests\nof \\ callers.", Kind: meter.Counter})
	phase := r.Add(meter.Desc{Name: "spillway.breaker.phase", Help: "0 closed", Kind: meter.Gauge})
	took := r.Add(meter.Desc{Name: "gen_ai.client.operation.duration", Unit: "s", Help: "Took.", Kind: meter.Histogram, Bounds: []float64{0.1, 1}})
	r.Add(meter.Desc{Name: "spillway.never", Kind: meter.Counter})
	hostile := "a\"b\\c\nd{}π"
	requests.With(meter.Label{Name: "spillway.consumer", Value: hostile}).Add(3)
	requests.With(meter.Label{Name: "spillway.consumer", Value: ""}).Add(2)
	phase.With().Set(-0.5)
	for _, v := range []float64{0.05, 0.1, 0.5, 7} {
		took.With(meter.Label{Name: "gen_ai.request.model", Value: "gpt-4o"}).Observe(v)
	}
	var text bytes.Buffer
	if err := meter.WriteText(&text, r.Gather(), meter.Label{Name: "instance", Value: "i-1"}); err != nil {
		t.Fatal(err)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	if len(families) != 3 {
		t.Errorf("%d families, want 3", len(families))
	}
	metrics := families["spillway_requests_total"].GetMetric()
	sums := map[string]float64{}
	for _, m := range metrics {
		who := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == "spillway_consumer" {
				who = l.GetValue()
			}
		}
		if last := m.GetLabel()[len(m.GetLabel())-1]; last.GetName() != "instance" || last.GetValue() != "i-1" {
			t.Errorf("no instance: %v", m)
		}
		sums[who] = m.GetCounter().GetValue()
	}
	if len(sums) != 2 || sums[hostile] != 3 || sums[""] != 2 {
		t.Errorf("requests: %v", sums)
	}
	if v := families["spillway_breaker_phase"].GetMetric()[0].GetGauge().GetValue(); v != -0.5 {
		t.Errorf("phase %v", v)
	}
	h := families["gen_ai_client_operation_duration_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 4 || math.Abs(h.GetSampleSum()-7.65) > 1e-9 || h.GetBucket()[0].GetCumulativeCount() != 2 || h.GetBucket()[1].GetCumulativeCount() != 3 {
		t.Errorf("histogram %v", h)
	}
}

func TestTheSameLabelsAreTheSameSeries(t *testing.T) {
	f := new(meter.Registry).Add(meter.Desc{Name: "x", Kind: meter.Counter})
	a := f.With(meter.Label{Name: "a", Value: "1"}, meter.Label{Name: "b", Value: ""})
	if b := f.With(meter.Label{Name: "a", Value: "1"}); a != b {
		t.Error("an empty label makes another series")
	}
	if c := f.With(meter.Label{Name: "a", Value: "2"}); a == c {
		t.Error("another value is the same series")
	}
}

func TestTooManySeriesShareOne(t *testing.T) {
	r := new(meter.Registry)
	f := r.Add(meter.Desc{Name: "x", Kind: meter.Counter})
	for i := range 5000 {
		f.With(meter.Label{Name: "a", Value: fmt.Sprint(i)}).Add(1)
	}
	points := r.Gather()[0].Points
	total := 0.0
	shared := 0.0
	for _, p := range points {
		total += p.Value
		if p.Labels[0].Name == "otel.metric.overflow" {
			shared = p.Value
		}
	}
	if len(points) != 2001 || total != 5000 || shared != 3000 {
		t.Errorf("%d series, %v counted, %v of them in the shared one", len(points), total, shared)
	}
}

func TestCountingFromManySidesLosesNothing(t *testing.T) {
	r := new(meter.Registry)
	c := r.Add(meter.Desc{Name: "c", Kind: meter.Counter}).With()
	h := r.Add(meter.Desc{Name: "h", Kind: meter.Histogram, Bounds: []float64{1, 2}}).With()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				c.Add(0.5)
				h.Observe(float64(i % 3))
			}
		})
	}
	all.Wait()
	readings := r.Gather()
	if v := readings[0].Points[0].Value; v != 4000 {
		t.Errorf("counted %v, want 4000", v)
	}
	if p := readings[1].Points[0]; p.Count() != 8000 || p.Buckets[0] != 8*667 || p.Buckets[1] != 8*333 {
		t.Errorf("buckets %v", p.Buckets)
	}
}

func TestWhatIsCountedElsewhereIsSetAheadOfReading(t *testing.T) {
	r := new(meter.Registry)
	h := r.Add(meter.Desc{Name: "h", Kind: meter.Histogram, Bounds: []float64{1}})
	n := uint64(0)
	r.Observe(func() { n++; h.With().SetBuckets([]uint64{n, 2 * n}, 9) })
	r.Gather()
	if p := r.Gather()[0].Points[0]; p.Buckets[0] != 2 || p.Buckets[1] != 4 || p.Value != 9 {
		t.Errorf("%+v", p)
	}
}

func TestNamesFollowOpenTelemetrysRules(t *testing.T) {
	for want, d := range map[string]meter.Desc{
		"gen_ai_client_token_usage":            {Name: "gen_ai.client.token.usage", Unit: "{token}", Kind: meter.Histogram},
		"spillway_throttle_time_seconds_total": {Name: "spillway.throttle.time", Unit: "s", Kind: meter.Counter},
		"process_memory_usage_bytes":           {Name: "process.memory.usage", Unit: "By", Kind: meter.Gauge},
	} {
		if got := meter.PromName(&d); got != want || strings.ContainsAny(got, ".{}") {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	h := new(meter.Registry).Add(meter.Desc{Name: "h", Kind: meter.Histogram, Bounds: []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}}).With()
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(3)
	}
}
