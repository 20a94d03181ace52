package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/http"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/telemetry/otlp"
)

var _ api.Observer = (*Tracer)(nil)

// Tracer makes a span of each request and of each of its attempts, and passes
// the trace on to backends. A trace that is not sampled costs reading a header.
type Tracer struct {
	Sampler otlp.Sampler
	Slots   []string          // by health.Slot: "backend/model"
	Take    func(s otlp.Span) // must not wait
}

// Inject writes the trace context of an attempt over the caller's headers, as
// upstream.Client's hook. A trace that is not sampled goes through as it came.
func (t *Tracer) Inject(r *proxy.Request, b *balancer.Backend, h http.Header) {
	p, sampled := t.decide(r.Header.Get("Traceparent"), r.ID)
	if !sampled {
		return
	}
	if p.text == "" {
		h["Tracestate"] = nil // it belonged to a context that was not to be believed
	}
	span := attemptSpan(r.ID, b.Slot, 0)
	var text [55]byte
	copy(text[:], "00-")
	hex.Encode(text[3:], p.trace[:])
	text[35] = '-'
	hex.Encode(text[36:], span[:])
	copy(text[52:], "-01")
	h["Traceparent"] = []string{string(text[:])}
}

// decide finds the trace that a request belongs to, and whether it is told.
func (t *Tracer) decide(traceparent, id string) (parent, bool) {
	p, ok := parseParent(traceparent)
	if ok && !t.Sampler.Always {
		return p, p.sampled
	}
	if !ok {
		p = rootOf(id)
	}
	switch {
	case t.Sampler.Ratio >= 1:
		return p, true
	case t.Sampler.Ratio <= 0:
		return p, false
	}
	return p, float64(binary.BigEndian.Uint64(p.trace[8:])>>1) < t.Sampler.Ratio*math.MaxInt64
}

// RequestDone makes the spans of a request that is over.
func (t *Tracer) RequestDone(x *api.RequestRecord) {
	p, sampled := t.decide(x.Traceparent, x.ID)
	if !sampled {
		return
	}
	own := otlp.Span{
		Trace: p.trace, ID: requestSpan(x.ID), Parent: p.span, Name: spanName(x), Began: x.Start, Ended: x.Start.Add(x.Duration),
		Attributes: requestAttributes(x), Failure: spanFailure(x),
	}
	if x.Result != nil {
		for i := range x.Result.Attempts {
			t.Take(t.attempt(x, &own, i))
		}
	}
	t.Take(own)
}

func spanName(x *api.RequestRecord) string {
	if x.Model == "" {
		return operationName(x.Operation)
	}
	return operationName(x.Operation) + " " + x.Model
}

// spanFailure follows OpenTelemetry: of a server's span, what the caller got
// wrong is no error.
func spanFailure(x *api.RequestRecord) string {
	k := requestKey{code: x.Code, status: x.Status, broken: x.Result != nil && x.Result.Delivery.Broken}
	if x.Status < http.StatusInternalServerError && !k.broken {
		return ""
	}
	return errorType(&k)
}

// attempt is the span of one attempt of the request.
func (t *Tracer) attempt(x *api.RequestRecord, own *otlp.Span, i int) otlp.Span {
	a := &x.Result.Attempts[i]
	nth := 0
	for j := range x.Result.Attempts[:i] {
		if x.Result.Attempts[j].Backend == a.Backend {
			nth++
		}
	}
	s := otlp.Span{
		Trace: own.Trace, ID: attemptSpan(x.ID, a.Backend.Slot, nth), Parent: own.ID, Name: own.Name, Client: true, Began: a.Began, Ended: a.Began.Add(a.Took),
		Attributes: []otlp.Attribute{
			word("gen_ai.operation.name", operationName(x.Operation)), word("gen_ai.provider.name", providerName(a.Backend)),
			word("gen_ai.request.model", slotModel(t.Slots, a.Backend)), word("spillway.backend", a.Backend.Name), word("spillway.verdict", a.Outcome.Class.String()),
		},
	}
	if a.Status != 0 {
		s.Attributes = append(s.Attributes, whole("http.response.status_code", int64(a.Status)))
	}
	if a.Outcome.Reason != "" {
		s.Attributes = append(s.Attributes, word("error.type", a.Outcome.Reason))
	}
	if a.Outcome.RawWait > 0 {
		s.Attributes = append(s.Attributes, lasting("spillway.throttle.wait", a.Outcome.RawWait))
	}
	if a.Probe {
		s.Attributes = append(s.Attributes, truth("spillway.probe"))
	}
	if a.Outcome.Class == health.Failed || a.Outcome.Class == health.Misconfigured || a.Outcome.Class == health.Throttled {
		s.Failure = a.Outcome.Reason
	}
	return s
}

func requestAttributes(x *api.RequestRecord) []otlp.Attribute {
	all := append(make([]otlp.Attribute, 0, 20),
		word("spillway.request_id", x.ID), word("http.request.method", methodName(x.Method)), whole("http.response.status_code", int64(x.Status)),
		word("gen_ai.operation.name", operationName(x.Operation)))
	if x.Consumer != nil {
		all = append(all, word("spillway.consumer", x.Consumer.Name))
	}
	if x.Code != "" {
		all = append(all, word("error.type", x.Code))
	}
	if x.Model != "" {
		all = append(all, word("gen_ai.request.model", x.Model))
	}
	if x.Stream {
		all = append(all, truth("gen_ai.request.stream"))
	}
	if x.Result == nil {
		return all
	}
	return resultAttributes(all, x)
}

func resultAttributes(all []otlp.Attribute, x *api.RequestRecord) []otlp.Attribute {
	r, d := x.Result, &x.Result.Delivery
	all = append(all, word("gen_ai.provider.name", providerName(r.ServedBy)))
	if r.ServedBy != nil {
		all = append(all, word("gen_ai.response.model", r.Pool.Model), word("spillway.backend", r.ServedBy.Name))
	}
	if Spilled(r) {
		all = append(all, truth("spillway.spilled"))
	}
	if !d.FirstToken.IsZero() {
		all = append(all, lasting("gen_ai.response.time_to_first_chunk", d.FirstToken.Sub(x.Start)))
	}
	if d.FinishReason != "" {
		all = append(all, otlp.Attribute{Name: "gen_ai.response.finish_reasons", Kind: otlp.List, Text: d.FinishReason})
	}
	if d.Usage.Total() > 0 {
		all = append(all, whole("gen_ai.usage.input_tokens", d.Usage.Prompt), whole("gen_ai.usage.output_tokens", d.Usage.Completion),
			whole("gen_ai.usage.cache_read.input_tokens", d.Usage.Cached), whole("gen_ai.usage.reasoning.output_tokens", d.Usage.Reasoning))
	}
	return all
}

func word(name, text string) otlp.Attribute { return otlp.Attribute{Name: name, Text: text} }

func whole(name string, n int64) otlp.Attribute {
	return otlp.Attribute{Name: name, Kind: otlp.Int, Whole: n}
}

func lasting(name string, d time.Duration) otlp.Attribute {
	return otlp.Attribute{Name: name, Kind: otlp.Double, Real: d.Seconds()}
}

func truth(name string) otlp.Attribute {
	return otlp.Attribute{Name: name, Kind: otlp.Bool, Whole: 1}
}
