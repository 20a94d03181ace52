package telemetry

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

var _ api.Observer = (*Tracer)(nil)

// Tracer makes a span of each request and of each of its attempts once the
// request has ended, and passes the trace context on to backends before. The
// ids of the spans follow from the request's id: nothing is kept in between,
// and a trace that is not sampled costs reading a header.
type Tracer struct {
	spans      trace.Tracer // nil = spans are not exported
	sampler    sdktrace.Sampler
	propagator propagation.TextMapPropagator
	seed       maphash.Seed
	slots      []string
	servers    []server
}

func newTracer(c *Config, errs *exportErrors) *Tracer {
	sampler, err := samplerOf(os.Getenv("OTEL_TRACES_SAMPLER"), os.Getenv("OTEL_TRACES_SAMPLER_ARG"), c.UndecidedParents)
	errs.configuration("OTEL_TRACES_SAMPLER", err)
	propagator, err := propagatorOf(os.Getenv("OTEL_PROPAGATORS"))
	errs.configuration("OTEL_PROPAGATORS", err)
	return &Tracer{sampler: sampler, propagator: propagator, seed: maphash.MakeSeed(), slots: c.Slots, servers: serversOf(c.Endpoints)}
}

// errSampler is a value of OTEL_TRACES_SAMPLER or its argument that does not
// exist.
var errSampler = errors.New("unknown sampler or argument; parentbased_always_on is used")

// samplerOf is the sampler of OTEL_TRACES_SAMPLER. The SDK reads it too, but
// does not show what it read, and the sampler is needed before a span is. With
// undecided, a parent that is not sampled decides nothing.
func samplerOf(name, argument string, undecided bool) (sdktrace.Sampler, error) {
	ratio := 1.0
	byParent := func(root sdktrace.Sampler) sdktrace.Sampler {
		if undecided {
			return sdktrace.ParentBased(root, sdktrace.WithRemoteParentNotSampled(root))
		}
		return sdktrace.ParentBased(root)
	}
	if argument != "" && strings.HasSuffix(name, "traceidratio") {
		var err error
		if ratio, err = strconv.ParseFloat(argument, 64); err != nil || ratio < 0 || ratio > 1 {
			return byParent(sdktrace.AlwaysSample()), fmt.Errorf("%w: OTEL_TRACES_SAMPLER_ARG=%q", errSampler, argument)
		}
	}
	kind, parentBased := strings.CutPrefix(strings.ToLower(strings.TrimSpace(name)), "parentbased_")
	roots := map[string]sdktrace.Sampler{"always_on": sdktrace.AlwaysSample(), "always_off": sdktrace.NeverSample(), "traceidratio": sdktrace.TraceIDRatioBased(ratio)}
	switch sampler := roots[kind]; {
	case kind == "":
		return byParent(sdktrace.AlwaysSample()), nil
	case sampler == nil:
		return byParent(sdktrace.AlwaysSample()), fmt.Errorf("%w: %q", errSampler, name)
	case parentBased:
		return byParent(sampler), nil
	default:
		return sampler, nil
	}
}

// propagatorOf is the propagator of OTEL_PROPAGATORS; without it, W3C trace
// context. Baggage reaches backends as the header that it came in: nothing here
// reads it.
func propagatorOf(names string) (propagation.TextMapPropagator, error) {
	if strings.TrimSpace(names) == "" {
		return propagation.TraceContext{}, nil
	}
	var all []string
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" && name != "baggage" {
			all = append(all, name)
		}
	}
	if len(all) == 0 {
		all = []string{"none"}
	}
	p, err := autoprop.TextMapPropagator(all...)
	if err != nil {
		return propagation.TraceContext{}, fmt.Errorf("%w; tracecontext is used", err)
	}
	return p, nil
}

// Extract returns the trace that a request belongs to: the caller's, which is
// remote, or one that begins with this request. It is zero when the caller has
// none and spans are not exported.
func (t *Tracer) Extract(h http.Header, requestID string) trace.SpanContext {
	remote := trace.SpanContextFromContext(t.propagator.Extract(context.Background(), propagation.HeaderCarrier(h)))
	if remote.IsValid() || t.spans == nil {
		return remote
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: t.rootTrace(requestID)})
}

