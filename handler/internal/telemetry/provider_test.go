package telemetry

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // what OTEL_EXPORTER_OTLP_COMPRESSION asks for
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// receiver is an OpenTelemetry collector that keeps what it receives, by gRPC
// and by HTTP, read with OpenTelemetry's own definitions.
type receiver struct {
	collectormetrics.UnimplementedMetricsServiceServer
	collectortrace.UnimplementedTraceServiceServer

	mu        sync.Mutex
	paths     []string // of requests by HTTP
	keys      []string // the header X-Key of each request
	resources []*resourcepb.Resource
	metrics   map[string]*metricspb.Metric
	spans     []*tracepb.Span
	status    int // of answers by HTTP; 0 = 200
}

func newReceiver() *receiver { return &receiver{metrics: map[string]*metricspb.Metric{}} }

func (r *receiver) addMetrics(all []*metricspb.ResourceMetrics, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, key)
	for _, rm := range all {
		r.resources = append(r.resources, rm.GetResource())
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				r.metrics[m.GetName()] = m
			}
		}
	}
}

func (r *receiver) addSpans(all []*tracepb.ResourceSpans, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, key)
	for _, rs := range all {
		r.resources = append(r.resources, rs.GetResource())
		for _, ss := range rs.GetScopeSpans() {
			r.spans = append(r.spans, ss.GetSpans()...)
		}
	}
}

// metricsService and traceService give the receiver both methods named Export.
type (
	metricsService struct{ *receiver }
	traceService   struct{ *receiver }
)

func keyOf(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(md.Get("x-key"), ",")
}

func (s metricsService) Export(ctx context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.addMetrics(r.GetResourceMetrics(), keyOf(ctx))
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

func (s traceService) Export(ctx context.Context, r *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	s.addSpans(r.GetResourceSpans(), keyOf(ctx))
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var from io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		from, _ = gzip.NewReader(req.Body)
	}
	body, _ := io.ReadAll(from)
	r.mu.Lock()
	r.paths = append(r.paths, req.URL.Path)
	status := r.status
	r.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	if strings.Contains(req.URL.Path, "metrics") {
		var data collectormetrics.ExportMetricsServiceRequest
		if proto.Unmarshal(body, &data) == nil {
			r.addMetrics(data.GetResourceMetrics(), req.Header.Get("X-Key"))
		}
		return
	}
	var data collectortrace.ExportTraceServiceRequest
	if proto.Unmarshal(body, &data) == nil {
		r.addSpans(data.GetResourceSpans(), req.Header.Get("X-Key"))
	}
}

// serve starts the receiver, by HTTP and by gRPC, and returns both endpoints;
// with a certificate when secure, which is then the returned file.
func (r *receiver) serve(t *testing.T, secure bool) (http, grpcEndpoint, certificate string) {
	t.Helper()
	server, scheme := httptest.NewUnstartedServer(r), "http://"
	var options []grpc.ServerOption
	if secure {
		server.StartTLS()
		scheme, certificate = "https://", filepath.Join(t.TempDir(), "ca.pem")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		if err := os.WriteFile(certificate, text, 0o600); err != nil {
			t.Fatal(err)
		}
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12})))
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(options...)
	collectormetrics.RegisterMetricsServiceServer(g, metricsService{r})
	collectortrace.RegisterTraceServiceServer(g, traceService{r})
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	return server.URL, scheme + l.Addr().String(), certificate
}

// export observes two requests and ends the provider, which exports what is
// left.
func export(t *testing.T, p *Provider) {
	t.Helper()
	p.Observe(sources())
	for _, x := range allRequests() {
		p.Metrics.RequestDone(x)
		if p.Traces() {
			p.Tracer.RequestDone(traced(p.Tracer, x, callerHeaders(callerTraceparent)))
		}
	}
	end(t, p)
}

// end runs the provider to its end.
func end(t *testing.T, p *Provider) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	p.Run(ctx)
}

