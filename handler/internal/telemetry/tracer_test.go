package telemetry

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"spillway/handler/internal/api"
	"spillway/handler/internal/proxy"
)

// testTracer is a tracer that exports into memory.
func testTracer(t *testing.T, sampler, argument string) (*Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	s, err := samplerOf(sampler, argument, false)
	if err != nil {
		t.Fatal(err)
	}
	exported := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exported), sdktrace.WithIDGenerator(contextIDs{}), sdktrace.WithSampler(s))
	return &Tracer{
		spans: provider.Tracer(scope), sampler: s, propagator: propagation.TraceContext{}, seed: maphash.MakeSeed(), slots: slots,
		servers: []server{{text("server.address", "ptu.example"), attribute.Int("server.port", 443)}},
	}, exported
}

// traced gives the request the trace of its caller's headers, as api does.
func traced(t *Tracer, x *api.RequestRecord, caller http.Header) *api.RequestRecord {
	x.Trace = t.Extract(caller, x.ID)
	return x
}

// backendHeaders are what the backend of an attempt gets of the trace context.
func backendHeaders(t *Tracer, x *api.RequestRecord, caller http.Header, i int) http.Header {
	sent := caller.Clone() // backend.Client forwards what it does not withhold
	t.Inject(&proxy.Request{ID: x.ID, Header: caller}, x.Result.Attempts[i].Backend, sent)
	return sent
}

func callerHeaders(traceparent string) http.Header {
	return http.Header{"Traceparent": {traceparent}, "Tracestate": {"vendor=1"}}
}

func TestTraceContextReachesBackends(t *testing.T) {
	tracer, exported := testTracer(t, "", "")
	caller := callerHeaders(callerTraceparent)
	x := traced(tracer, spilled(), caller)
	x.Result.Attempts[0].Start, x.Result.Attempts[1].Start = at(1), at(30)
	tracer.RequestDone(x)
	spans := exported.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want one of the request and two of attempts", len(spans))
	}
	own := spans[2]
	if own.SpanContext.TraceState().Len() != 0 || own.Parent.TraceState().Len() != 0 || spans[0].SpanContext.TraceState().Len() != 0 {
		t.Errorf("the caller's tracestate is exported: %+v", own)
	}
	if own.SpanContext.TraceID().String() != callerTraceparent[3:35] || own.Parent.SpanID().String() != callerTraceparent[36:52] || own.SpanKind != trace.SpanKindServer ||
		own.Name != "chat gpt-4o" || own.Status.Code != codes.Unset || !own.StartTime.Equal(x.Start) || !own.EndTime.Equal(x.Start.Add(x.Duration)) {
		t.Errorf("the span of the request: %+v", own)
	}
	for i, s := range spans[:2] {
		want := fmt.Sprintf("00-%s-%s-01", s.SpanContext.TraceID(), s.SpanContext.SpanID())
		h := backendHeaders(tracer, x, caller, i)
		if h.Get("Traceparent") != want || h.Get("Tracestate") != "vendor=1" {
			t.Errorf("the backend of attempt %d got %v, want %s", i, h, want)
		}
		if s.SpanContext.TraceID() != own.SpanContext.TraceID() || s.Parent.SpanID() != own.SpanContext.SpanID() || s.SpanKind != trace.SpanKindClient || !s.StartTime.Equal(x.Result.Attempts[i].Start) {
			t.Errorf("attempt %d: %+v", i, s)
		}
	}
	if spans[0].Status != (sdktrace.Status{Code: codes.Error, Description: "503"}) || spans[1].Status.Code != codes.Unset || spans[0].SpanContext.SpanID() == spans[1].SpanContext.SpanID() {
		t.Errorf("%+v", spans)
	}
}