// Inject writes the trace context of an attempt over the caller's headers, as
// backend.Client's hook. A trace that is not sampled passes as it came.
func (t *Tracer) Inject(r *proxy.Request, b *balancer.Backend, h http.Header) {
	parent := t.Extract(r.Header, r.ID)
	if !t.sampled(parent) {
		return
	}
	if !parent.IsRemote() {
		h["Tracestate"] = nil // it belonged to a context that is not valid
	}
	own := parent.WithSpanID(t.attemptSpan(r.ID, b.Slot, 0)).WithTraceFlags(parent.TraceFlags().WithSampled(true))
	t.propagator.Inject(trace.ContextWithSpanContext(context.Background(), own), propagation.HeaderCarrier(h))
}

// sampled reports whether the trace has spans here.
func (t *Tracer) sampled(parent trace.SpanContext) bool {
	if t.spans == nil {
		return false
	}
	ctx := context.Background()
	if parent.IsRemote() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	return t.sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: parent.TraceID(), Kind: trace.SpanKindServer}).Decision == sdktrace.RecordAndSample
}

// spanKey is what the id of a span follows from.
type spanKey struct {
	request string
	role    string
	slot    health.Slot
	nth     int
}

// id hashes the key, never to zero.
func (t *Tracer) id(k spanKey) uint64 { return maphash.Comparable(t.seed, k) | 1 }

func (t *Tracer) rootTrace(requestID string) (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], t.id(spanKey{request: requestID, role: "trace"}))
	binary.BigEndian.PutUint64(id[8:], t.id(spanKey{request: requestID, role: "trace, second half"}))
	return id
}

func (t *Tracer) requestSpan(requestID string) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], t.id(spanKey{request: requestID, role: "request"}))
	return id
}

// attemptSpan is the id of the span of the nth attempt at a slot. Its header
// has the id of the first.
func (t *Tracer) attemptSpan(requestID string, slot health.Slot, nth int) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], t.id(spanKey{requestID, "attempt", slot, nth}))
	return id
}

// contextIDs is the SDK's generator of ids: they are in the context.
type contextIDs struct{}

type idsKey struct{}

type spanIDs struct {
	trace trace.TraceID
	span  trace.SpanID
}

func (contextIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	ids, _ := ctx.Value(idsKey{}).(spanIDs)
	return ids.trace, ids.span
}

func (contextIDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	ids, _ := ctx.Value(idsKey{}).(spanIDs)
	return ids.span
}

// RequestDone makes the spans of a request that has ended.
func (t *Tracer) RequestDone(x *api.RequestRecord) {
	if !t.sampled(x.Trace) {
		return
	}
	// The caller's tracestate may hold anything: it is not exported.
	parent, own := x.Trace.WithTraceState(trace.TraceState{}), t.requestSpan(x.ID)
	within := parent.WithSpanID(own).WithRemote(false).WithTraceFlags(parent.TraceFlags().WithSampled(true))
	if x.Result != nil {
		ctx := trace.ContextWithSpanContext(context.Background(), within)
		for i := range x.Result.Attempts {
			t.attempt(ctx, x, i)
		}
	}
	ctx := context.Background()
	if parent.IsRemote() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	t.export(context.WithValue(ctx, idsKey{}, spanIDs{parent.TraceID(), own}), &spanRecord{
		name: spanName(x), kind: trace.SpanKindServer, start: x.Start, end: x.Start.Add(x.Duration), attributes: requestAttributes(x), failure: spanFailure(x),
	})
}

// spanRecord is a span that has ended.
type spanRecord struct {
	name       string
	kind       trace.SpanKind
	start, end time.Time
	attributes []attribute.KeyValue
	failure    string // "" = none
}

func (t *Tracer) export(ctx context.Context, s *spanRecord) {
	_, span := t.spans.Start(ctx, s.name, trace.WithSpanKind(s.kind), trace.WithTimestamp(s.start), trace.WithAttributes(s.attributes...))
	if s.failure != "" {
		span.SetStatus(codes.Error, s.failure)
	}
	span.End(trace.WithTimestamp(s.end))
}

func spanName(x *api.RequestRecord) string {
	if x.Model == "" {
		return operationName(x.Operation)
	}
	return operationName(x.Operation) + " " + x.Model
}

// spanFailure follows OpenTelemetry: the span of a server is no error where the
// caller is at fault.
func spanFailure(x *api.RequestRecord) string {
	end := endingOf(x.Result)
	if x.Status < http.StatusInternalServerError && end != brokenOff {
		return ""
	}
	return errorType(x.Code, x.Status, end)
}

