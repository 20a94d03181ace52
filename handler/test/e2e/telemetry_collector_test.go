package e2e_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"spillway/handler/internal/simulator"
)

// otlpReceiver is an OpenTelemetry collector by HTTP that keeps what it
// receives, read with OpenTelemetry's own definitions. The protocols and
// variables are tested in package telemetry.
type otlpReceiver struct {
	url string

	mu      sync.Mutex
	spans   []*trace.Span
	metrics map[string]*metrics.Metric // the latest of each name
	raw     []byte                     // every body, unread
	arrived chan struct{}
}

func startOTLPReceiver(t *testing.T) *otlpReceiver {
	t.Helper()
	c := &otlpReceiver{metrics: map[string]*metrics.Metric{}, arrived: make(chan struct{}, 1)}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *otlpReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body...)
	switch r.URL.Path {
	case "/v1/metrics":
		var data metrics.MetricsData
		if err := proto.Unmarshal(body, &data); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, of := range data.GetResourceMetrics()[0].GetScopeMetrics() {
			for _, m := range of.GetMetrics() {
				c.metrics[m.GetName()] = m
			}
		}
	case "/v1/traces":
		var data trace.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.spans = append(c.spans, data.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()...)
	}
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

// await waits until what arrived is enough.
func (c *otlpReceiver) await(t *testing.T, enough func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		c.mu.Lock()
		ok := enough()
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-c.arrived:
		case <-deadline:
			t.Fatalf("only %d spans and %d metrics arrived", len(c.spans), len(c.metrics))
		}
	}
}

const callerTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestOTLPReceiverGetsSpansAndMetrics(t *testing.T) {
	t.Parallel()
	c := startOTLPReceiver(t)
	r := start(t, setup{env: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.url, "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test",
	}})
	r.sim.Next("ptu", simulator.Fault{Action: "429-ptu", RetryAfter: time.Second})
	a := r.post(chatPath, hello, "Traceparent", callerTraceparent, "Tracestate", "vendor=1")
	if a.status != http.StatusOK {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	c.await(t, func() bool { return len(c.spans) >= 3 && c.metrics["gen_ai.client.token.usage"] != nil })
	byID := map[string]*trace.Span{}
	var own *trace.Span
	for _, s := range c.spans {
		if got := hex.EncodeToString(s.GetTraceId()); got != callerTraceparent[3:35] {
			t.Errorf("a span of trace %s", got)
		}
		byID[hex.EncodeToString(s.GetSpanId())] = s
		if hex.EncodeToString(s.GetParentSpanId()) == callerTraceparent[36:52] {
			own = s
		}
	}
	if own == nil || own.GetKind() != trace.Span_SPAN_KIND_SERVER {
		t.Fatalf("no span has the caller's as its parent: %v", c.spans)
	}
	for _, e := range r.sim.Journal() {
		sent := e.Header.Get("Traceparent")
		s := byID[sent[36:52]]
		if s == nil || sent[:36] != callerTraceparent[:36] || e.Header.Get("Tracestate") != "vendor=1" {
			t.Errorf("%s received %q, which is no span of an attempt", e.Resource, sent)
			continue
		}
		if hex.EncodeToString(s.GetParentSpanId()) != hex.EncodeToString(own.GetSpanId()) || s.GetEndTimeUnixNano() > own.GetEndTimeUnixNano() || s.GetStartTimeUnixNano() < own.GetStartTimeUnixNano() {
			t.Errorf("the attempt at %s is not within the request: %v in %v", e.Resource, s, own)
		}
	}
	for _, name := range []string{"gen_ai.client.operation.duration", "gen_ai.server.time_to_first_token", "spillway.failovers", "spillway.spills", "spillway.breaker.phase", "process.memory.usage"} {
		if c.metrics[name] == nil {
			t.Errorf("no metric %s arrived", name)
		}
	}
}