func attributesOf(s tracetest.SpanStub) map[string]any {
	all := map[string]any{}
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

func TestSpanAttributes(t *testing.T) {
	tracer, exported := testTracer(t, "always_on", "")
	tracer.RequestDone(traced(tracer, served(), nil))
	tracer.RequestDone(traced(tracer, broken(), nil))
	spans := exported.GetSpans()
	attempt, request := attributesOf(spans[0]), attributesOf(spans[1])
	for name, want := range map[string]any{
		"http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": int64(200), "url.scheme": "http", "gen_ai.request.model": "gpt-4o",
		"gen_ai.operation.name": "chat", "spillway.consumer": "team-a", "spillway.request_id": "req_SERVED", "spillway.backend": "ptu",
	} {
		if request[name] != want {
			t.Errorf("request: %s is %v, want %v", name, request[name], want)
		}
	}
	for name, want := range map[string]any{
		"server.address": "ptu.example", "server.port": int64(443), "http.response.status_code": int64(200), "gen_ai.provider.name": "azure.ai.openai",
		"gen_ai.usage.input_tokens": int64(1200), "gen_ai.usage.output_tokens": int64(80), "gen_ai.usage.cache_read.input_tokens": int64(1000),
		"gen_ai.usage.reasoning.output_tokens": int64(30), "gen_ai.response.model": "gpt-4o", "spillway.verdict": "served",
	} {
		if attempt[name] != want {
			t.Errorf("attempt: %s is %v, want %v", name, attempt[name], want)
		}
	}
	if reasons, _ := attempt["gen_ai.response.finish_reasons"].([]string); !slices.Equal(reasons, []string{"stop"}) || attempt["error.type"] != nil || request["error.type"] != nil {
		t.Errorf("attempt %v, request %v", attempt, request)
	}
	misconfigured, cut := attributesOf(spans[2]), attributesOf(spans[4])
	if misconfigured["error.type"] != "401" || misconfigured["http.response.status_code"] != int64(401) || cut["error.type"] != "broken" || spans[4].Status.Code != codes.Error {
		t.Errorf("%v, %v", misconfigured, spans[4])
	}
}

func TestUnsampledTraceContextPassesUnchanged(t *testing.T) {
	tracer, exported := testTracer(t, "", "")
	caller := callerHeaders(callerTraceparent[:53] + "00")
	x := traced(tracer, spilled(), caller)
	tracer.RequestDone(x)
	if h := backendHeaders(tracer, x, caller, 0); len(exported.GetSpans()) != 0 || h.Get("Traceparent") != caller.Get("Traceparent") || h.Get("Tracestate") != "vendor=1" {
		t.Errorf("%d spans, sent %v", len(exported.GetSpans()), h)
	}
}

func TestTraceStartsHereWithoutAValidParent(t *testing.T) {
	for name, header := range map[string]string{
		"none": "", "short": callerTraceparent[:50], "capitals": strings.ToUpper(callerTraceparent), "zero trace": "00-" + strings.Repeat("0", 32) + callerTraceparent[35:],
		"version ff": "ff" + callerTraceparent[2:], "longer": callerTraceparent + "-x", "hostile": "00-\r\nx: y" + callerTraceparent[10:],
	} {
		tracer, exported := testTracer(t, "", "")
		caller := callerHeaders(header)
		x := traced(tracer, served(), caller)
		tracer.RequestDone(x)
		spans := exported.GetSpans()
		if len(spans) != 2 || spans[1].Parent.SpanID().IsValid() || !spans[1].SpanContext.TraceID().IsValid() || spans[1].SpanContext.TraceID() != x.Trace.TraceID() {
			t.Errorf("%s: %+v", name, spans)
			continue
		}
		want := fmt.Sprintf("00-%s-%s-01", spans[0].SpanContext.TraceID(), spans[0].SpanContext.SpanID())
		if h := backendHeaders(tracer, x, caller, 0); h.Get("Traceparent") != want || h.Get("Tracestate") != "" {
			t.Errorf("%s: sent %v", name, h)
		}
	}
	if sc := remoteTrace("cc" + callerTraceparent[2:] + "-future"); !sc.IsSampled() {
		t.Error("a later version is not read as far as it is known")
	}
}

func TestSamplers(t *testing.T) {
	count := func(tracer *Tracer, header string) (n int) {
		for i := range 4000 {
			if tracer.sampled(tracer.Extract(callerHeaders(header), fmt.Sprintf("req_%d", i))) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		sampler, argument string
		header            string
		min, max          int
	}{
		{"", "", "", 4000, 4000},
		{"always_on", "", callerTraceparent[:53] + "00", 4000, 4000},
		{"always_off", "", callerTraceparent, 0, 0},
		{"traceidratio", "0", callerTraceparent, 0, 0},
		{"traceidratio", "0.25", "", 850, 1150},
		{"parentbased_always_on", "", callerTraceparent[:53] + "00", 0, 0},
		{"parentbased_always_off", "", callerTraceparent, 4000, 4000},
		{"parentbased_always_off", "", "", 0, 0},
		{"parentbased_traceidratio", "0.25", "", 850, 1150},
		{"parentbased_traceidratio", "0.25", callerTraceparent, 4000, 4000},
	} {
		tracer, _ := testTracer(t, c.sampler, c.argument)
		if n := count(tracer, c.header); n < c.min || n > c.max {
			t.Errorf("%s %s %q: %d of 4000", c.sampler, c.argument, c.header, n)
		}
	}
	for _, bad := range [][2]string{{"sometimes", ""}, {"traceidratio", "2"}, {"parentbased_traceidratio", "half"}} {
		if s, err := samplerOf(bad[0], bad[1], false); err == nil || s.Description() != sdktrace.ParentBased(sdktrace.AlwaysSample()).Description() {
			t.Errorf("%v: %v, %v", bad, s.Description(), err)
		}
	}
}

func TestPropagators(t *testing.T) {
	for names, want := range map[string]string{
		"": "traceparent tracestate", "tracecontext,baggage": "traceparent tracestate", "b3": "b3", "none": "", "baggage": "", "b3multi, tracecontext": "traceparent tracestate x-b3-flags x-b3-sampled x-b3-spanid x-b3-traceid",
	} {
		p, err := propagatorOf(names)
		if err != nil {
			t.Errorf("%q: %v", names, err)
			continue
		}
		fields := slices.Sorted(slices.Values(p.Fields()))
		if got := strings.Join(slices.Compact(fields), " "); got != want {
			t.Errorf("%q reads and writes %q, want %q", names, got, want)
		}
	}
	if p, err := propagatorOf("smoke signals"); err == nil || len(p.Fields()) != 2 {
		t.Errorf("an unknown propagator: %v", err)
	}
}

func TestAttemptsAtOneBackendAreDifferentSpans(t *testing.T) {
	tracer, exported := testTracer(t, "", "")
	x := served()
	x.Result.Attempts = append(x.Result.Attempts, x.Result.Attempts[0])
	tracer.RequestDone(traced(tracer, x, nil))
	if spans := exported.GetSpans(); len(spans) != 3 || spans[0].SpanContext.SpanID() == spans[1].SpanContext.SpanID() {
		t.Errorf("%+v", spans)
	}
}

// discardSpans is an exporter that keeps nothing.
type discardSpans struct{}

func (discardSpans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discardSpans) Shutdown(context.Context) error                             { return nil }

// observers are all that observe a request, with the caller's trace sampled or
// not. The returned functions start and end a request.
func observers(tb testing.TB, flag string) (run func(), out *LogWriter) {
	tb.Helper()
	out = NewLogWriter(discard{}, discard{}, 4096)
	tb.Cleanup(func() { out.Close(time.Minute) })
	p := testProvider(tb)
	p.queue = newSpanQueue(discardSpans{})
	p.Tracer.spans = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.queue), sdktrace.WithIDGenerator(contextIDs{}), sdktrace.WithSampler(p.Tracer.sampler)).Tracer(scope)
	x, caller := served(), http.Header{"Traceparent": {callerTraceparent[:53] + flag}}
	all := Observers{&RequestLog{Out: out, Instance: "i-1"}, p.Metrics, p.Tracer}
	return func() {
		x.Trace = p.Tracer.Extract(caller, x.ID)
		all.RequestDone(x)
	}, out
}

