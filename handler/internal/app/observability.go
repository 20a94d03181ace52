package app

import (
	"context"
	"log/slog"
	"os"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/config"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry"
	"spillway/handler/internal/telemetry/meter"
	"spillway/handler/internal/telemetry/otlp"
	"spillway/handler/internal/transcript"
)

// sight is what people and dashboards see of this instance.
type sight struct {
	log      *slog.Logger
	lines    *telemetry.LogWriter
	events   *telemetry.EventLog
	requests *telemetry.RequestLog
	metrics  *telemetry.Metrics
	recent   *admin.Recent
	watched  telemetry.Observers // every request that is over

	transcripts *transcript.Recorder // nil = nothing is kept
}

// newSight is there before anything that may have something to tell.
func newSight(cfg *config.Config, log *slog.Logger, out *telemetry.LogWriter) *sight {
	s := &cfg.Settings
	requests := &telemetry.RequestLog{Out: out, Instance: s.Instance, Level: s.LogLevel, RejectionsPerSecond: refusalLines}
	metrics := telemetry.NewMetrics(new(meter.Registry), cfg.Slots)
	return &sight{
		recent: admin.NewRecent(len(cfg.Slots), remembered, time.Now),
		log:    log, lines: out, requests: requests, metrics: metrics, watched: telemetry.Observers{requests, metrics},
		events: &telemetry.EventLog{Out: out, Instance: s.Instance, Slots: cfg.Slots, Now: time.Now},
	}
}

// changed is told of what the keeper adopts.
func (s *sight) changed(slot health.Slot, before, after health.Record) {
	s.events.StateChanged(slot, before, after)
	s.recent.Changed(slot, before, after)
}

// refusalLines is how many refused requests have a line of the log in one
// second.
const refusalLines = 100

// open lets the instruments look at the rooms, and tells a collector where
// there is one.
func (g *gateway) open(cfg *config.Config, quotas func() []quota.LimitStatus, load *proxy.Load) {
	from := &telemetry.Sources{
		Slots: cfg.Slots, Snapshot: g.keeper.PeekSnapshot, Counters: g.keeper.Counters, InFlight: load.InFlight, Now: time.Now, Started: time.Now(),
		Quotas: quotas, LogWriter: g.sight.lines, Transcripts: g.sight.transcribed,
	}
	if cfg.Settings.OTLP != "" {
		from.Pusher = g.push(cfg)
	}
	g.sight.metrics.Observe(from)
	watch := &telemetry.Monitor{Events: g.sight.events, Requests: g.sight.requests, Counters: g.keeper.Counters, Quotas: quotas}
	g.beside = append(g.beside, watch.Run)
}

// transcribed is what became of the transcripts.
func (s *sight) transcribed() (written, dropped uint64) {
	if s.transcripts == nil {
		return 0, 0
	}
	return s.transcripts.Written(), s.transcripts.Dropped()
}

// push sends metrics and traces to a collector, beside the requests.
func (g *gateway) push(cfg *config.Config) *otlp.Pusher {
	settings := otlp.Read(os.Getenv)
	ctx := context.Background()
	for _, ignored := range settings.Ignored {
		g.sight.log.WarnContext(ctx, "configuration", "warning", ignored)
	}
	p := otlp.NewPusher(settings, otlp.Resource{
		{Name: "service.version", Value: g.version}, {Name: "service.instance.id", Value: cfg.Settings.Instance}, {Name: "cloud.region", Value: cfg.Settings.Region},
	}, g.sight.metrics.Registry)
	p.Trouble = func(signal string, err error) {
		g.sight.log.WarnContext(ctx, "telemetry is not pushed", "signal", signal, "error", err)
	}
	tracer := &telemetry.Tracer{Sampler: settings.Sampler, Slots: cfg.Slots, Take: p.Take}
	g.client.InjectTrace = tracer.Inject
	g.sight.watched = append(g.sight.watched, tracer)
	g.beside = append(g.beside, p.Run)
	return p
}
