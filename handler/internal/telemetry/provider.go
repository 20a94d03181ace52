package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"spillway/handler/internal/telemetry/condition"
)

// Config names this instance and its backends.
type Config struct {
	Version, Instance, Region string // of the resource; Region may be ""

	Slots     []string   // by health.Slot: "backend/model"
	Endpoints []*url.URL // by balancer.Backend.Index
	Log       *slog.Logger

	// UndecidedParents: the Functions host makes up a parent that is not sampled
	// for requests that have none, so such a parent decides nothing.
	UndecidedParents bool
}

// Provider owns OpenTelemetry's SDK: it reads the OTEL_* variables, keeps the
// metrics for /ops/metrics, and exports metrics and spans where a variable asks
// for it (docs/observability.md#otel-variables). No request waits for an
// export: what cannot be exported is dropped, counted, and logged.
type Provider struct {
	Metrics *Metrics
	Tracer  *Tracer

	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	spans    *sdktrace.TracerProvider // nil = none are exported
	queue    *spanQueue               // nil = none are exported
	exports  bool                     // metrics or spans are exported
	errors   *exportErrors
	sources  atomic.Pointer[Sources]
}

// NewProvider reads the OTEL_* variables. A variable with a value that the SDK
// does not know is logged, and its signal is not exported. Exports begin at
// once; Run ends them.
func NewProvider(ctx context.Context, c Config) *Provider {
	p := &Provider{errors: &exportErrors{log: c.Log, last: map[string]*failure{}}}
	otel.SetErrorHandler(p.errors)
	otel.SetLogger(logr.FromSlogHandler(c.Log.Handler()))
	who := resourceOf(ctx, &c, p.errors)
	p.addMetrics(ctx, &c, who)
	p.addTraces(ctx, &c, who)
	return p
}

// resourceOf names this process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
// take precedence.
func resourceOf(ctx context.Context, c *Config, errs *exportErrors) *resource.Resource {
	own := present([]attribute.KeyValue{
		text("service.name", "spillway"), text("service.version", c.Version), text("service.instance.id", c.Instance), text("cloud.region", c.Region),
	})
	r, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(own...), resource.WithFromEnv())
	errs.configuration("OTEL_RESOURCE_ATTRIBUTES", err)
	return r
}

func (p *Provider) addMetrics(ctx context.Context, c *Config, who *resource.Resource) {
	p.registry = prometheus.NewRegistry()
	scrape, err := promexporter.New(
		promexporter.WithRegisterer(prometheus.WrapRegistererWith(prometheus.Labels{"instance": c.Instance}, p.registry)),
		promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		promexporter.WithoutScopeInfo(), promexporter.WithoutTargetInfo(), promexporter.WithProducer(tableExchanges{p}),
	)
	p.errors.configuration("metrics", err)
	options := []sdkmetric.Option{sdkmetric.WithResource(who), sdkmetric.WithReader(scrape)}
	if os.Getenv("OTEL_METRICS_EXEMPLAR_FILTER") == "" {
		options = append(options, sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter))
	}
	if exportsOf("METRICS") {
		autoexport.WithFallbackMetricProducer(func(context.Context) (sdkmetric.Producer, error) { return tableExchanges{p}, nil })
		reader, err := autoexport.NewMetricReader(ctx)
		p.errors.configuration("OTEL_METRICS_EXPORTER, OTEL_EXPORTER_OTLP_*", err)
		if err == nil {
			options, p.exports = append(options, sdkmetric.WithReader(reader)), true
		}
	}
	p.meters = sdkmetric.NewMeterProvider(options...)
	b := builder{Meter: p.meters.Meter(scope)}
	p.Metrics = &Metrics{slots: c.Slots, servers: serversOf(c.Endpoints), instruments: newInstruments(&b), consumers: new(topConsumers)}
	read := newObservables(b)
	_, err = read.RegisterCallback(p.observe(read), read.all...)
	p.errors.configuration("metrics", errors.Join(read.err, err))
}

func (p *Provider) addTraces(ctx context.Context, c *Config, who *resource.Resource) {
	p.Tracer = newTracer(c, p.errors)
	if !exportsOf("TRACES") {
		return
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	p.errors.configuration("OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_*", err)
	if err != nil || autoexport.IsNoneSpanExporter(exporter) {
		return
	}
	p.queue = newSpanQueue(exporter)
	p.spans = sdktrace.NewTracerProvider(sdktrace.WithResource(who), sdktrace.WithSpanProcessor(p.queue), sdktrace.WithIDGenerator(contextIDs{}),
		sdktrace.WithSampler(p.Tracer.sampler))
	p.Tracer.spans, p.exports = p.spans.Tracer(scope), true
}

// exportsOf reports whether a variable asks for the export of a signal. Without
// one, the SDK's default would send to a collector on this machine.
func exportsOf(signal string) bool {
	if strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")), "true") {
		return false
	}
	for _, name := range []string{"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"} {
		if value := os.Getenv(name); value != "" {
			return true
		}
	}
	return false
}

