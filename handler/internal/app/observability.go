package app

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/config"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry"
	"spillway/handler/internal/telemetry/condition"
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
	provider *telemetry.Provider
	recent   *admin.Recent
	log      *slog.Logger
}

// newObservability observes the slots of these names.
func newObservability(cfg *config.Config, names []string, version string, log *slog.Logger, out *telemetry.LogWriter) *observability {
	s := &cfg.Settings
	return &observability{
		log:      log,
		events:   &telemetry.EventLog{Out: out, Instance: s.Instance, Slots: names, Now: time.Now},
		requests: &telemetry.RequestLog{Out: out, Instance: s.Instance, Level: s.LogLevel, RejectionsPerSecond: refusedLinesPerSecond},
		recent:   admin.NewRecent(s.Instance, names, recentRequests, time.Now),
		provider: telemetry.NewProvider(context.Background(), telemetry.Config{
			Version: version, Instance: s.Instance, Region: s.Region, Slots: cfg.Slots, Endpoints: endpoints(cfg), Log: log,
			UndecidedParents: !s.Standalone && hostMakesUpParents(os.Getenv),
		}),
	}
}

// endpoints are the addresses of the backends, by their index.
func endpoints(cfg *config.Config) []*url.URL {
	all := make([]*url.URL, len(cfg.Resources))
	for i := range cfg.Resources {
		all[i] = cfg.Resources[i].Endpoint
	}
	return all
}

// recordWarning records a warning of what is left of a month.
func (o *observability) recordWarning(w *quota.Warning) {
	o.events.Budget(w)
	o.provider.Metrics.Warned(w)
	o.recent.LimitWarned(w)
}

// recordChange records a change of a backend's health that this instance
// applied.
func (o *observability) recordChange(slot health.Slot, before, after health.Record) {
	o.events.StateChanged(slot, before, after)
	o.recent.Changed(slot, before, after)
}

// recordOwnCircuit records a change of a circuit that binds this instance alone.
func (o *observability) recordOwnCircuit(slot health.Slot, before health.CircuitState, after *health.Health) {
	o.events.OwnCircuitChanged(slot, before, after)
	o.recent.OwnCircuitChanged(slot, before, after)
}

// observers is called with every finished request of the configuration, in this order.
func (o *observability) observers(cfg *config.Config, s *state) telemetry.Observers {
	metrics, tracer := o.provider.WithBackends(cfg.Slots, endpoints(cfg))
	all := telemetry.Observers{o.requests, metrics, s.usage, o.recent}
	if o.provider.Traces() {
		all = append(all, tracer)
	}
	if s.transcripts != nil {
		all = append(all, s.transcripts)
	}
	return all
}

// observe watches what nobody reports.
func (o *observability) observe(s *state, watched *condition.Set) []Runner {
	watch := &telemetry.Monitor{
		Events: o.events, Requests: o.requests, Counters: s.replica.Counters,
		Snapshot: s.replica.PeekSnapshot, OwnCircuitChanged: o.recordOwnCircuit, Conditions: watched,
	}
	return []Runner{watch.Run, o.provider.Run}
}

// sources is what gauges read, but for the slots.
func (o *observability) sources(out *telemetry.LogWriter, s *state, load *proxy.Load, operators *admin.Handler, watched *condition.Set) telemetry.Sources {
	return telemetry.Sources{
		Snapshot: s.replica.PeekSnapshot, Counters: s.replica.Counters, InFlight: load.InFlight, Now: time.Now, Started: time.Now(),
		Suspicions: o.events.Suspicions, RefusedKeys: operators.RefusedKeys, Conditions: watched,
		Quotas: s.quotas.LimitStatuses, LogWriter: out, Transcripts: s.transcriptCounts,
	}
}
