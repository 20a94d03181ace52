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

// newAdmin is the operators' API and status page. Without a key it is open only
// to the loopback address of a standalone run: behind the Functions host every
// request comes from loopback.
func newAdmin(cfg *config.Config, version string, obs *observability, state *state, load *proxy.Load) *admin.Handler {
	s := &cfg.Settings
	return admin.New(admin.Config{
		Key: s.OperatorKey.Reveal(), Open: !s.OperatorKey.Set() && s.Standalone && s.Loopback,
		Instance: s.Instance, Version: version, Region: s.Region, Memory: s.State.Memory(), Refresh: s.StateRefresh,
		Pools: cfg.Pools, Slots: cfg.Slots, Consumers: cfg.Consumers, Replica: state.replica, Recent: obs.recent, Now: time.Now, NewID: newRequestID,
		InFlight: func(slot health.Slot) int64 { return load.InFlight(slot) }, Quotas: state.quotas.LimitStatuses,
		UsageRows: state.usage.rows, Metrics: obs.provider.Handler(), Audit: obs.audit,
	})
}

// audit logs what an operator did.
func (o *observability) audit(_ context.Context, a admin.Action) {
	o.events.Audit(&telemetry.AuditRecord{Time: a.At, RequestID: a.Request, Verb: a.Verb, Target: a.Backend, Operator: a.Who, Key: a.Key, RemoteAddr: a.From, Duration: a.Took, Err: a.Err})
}
