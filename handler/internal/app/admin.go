package app

import (
	"context"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/config"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/telemetry"
)

// remembered is how many decisions the status page can explain.
const remembered = 2000

// openOps is the operators' door. Without a key it is open on a standalone
// run's loopback alone: behind the host, loopback means the internet.
func (g *gateway) openOps(cfg *config.Config, quotas *books, spent *spending, load *proxy.Load) *admin.Handler {
	s := &cfg.Settings
	g.sight.watched = append(g.sight.watched, g.sight.recent)
	door := admin.New(admin.Config{
		Key: s.OperatorKey.Reveal(), Open: !s.OperatorKey.Set() && s.Standalone && s.Loopback,
		Instance: s.Instance, Version: g.version, Region: s.Region, Memory: s.State.Memory(), Refresh: s.StateRefresh,
		Pools: cfg.Pools, Slots: cfg.Slots, Consumers: cfg.Consumers, Replica: g.keeper, Recent: g.sight.recent, Now: time.Now, NewID: newID,
		InFlight: func(slot health.Slot) int64 { return load.InFlight(slot) }, Quotas: quotas.LimitStatuses,
		UsageRows: spent.rows, Metrics: g.sight.metrics.Handler(s.Instance), Audit: g.audit,
	})
	g.beside = append(g.beside, door.Run)
	return door
}

// audit writes down what an operator did.
func (g *gateway) audit(_ context.Context, a admin.Action) {
	g.sight.events.Audit(&telemetry.AuditRecord{Time: a.At, RequestID: a.Request, Verb: a.Verb, Target: a.Backend, Operator: a.Who, Key: a.Key, RemoteAddr: a.From, Duration: a.Took, Err: a.Err})
}