// WithBackends are the metrics and the tracer of other backends, with the same series
// and spans.
func (p *Provider) WithBackends(slots []string, endpoints []*url.URL) (*Metrics, *Tracer) {
	tracer := *p.Tracer
	tracer.slots, tracer.servers = slots, serversOf(endpoints)
	return &Metrics{slots: slots, servers: tracer.servers, instruments: p.Metrics.instruments, consumers: p.Metrics.consumers}, &tracer
}

// Traces reports whether spans are exported.
func (p *Provider) Traces() bool { return p.spans != nil }

// Observe has the sources read at each collection from now on.
func (p *Provider) Observe(s *Sources) { p.sources.Store(s) }

// observe returns the callback that reads the sources.
func (p *Provider) observe(read *observables) metric.Callback {
	return func(_ context.Context, to metric.Observer) error {
		s := p.sources.Load()
		if s == nil {
			return nil
		}
		o := &observation{to, read, s}
		o.backends()
		o.state()
		o.quotas()
		o.process()
		if p.exports {
			o.set(read.failedExports, float64(p.errors.failed.Load()))
		}
		if p.queue != nil {
			o.set(read.spansDropped, float64(p.queue.dropped.Load()))
		}
		return nil
	}
}

// Handler answers with the metrics in Prometheus' text format. Each has the
// label "instance": behind a load balancer a scrape reaches one instance at
// random.
func (p *Provider) Handler() http.Handler {
	all := promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: p.errors})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		all.ServeHTTP(w, r)
	})
}

// shutdownTimeout bounds the last export.
const shutdownTimeout = 2 * time.Second

// Run waits until ctx is done, then exports what is left and stops the SDK.
func (p *Provider) Run(ctx context.Context) {
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	var stopping sync.WaitGroup
	stopping.Go(func() { p.errors.report("metrics", p.meters.Shutdown(last)) })
	if p.spans != nil {
		stopping.Go(func() { p.errors.report("traces", p.spans.Shutdown(last)) })
	}
	stopping.Wait()
}

// exportErrors logs what the SDK reports: of each signal at most one line a
// minute.
type exportErrors struct {
	log    *slog.Logger
	failed atomic.Uint64
	latch  condition.Latch

	mu   sync.Mutex
	last map[string]*failure // by signal
}

// failure is the last line of a signal.
type failure struct {
	at      time.Time
	omitted int
}

// errorInterval is the shortest time between two lines of one signal.
const errorInterval = time.Minute

// Handle takes an error from the SDK, whose text alone names the signal.
func (e *exportErrors) Handle(err error) {
	signal := "metrics"
	if err != nil && (strings.Contains(err.Error(), "traces") || strings.Contains(err.Error(), "span")) {
		signal = "traces"
	}
	e.report(signal, err)
}

// report counts an export that failed, and logs it; nil = it did not.
func (e *exportErrors) report(signal string, err error) {
	if err == nil {
		return
	}
	e.failed.Add(1)
	e.latch.Failed(time.Now(), err)
	if omitted, ok := e.allow(signal, time.Now()); ok {
		e.log.Warn("telemetry is not exported", "signal", signal, "error", truncate(err.Error()), "omitted", omitted)
	}
}

// Condition is how exports of metrics and spans are: for condition.Part.
func (p *Provider) Condition(now time.Time) (condition.State, error) {
	return p.errors.latch.Check(now)
}

// allow reports whether a signal may have a line, and how many errors had none
// since the last one.
func (e *exportErrors) allow(signal string, now time.Time) (omitted int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.last[signal]
	if f == nil {
		e.last[signal] = &failure{at: now}
		return 0, true
	}
	if now.Sub(f.at) < errorInterval {
		f.omitted++
		return 0, false
	}
	omitted, *f = f.omitted, failure{at: now}
	return omitted, true
}

// Println logs an error of the Prometheus handler.
func (e *exportErrors) Println(v ...any) { e.log.Warn("metrics cannot be read", "error", v) }

// configuration logs a variable with a value that the SDK does not know.
func (e *exportErrors) configuration(name string, err error) {
	if err != nil {
		e.log.Warn("configuration", "warning", name+": "+err.Error())
	}
}

// spanQueue bounds the spans that wait or are being exported, and counts those
// that it drops. The SDK's own queue, behind it, drops without a count.
type spanQueue struct {
	sdktrace.SpanProcessor
	limit            int64
	pending, dropped atomic.Int64
}

// newSpanQueue exports in batches as the OTEL_BSP_* variables say.
func newSpanQueue(to sdktrace.SpanExporter) *spanQueue {
	q := &spanQueue{limit: sdktrace.DefaultMaxQueueSize}
	if n, err := strconv.ParseInt(os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE"), 10, 64); err == nil && n > 0 {
		q.limit = n
	}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(countedExporter{to, q})
	return q
}

// OnEnd takes a span, or drops it when the queue is full. It never waits.
func (q *spanQueue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.pending.Add(1) > q.limit {
		q.pending.Add(-1)
		q.dropped.Add(1)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// countedExporter counts the spans that leave the queue.
type countedExporter struct {
	sdktrace.SpanExporter
	queue *spanQueue
}

func (e countedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.queue.pending.Add(-int64(len(spans)))
	if err != nil {
		e.queue.dropped.Add(int64(len(spans)))
	}
	return err
}