func texts(all []*common.KeyValue) map[string]string {
	values := map[string]string{}
	for _, kv := range all {
		values[kv.GetKey()] += kv.GetValue().GetStringValue()
	}
	return values
}

func TestExportByEveryProtocol(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, protocol := range []string{"http/protobuf", "grpc"} {
			name := protocol
			if secure {
				name += " with TLS"
			}
			t.Run(name, func(t *testing.T) {
				r := newReceiver()
				byHTTP, byGRPC, certificate := r.serve(t, secure)
				endpoint := byHTTP
				if protocol == "grpc" {
					endpoint = byGRPC
				}
				p, log := loggedProvider(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_CERTIFICATE="+certificate,
					"OTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_SERVICE_NAME=gateway", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test,cloud.region=other")
				export(t, p)
				checkExport(t, r)
				if log.String() != "" || p.errors.failed.Load() != 0 {
					t.Errorf("%d failures: %s", p.errors.failed.Load(), log)
				}
			})
		}
	}
}

// checkExport checks what the receiver has of export's requests.
func checkExport(t *testing.T, r *receiver) {
	t.Helper()
	want := 0
	for _, x := range allRequests() {
		want++
		if x.Result != nil {
			want += len(x.Result.Attempts)
		}
	}
	if len(r.spans) != want || r.metrics["gen_ai.client.token.usage"] == nil || r.metrics["spillway.table.exchange.duration"] == nil || r.metrics["process.uptime"] == nil {
		t.Fatalf("%d spans and %d metrics arrived", len(r.spans), len(r.metrics))
	}
	for _, key := range r.keys {
		if key != "a b" {
			t.Errorf("a request had the header %q", key)
		}
	}
	for _, resource := range r.resources {
		has := texts(resource.GetAttributes())
		if len(has) != len(resource.GetAttributes()) || has["service.name"] != "gateway" || has["service.version"] != "1.2.3" || has["service.instance.id"] != "i-1" ||
			has["cloud.region"] != "other" || has["deployment.environment.name"] != "test" {
			t.Errorf("resource %v", resource)
		}
	}
	bounds := r.metrics["gen_ai.client.operation.duration"].GetHistogram().GetDataPoints()[0].GetExplicitBounds()
	if !slices.Equal(bounds, operationBounds()) {
		t.Errorf("buckets %v", bounds)
	}
	for _, point := range r.metrics["http.server.request.duration"].GetHistogram().GetDataPoints() {
		for _, kv := range point.GetAttributes() {
			if _, isInt := kv.GetValue().GetValue().(*common.AnyValue_IntValue); kv.GetKey() == "http.response.status_code" && !isInt {
				t.Errorf("%v is no integer", kv)
			}
		}
	}
}

func TestNothingIsExportedUnlessAVariableAsksForIt(t *testing.T) {
	r := newReceiver()
	byHTTP, _, _ := r.serve(t, false)
	for name, env := range map[string][]string{
		"nothing":           {"OTEL_SERVICE_NAME=x", "OTEL_EXPORTER_OTLP_HEADERS=a=b"},
		"the SDK is off":    {"OTEL_EXPORTER_OTLP_ENDPOINT=" + byHTTP, "OTEL_SDK_DISABLED=true"},
		"exporters are off": {"OTEL_EXPORTER_OTLP_ENDPOINT=" + byHTTP, "OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testProvider(t, env...)
			export(t, p)
			if len(r.spans)+len(r.metrics) != 0 || p.Traces() {
				t.Errorf("%d spans and %d metrics were exported", len(r.spans), len(r.metrics))
			}
		})
	}
}

