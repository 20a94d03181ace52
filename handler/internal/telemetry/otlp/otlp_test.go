package otlp

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"spillway/handler/internal/telemetry/meter"
)

// The bodies are read by OpenTelemetry's own definitions: MetricsData and
// TracesData have the wire form of the export requests.

var (
	began = time.Unix(1_700_000_000, 5)
	now   = time.Unix(1_700_000_060, 6)
	who   = Resource{{Name: "service.name", Value: "spillway"}, {Name: "service.instance.id", Value: "i-1"}}
)

func texts(all []*common.KeyValue) string {
	var s []string
	for _, kv := range all {
		s = append(s, kv.GetKey()+"="+kv.GetValue().GetStringValue())
	}
	return strings.Join(s, " ")
}

func registry() *meter.Registry {
	r := new(meter.Registry)
	r.Add(meter.Desc{Name: "c", Unit: "{x}", Help: "counts", Kind: meter.Counter}).With(meter.Label{Name: "a", Value: "1"}).Add(2.5)
	r.Add(meter.Desc{Name: "g", Kind: meter.Gauge}).With().Set(-7)
	h := r.Add(meter.Desc{Name: "h", Unit: "s", Kind: meter.Histogram, Bounds: []float64{0.5, 1}})
	for _, v := range []float64{0.1, 0.7, 0.8, 30} {
		h.With(meter.Label{Name: "b", Value: strings.Repeat("long", 100)}).Observe(v)
	}
	return r
}

func TestMetricsAreReadByTheOfficialDefinitions(t *testing.T) {
	var data metrics.MetricsData
	if err := proto.Unmarshal(EncodeMetrics(who, registry().Gather(), began, now), &data); err != nil {
		t.Fatal(err)
	}
	if len(data.ProtoReflect().GetUnknown()) > 0 || len(data.GetResourceMetrics()) != 1 {
		t.Fatalf("%v", &data)
	}
	of := data.GetResourceMetrics()[0]
	if s := texts(of.GetResource().GetAttributes()); s != "service.name=spillway service.instance.id=i-1" {
		t.Errorf("resource %s", s)
	}
	all := of.GetScopeMetrics()[0].GetMetrics()
	if len(all) != 3 || of.GetScopeMetrics()[0].GetScope().GetName() != "spillway" {
		t.Fatalf("%v", of)
	}
	c := all[0].GetSum()
	if p := c.GetDataPoints()[0]; all[0].GetName() != "c" || all[0].GetUnit() != "{x}" || all[0].GetDescription() != "counts" || !c.GetIsMonotonic() ||
		c.GetAggregationTemporality() != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE ||
		p.GetAsDouble() != 2.5 || texts(p.GetAttributes()) != "a=1" || p.GetStartTimeUnixNano() != uint64(began.UnixNano()) || p.GetTimeUnixNano() != uint64(now.UnixNano()) {
		t.Errorf("counter %v", all[0])
	}
	if p := all[1].GetGauge().GetDataPoints()[0]; p.GetAsDouble() != -7 || p.GetStartTimeUnixNano() != 0 {
		t.Errorf("gauge %v", all[1])
	}
	h := all[2].GetHistogram().GetDataPoints()[0]
	if h.GetCount() != 4 || h.GetSum() != 31.6 || !slices.Equal(h.GetBucketCounts(), []uint64{1, 2, 1}) || !slices.Equal(h.GetExplicitBounds(), []float64{0.5, 1}) {
		t.Errorf("histogram %v", h)
	}
}

func aSpan(name string) Span {
	return Span{
		Trace: [16]byte{1, 2}, ID: [8]byte{3}, Parent: [8]byte{4}, State: "x=1", Name: name, Client: true, Began: began, Ended: now, Failure: "503",
		Attributes: []Attribute{{Name: "t", Text: ""}, {Name: "n", Kind: Int, Whole: -5}, {Name: "r", Kind: Double, Real: 0.5}, {Name: "b", Kind: Bool, Whole: 1}, {Name: "nb", Kind: Bool}, {Name: "l", Kind: List, Text: "stop"}},
	}
}

func TestSpansAreReadByTheOfficialDefinitions(t *testing.T) {
	root := Span{Trace: [16]byte{1}, ID: [8]byte{2}, Name: "chat gpt-4o", Began: began, Ended: now}
	var data trace.TracesData
	if err := proto.Unmarshal(EncodeSpans(who, []Span{aSpan("chat gpt-4o"), root}), &data); err != nil {
		t.Fatal(err)
	}
	all := data.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()
	s := all[0]
	if s.GetTraceId()[1] != 2 || s.GetSpanId()[0] != 3 || s.GetParentSpanId()[0] != 4 || s.GetTraceState() != "x=1" || s.GetName() != "chat gpt-4o" ||
		s.GetKind() != trace.Span_SPAN_KIND_CLIENT || s.GetStatus().GetCode() != trace.Status_STATUS_CODE_ERROR || s.GetStatus().GetMessage() != "503" || s.GetFlags() != 1 ||
		s.GetStartTimeUnixNano() != uint64(began.UnixNano()) || s.GetEndTimeUnixNano() != uint64(now.UnixNano()) {
		t.Errorf("%v", s)
	}
	a := s.GetAttributes()
	if _, isText := a[0].GetValue().GetValue().(*common.AnyValue_StringValue); !isText || a[1].GetValue().GetIntValue() != -5 || a[2].GetValue().GetDoubleValue() != 0.5 || !a[3].GetValue().GetBoolValue() {
		t.Errorf("%v", a)
	}
	if _, isBool := a[4].GetValue().GetValue().(*common.AnyValue_BoolValue); !isBool {
		t.Errorf("false is lost: %v", a[4])
	}
	if l := a[5].GetValue().GetArrayValue().GetValues(); len(l) != 1 || l[0].GetStringValue() != "stop" {
		t.Errorf("%v", a[5])
	}
	if r := all[1]; r.GetKind() != trace.Span_SPAN_KIND_SERVER || len(r.GetParentSpanId()) != 0 || r.GetStatus() != nil {
		t.Errorf("%v", r)
	}
}

