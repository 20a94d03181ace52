package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// scope is the instrumentation scope of every metric and span.
const scope = "spillway"

// instruments holds every instrument that is recorded while requests run. Names
// that begin with gen_ai and http are OpenTelemetry's, with the buckets that its
// conventions prescribe (docs/observability.md#metrics); the others are ours.
type instruments struct {
	http, operation, tokens, overhead histogram
	firstToken, perToken, server      histogram
	kinds, cost, rejections, spills   counter
	warnings                          counter
	attempts, failovers, waits        counter
	hedges, silences, trials          counter
}

type (
	counter   struct{ metric.Float64Counter }
	histogram struct{ metric.Float64Histogram }
)

// The series bind an instrument to one set of attributes, so that recording
// allocates nothing.
type (
	counterSeries struct {
		metric.Float64Counter
		attributes []metric.AddOption
	}
	histogramSeries struct {
		metric.Float64Histogram
		attributes []metric.RecordOption
	}
)

// with returns the series with these attributes, which starts at zero.
func (c counter) with(attributes ...attribute.KeyValue) *counterSeries {
	s := &counterSeries{c, []metric.AddOption{metric.WithAttributeSet(setOf(attributes))}}
	s.Add(context.Background(), 0, s.attributes...)
	return s
}

func (h histogram) with(attributes ...attribute.KeyValue) *histogramSeries {
	return &histogramSeries{h, []metric.RecordOption{metric.WithAttributeSet(setOf(attributes))}}
}

// add counts n; zero costs nothing. The context of a request carries nothing
// that a metric needs.
func (s *counterSeries) add(n float64) {
	if n != 0 {
		s.Add(context.Background(), n, s.attributes...)
	}
}

func (s *histogramSeries) observe(v float64) { s.Record(context.Background(), v, s.attributes...) }

// The buckets that OpenTelemetry's conventions prescribe, and our own of what
// Spillway adds to a request.
func tokenBounds() []float64 {
	return []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
}

func operationBounds() []float64 {
	return []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
}

func firstTokenBounds() []float64 {
	return []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
}

func perTokenBounds() []float64 {
	return []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
}

func httpBounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
}

func overheadBounds() []float64 {
	return []float64{0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1}
}

// builder makes instruments of a meter. The error of the first that fails is
// kept.
type builder struct {
	metric.Meter
	err error
}

func (b *builder) counter(name, unit, help string) counter {
	c, err := b.Float64Counter(name, metric.WithUnit(unit), metric.WithDescription(help))
	b.err = errors.Join(b.err, err)
	return counter{c}
}

func (b *builder) histogram(name, unit, help string, bounds []float64) histogram {
	h, err := b.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(help), metric.WithExplicitBucketBoundaries(bounds...))
	b.err = errors.Join(b.err, err)
	return histogram{h}
}

func newInstruments(b *builder) *instruments {
	return &instruments{
		http:       b.histogram("http.server.request.duration", "s", "Requests of callers, to the end of the response.", httpBounds()),
		operation:  b.histogram("gen_ai.client.operation.duration", "s", "Requests whose model was found, to the end of the response.", operationBounds()),
		tokens:     b.histogram("gen_ai.client.token.usage", "{token}", "Tokens of one response.", tokenBounds()),
		kinds:      b.counter("spillway.tokens", "{token}", "Tokens by kind: input, cached (part of input), output, reasoning (part of output)."),
		cost:       b.counter("spillway.cost", "{currency}", "Cost by the prices of the pool document."),
		overhead:   b.histogram("spillway.overhead", "s", "Duration of a request without its attempts and without waiting for a throttled pool.", overheadBounds()),
		warnings:   b.counter("spillway.budget.warnings", "{warning}", "Warnings that this instance gave for the fleet, by the percentage of a month's limit that was reached."),
		rejections: b.counter("spillway.refusals", "{request}", "Requests answered with an error of Spillway's own, by its code."),
		spills:     b.counter("spillway.spills", "{request}", "Requests served below the best priority group that their consumer may use."),
		firstToken: b.histogram("gen_ai.server.time_to_first_token", "s", "From the start of the attempt that served.", firstTokenBounds()),
		perToken:   b.histogram("gen_ai.server.time_per_output_token", "s", "After the first token of a stream.", perTokenBounds()),
		server:     b.histogram("gen_ai.server.request.duration", "s", "Attempts at backends, to the end of the response.", operationBounds()),
		attempts:   b.counter("spillway.attempts", "{attempt}", "Attempts at backends, by verdict and reason."),
		failovers:  b.counter("spillway.failovers", "{attempt}", "Attempts that were followed by another, by the backend that failed and the reason."),
		hedges:     b.counter("spillway.hedges", "{attempt}", "Attempts that began because another one had no content yet, by verdict; served: its answer was used."),
		silences:   b.counter("spillway.breaker.silences", "{attempt}", "Attempts without content for three times as long as usual, which counts as a failure until they are answered."),
		trials:     b.counter("spillway.breaker.trials", "{attempt}", "Attempts at a backend with an open circuit because no other was left, by verdict."),
		waits:      b.counter("spillway.throttle.time", "s", "Time for which backends asked not to be called."),
	}
}