func TestEachSignalHasAnEndpointOfItsOwn(t *testing.T) {
	metrics, traces := newReceiver(), newReceiver()
	forMetrics, _, _ := metrics.serve(t, false)
	_, forTraces, _ := traces.serve(t, false)
	p := testProvider(t, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="+forMetrics+"/own/path/metrics", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+forTraces, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc",
		"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta")
	export(t, p)
	if len(metrics.spans) != 0 || len(metrics.metrics) == 0 || len(traces.spans) == 0 || len(traces.metrics) != 0 || metrics.paths[0] != "/own/path/metrics" {
		t.Errorf("metrics: %d spans, %d metrics at %q; traces: %d, %d", len(metrics.spans), len(metrics.metrics), metrics.paths, len(traces.spans), len(traces.metrics))
	}
	if got := metrics.metrics["spillway.attempts"].GetSum().GetAggregationTemporality(); got != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA {
		t.Errorf("temporality %v", got)
	}
}

func TestUnknownValuesAreLoggedAndExportNothing(t *testing.T) {
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL=carrier pigeon", "OTEL_TRACES_EXPORTER=jaeger", "OTEL_TRACES_SAMPLER=sometimes", "OTEL_PROPAGATORS=shouting"} {
		t.Run(variable, func(t *testing.T) {
			p, log := loggedProvider(t, variable, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1")
			if name, _, _ := strings.Cut(variable, "="); !strings.Contains(log.String(), `"msg":"configuration"`) || !strings.Contains(log.String(), name[:len("OTEL_TRA")]) {
				t.Errorf("logged %s", log)
			}
			_ = p.meters.Shutdown(t.Context())
		})
	}
}

func TestFailedExportsAreCountedAndLoggedOnce(t *testing.T) {
	r := newReceiver()
	r.status = http.StatusBadRequest
	byHTTP, _, _ := r.serve(t, false)
	p, log := loggedProvider(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+byHTTP)
	for range 3 {
		p.Tracer.RequestDone(traced(p.Tracer, served(), nil))
		p.errors.Handle(p.spans.ForceFlush(t.Context()))
		p.errors.Handle(p.meters.ForceFlush(t.Context()))
	}
	if p.errors.failed.Load() < 6 || p.queue.dropped.Load() != 6 {
		t.Errorf("%d failures, %d spans dropped", p.errors.failed.Load(), p.queue.dropped.Load())
	}
	for _, signal := range []string{"traces", "metrics"} {
		if n := strings.Count(log.String(), `"msg":"telemetry is not exported","signal":"`+signal+`"`); n != 1 {
			t.Errorf("%d lines of %s: %s", n, signal, log)
		}
	}
	p.Observe(sources())
	if text := scrape(t, p); !strings.Contains(text, "spillway_telemetry_spans_dropped_total{instance=\"i-1\"} 6\n") || p.queue.pending.Load() != 0 {
		t.Errorf("%d spans are pending: %s", p.queue.pending.Load(), text)
	}
	end(t, p)
}

func TestExportErrorsHaveALineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &exportErrors{last: map[string]*failure{}}
		lines, omitted := 0, 0
		for range 60 * 5 {
			if n, ok := e.allow("traces", time.Now()); ok {
				lines, omitted = lines+1, n
			}
			time.Sleep(time.Second)
		}
		if lines != 5 || omitted != 59 {
			t.Errorf("%d lines in five minutes, the last with %d omitted", lines, omitted)
		}
	})
}

// stuckExporter never finishes an export.
type stuckExporter struct{ discardSpans }

func (stuckExporter) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	<-ctx.Done()
	return errors.New("stuck")
}

func TestRequestsDoNotWaitForAStuckExporter(t *testing.T) {
	p := testProvider(t, "OTEL_BSP_MAX_QUEUE_SIZE=100")
	p.queue = newSpanQueue(stuckExporter{})
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.queue), sdktrace.WithIDGenerator(contextIDs{}), sdktrace.WithSampler(p.Tracer.sampler))
	p.Tracer.spans = provider.Tracer(scope)
	x := traced(p.Tracer, served(), nil)
	for range 1000 { // blocks for ever if a span waits
		p.Tracer.RequestDone(x)
	}
	if n := p.queue.dropped.Load(); n != 2000-100 {
		t.Errorf("%d spans of 2000 were dropped, want 1900", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = provider.Shutdown(ctx)
}