func TestObservingARequestAllocatesLittle(t *testing.T) {
	for flag, limit := range map[string]float64{"00": 8, "01": 60} {
		run, _ := observers(t, flag)
		run()
		if n := testing.AllocsPerRun(2000, run); n > limit {
			t.Errorf("flag %s: %v allocations, want at most %v", flag, n, limit)
		} else {
			t.Logf("flag %s: %v allocations", flag, n)
		}
	}
}

// BenchmarkAll is what a request costs to observe: its trace context is read,
// and its log line, its metrics and its spans are made.
func BenchmarkAll(b *testing.B) {
	for _, c := range []struct {
		name string
		flag string
	}{{"unsampled", "00"}, {"sampled", "01"}} {
		b.Run(c.name, func(b *testing.B) {
			run, out := observers(b, c.flag)
			measureCPU(b, out, run)
		})
	}
}

// The Functions host gives requests without a parent one that is not sampled: it
// decides nothing, and the trace keeps the host's id.
func TestUnsampledParentOfTheHostDecidesNothing(t *testing.T) {
	unsampled := callerTraceparent[:53] + "00"
	for sampler, want := range map[string]int{"": 2, "parentbased_always_on": 2, "parentbased_always_off": 0, "always_off": 0} {
		tracer, exported := testTracer(t, sampler, "")
		tracer.sampler, _ = samplerOf(sampler, "", true)
		tracer.spans = sdktrace.NewTracerProvider(sdktrace.WithSyncer(exported), sdktrace.WithIDGenerator(contextIDs{}), sdktrace.WithSampler(tracer.sampler)).Tracer(scope)
		caller := callerHeaders(unsampled)
		x := traced(tracer, served(), caller)
		tracer.RequestDone(x)
		spans := exported.GetSpans()
		if len(spans) != want || x.Trace.TraceID().String() != unsampled[3:35] {
			t.Errorf("%q: %d spans, want %d, in trace %s", sampler, len(spans), want, x.Trace.TraceID())
			continue
		}
		if h := backendHeaders(tracer, x, caller, 0); want > 0 && (spans[0].SpanContext.TraceID() != x.Trace.TraceID() || !strings.HasSuffix(h.Get("Traceparent"), "-01")) {
			t.Errorf("%q: trace %s, the backend got %s", sampler, spans[0].SpanContext.TraceID(), h.Get("Traceparent"))
		}
	}
	tracer, exported := testTracer(t, "", "")
	tracer.sampler, _ = samplerOf("", "", true)
	tracer.RequestDone(traced(tracer, served(), callerHeaders(callerTraceparent)))
	if len(exported.GetSpans()) != 2 {
		t.Errorf("%d spans of a sampled parent", len(exported.GetSpans()))
	}
}