func TestSettingsAreOpenTelemetrysOwn(t *testing.T) {
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b, x = y ,broken",
		"OTEL_EXPORTER_OTLP_TIMEOUT": "250", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_METRIC_EXPORT_INTERVAL": "1500",
		"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=prod,service.name=other", "OTEL_SERVICE_NAME": "gateway",
		"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
	}
	s := Read(func(name string) string { return env[name] })
	if s.Endpoint != "http://127.0.0.1:4318" || s.Headers.Get("Api-Key") != "a b" || s.Headers.Get("X") != "y" || s.Timeout != 250*time.Millisecond ||
		!s.Gzip || s.Interval != 1500*time.Millisecond || s.Sampler != (Sampler{Ratio: 0.25}) || len(s.Ignored) != 1 {
		t.Errorf("%+v", s)
	}
	if len(s.Attributes) != 2 || s.Attributes[0].Value != "gateway" || s.Attributes[1].Value != "prod" {
		t.Errorf("%+v", s.Attributes)
	}
	d := Read(func(string) string { return "" })
	if d.Interval != time.Minute || d.Timeout != 10*time.Second || d.Sampler != (Sampler{Ratio: 1}) || d.Attributes[0].Value != "spillway" || len(d.Ignored) != 0 {
		t.Errorf("defaults %+v", d)
	}
}

// collector keeps what it is sent, and says what it is told to.
type collector struct {
	mu     sync.Mutex
	spans  []string
	points int
	header http.Header
	status []int // of the next answers; then 200
	came   chan string
}

func collect(t *testing.T, status ...int) (*collector, string) {
	t.Helper()
	c := &collector{status: status, came: make(chan string, 100)}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, s.URL
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header.Clone()
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		from, _ = gzip.NewReader(r.Body)
	}
	body, _ := io.ReadAll(from)
	defer func() { c.came <- r.URL.Path }()
	if len(c.status) > 0 {
		w.WriteHeader(c.status[0])
		c.status = c.status[1:]
		return
	}
	switch r.URL.Path {
	case "/v1/metrics":
		var data metrics.MetricsData
		if proto.Unmarshal(body, &data) == nil {
			c.points += len(data.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics())
		}
	case "/v1/traces":
		var data trace.TracesData
		if proto.Unmarshal(body, &data) == nil {
			for _, s := range data.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans() {
				c.spans = append(c.spans, s.GetName())
			}
		}
	}
}

func settings(url string) Settings {
	return Settings{Endpoint: url, Headers: http.Header{"X-Key": {"k"}}, Timeout: time.Second, Interval: 20 * time.Millisecond, Gzip: true}
}

func TestWhatIsLeftIsPushedAtTheEnd(t *testing.T) {
	c, url := collect(t)
	p := NewPusher(settings(url), who, registry())
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	if path := <-c.came; path != "/v1/metrics" {
		t.Errorf("the timer pushed %s", path)
	}
	for range 3 {
		p.Take(aSpan("late"))
	}
	stop()
	running.Wait()
	if len(c.spans) != 3 || c.points < 6 || p.Dropped() != 0 || p.Failed() != 0 {
		t.Errorf("%d spans, %d metrics, %d dropped, %d failed", len(c.spans), c.points, p.Dropped(), p.Failed())
	}
	if c.header.Get("X-Key") != "k" || c.header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("headers %v", c.header)
	}
}

func TestABatchIsSentAgainWhenTheOtherSideAsksForPatience(t *testing.T) {
	c, url := collect(t, 503, 429)
	s := settings(url)
	s.Interval = time.Hour
	p := NewPusher(s, who, registry())
	p.pushSpans(t.Context(), []Span{aSpan("again")})
	if len(c.spans) != 1 || p.Dropped() != 0 {
		t.Errorf("%d spans, %d dropped", len(c.spans), p.Dropped())
	}
	c.status = []int{400}
	p.pushSpans(t.Context(), []Span{aSpan("never")})
	if len(c.spans) != 1 || p.Dropped() != 1 {
		t.Errorf("a batch that is refused for good: %d spans, %d dropped", len(c.spans), p.Dropped())
	}
}

func TestTroubleIsToldOnce(t *testing.T) {
	_, url := collect(t, 500, 500, 500)
	p := NewPusher(settings(url), who, registry())
	var told []string
	p.Trouble = func(signal string, err error) { told = append(told, signal+" "+err.Error()) }
	for range 4 {
		p.pushMetrics(t.Context())
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "metrics ") || p.Failed() != 3 {
		t.Errorf("told %q, %d failed", told, p.Failed())
	}
}

func TestADeadEndpointCostsWhoTakesASpanNothing(t *testing.T) {
	p := NewPusher(settings("http://127.0.0.1:1"), who, registry())
	began := time.Now()
	const spans = 100_000
	for range spans {
		p.Take(Span{})
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("%d spans took %v", spans, took)
	}
	if p.Dropped() != spans-spanQueue {
		t.Errorf("%d dropped, want %d", p.Dropped(), spans-spanQueue)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	other, url := collect(t)
	s := httptest.NewServer(http.RedirectHandler(url, http.StatusTemporaryRedirect))
	defer s.Close()
	p := NewPusher(settings(s.URL), who, registry())
	p.pushMetrics(t.Context())
	if other.points != 0 || p.Failed() != 1 {
		t.Errorf("%d metrics went elsewhere, with our headers", other.points)
	}
}
