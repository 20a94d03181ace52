package app

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/telemetry"
	"spillway/handler/internal/telemetry/meter"
	"spillway/handler/internal/telemetry/otlp"
)

const (
	refusedLinesPerSecond = 100  // log lines of refused requests
	recentRequests        = 2000 // that the status page can explain
)

// observability is the logs, metrics and traces of this instance, and what its
// status page shows.
type observability struct {
	events   *telemetry.EventLog
	requests *telemetry.RequestLog
	metrics  *telemetry.Metrics
	recent   *admin.Recent
	exporter *otlp.Pusher      // nil = no collector is configured
	tracer   *telemetry.Tracer // nil = as exporter
}

func newObservability(cfg *config.Config, version string, log *slog.Logger, out *telemetry.LogWriter) *observability {
	s := &cfg.Settings
	obs := &observability{
		events:   &telemetry.EventLog{Out: out, Instance: s.Instance, Slots: cfg.Slots, Now: time.Now},
		requests: &telemetry.RequestLog{Out: out, Instance: s.Instance, Level: s.LogLevel, RejectionsPerSecond: refusedLinesPerSecond},
		metrics:  telemetry.NewMetrics(new(meter.Registry), cfg.Slots),
		recent:   admin.NewRecent(len(cfg.Slots), recentRequests, time.Now),
	}
	if s.OTLP != "" {
		obs.exporter, obs.tracer = newExporter(cfg, version, log, obs.metrics.Registry)
	}
	return obs
}

// newExporter sends metrics and traces to the configured collector.
func newExporter(cfg *config.Config, version string, log *slog.Logger, registry *meter.Registry) (*otlp.Pusher, *telemetry.Tracer) {
	ctx, settings := context.Background(), otlp.Read(os.Getenv)
	for _, ignored := range settings.Ignored {
		log.WarnContext(ctx, "configuration", "warning", ignored)
	}
	p := otlp.NewPusher(settings, otlp.Resource{
		{Name: "service.version", Value: version}, {Name: "service.instance.id", Value: cfg.Settings.Instance}, {Name: "cloud.region", Value: cfg.Settings.Region},
	}, registry)
	p.Trouble = func(signal string, err error) {
		log.WarnContext(ctx, "telemetry is not exported", "signal", signal, "error", err)
	}
	return p, &telemetry.Tracer{Sampler: settings.Sampler, Slots: cfg.Slots, Take: p.Take}
}

// annotate adds the trace context to a request for a backend; nil = nothing is
// traced.
func (o *observability) annotate() func(r *proxy.Request, b *balancer.Backend, h http.Header) {
	if o.tracer == nil {
		return nil
	}
	return o.tracer.Inject
}

// recordChange records a change of a backend's health that this instance
// applied.
func (o *observability) recordChange(slot health.Slot, before, after health.Record) {
	o.events.StateChanged(slot, before, after)
	o.recent.Changed(slot, before, after)
}

// observers is called with every finished request, in this order.
func (o *observability) observers(s *state) telemetry.Observers {
	all := telemetry.Observers{o.requests, o.metrics, s.usage, o.recent}
	if o.tracer != nil {
		all = append(all, o.tracer)
	}
	if s.transcripts != nil {
		all = append(all, s.transcripts)
	}
	return all
}

// observe connects the gauges with what they read.
func (o *observability) observe(cfg *config.Config, out *telemetry.LogWriter, s *state, load *proxy.Load) []Runner {
	o.metrics.Observe(&telemetry.Sources{
		Slots: cfg.Slots, Snapshot: s.replica.PeekSnapshot, Counters: s.replica.Counters, InFlight: load.InFlight, Now: time.Now, Started: time.Now(),
		Quotas: s.quotas.LimitStatuses, LogWriter: out, Transcripts: s.transcriptCounts, Pusher: o.exporter,
	})
	watch := &telemetry.Monitor{Events: o.events, Requests: o.requests, Counters: s.replica.Counters, Quotas: s.quotas.LimitStatuses}
	if o.exporter == nil {
		return []Runner{watch.Run}
	}
	return []Runner{watch.Run, o.exporter.Run}
}