// attempt makes the span of one attempt of the request, below the request's.
func (t *Tracer) attempt(ctx context.Context, x *api.RequestRecord, i int) {
	a, nth := &x.Result.Attempts[i], 0
	for j := range x.Result.Attempts[:i] {
		if x.Result.Attempts[j].Backend == a.Backend {
			nth++
		}
	}
	s := &spanRecord{name: spanName(x), kind: trace.SpanKindClient, start: a.Start, end: a.Start.Add(a.Duration), attributes: t.attemptAttributes(x, a)}
	switch a.Outcome.Class {
	case health.Failed, health.Misconfigured, health.Throttled:
		s.failure = a.Outcome.Reason
	case health.Served, health.Abandoned:
	}
	t.export(context.WithValue(ctx, idsKey{}, spanIDs{span: t.attemptSpan(x.ID, a.Backend.Slot, nth)}), s)
}

func (t *Tracer) attemptAttributes(x *api.RequestRecord, a *proxy.Attempt) []attribute.KeyValue {
	all := append(make([]attribute.KeyValue, 0, 20),
		text("gen_ai.operation.name", operationName(x.Operation)), text("gen_ai.provider.name", providerName(a.Backend)), text("gen_ai.request.model", slotModel(t.slots, a.Backend)),
		text("spillway.backend", a.Backend.Name), text("spillway.verdict", a.Outcome.Class.String()), statusCode(a.Status), text("error.type", a.Outcome.Reason))
	all = append(all, serverAttributes(t.servers, a.Backend)...)
	if a.Outcome.RawWait > 0 {
		all = append(all, attribute.Float64("spillway.throttle.wait", a.Outcome.RawWait.Seconds()))
	}
	for name, is := range map[string]bool{"spillway.probe": a.Probe, "spillway.trial": a.Trial, "spillway.hedge": a.Hedge, "spillway.silent": a.Silent} {
		if is {
			all = append(all, attribute.Bool(name, true))
		}
	}
	if x.Stream {
		all = append(all, attribute.Bool("gen_ai.request.stream", true))
	}
	if a.Backend == x.Result.ServedBy && a.Outcome.Class == health.Served {
		all = append(all, responseAttributes(x, a)...)
	}
	return present(all)
}

// responseAttributes describes the response of the attempt that served.
func responseAttributes(x *api.RequestRecord, a *proxy.Attempt) []attribute.KeyValue {
	d := &x.Result.Delivery
	all := []attribute.KeyValue{text("gen_ai.response.model", x.Result.Pool.Model)}
	if x.Stream && !d.FirstToken.IsZero() {
		all = append(all, attribute.Float64("gen_ai.response.time_to_first_chunk", d.FirstToken.Sub(a.Start).Seconds()))
	}
	if d.FinishReason != "" {
		all = append(all, attribute.StringSlice("gen_ai.response.finish_reasons", []string{d.FinishReason}))
	}
	if d.Usage.Total() > 0 {
		all = append(all, attribute.Int64("gen_ai.usage.input_tokens", d.Usage.Prompt), attribute.Int64("gen_ai.usage.output_tokens", d.Usage.Completion),
			attribute.Int64("gen_ai.usage.cache_read.input_tokens", d.Usage.Cached), attribute.Int64("gen_ai.usage.reasoning.output_tokens", d.Usage.Reasoning))
	}
	return all
}

// requestAttributes describes the request as its caller saw it.
func requestAttributes(x *api.RequestRecord) []attribute.KeyValue {
	all := append(make([]attribute.KeyValue, 0, 16),
		text("spillway.request_id", x.ID), text("http.request.method", methodName(x.Method)), text("url.scheme", "http"), text("http.route", x.Route),
		statusCode(x.Status), text("gen_ai.operation.name", operationName(x.Operation)), text("gen_ai.request.model", x.Model))
	if x.Consumer != nil {
		all = append(all, text("spillway.consumer", x.Consumer.Name))
	}
	if x.Stream {
		all = append(all, attribute.Bool("gen_ai.request.stream", true))
	}
	r := x.Result
	if r == nil {
		return present(append(all, text("error.type", errorType(x.Code, x.Status, whole))))
	}
	all = append(all, text("error.type", errorType(x.Code, x.Status, endingOf(r))), text("gen_ai.provider.name", providerName(r.ServedBy)))
	if r.ServedBy != nil {
		all = append(all, text("gen_ai.response.model", r.Pool.Model), text("spillway.backend", r.ServedBy.Name))
	}
	if Spilled(r) {
		all = append(all, attribute.Bool("spillway.spilled", true))
	}
	return present(all)
}
