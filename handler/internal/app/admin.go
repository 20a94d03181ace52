package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/auth/entra"
	"spillway/handler/internal/config"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/telemetry"
	"spillway/handler/internal/telemetry/condition"
)

// newAdmin is the operators' API and status page. Without a key or a role it is
// open only to the loopback address of a standalone run: behind the Functions host
// every request comes from loopback.
func newAdmin(cfg *config.Config, source *configSource, version string, obs *observability, state *state, load *proxy.Load, refusals func(now time.Time) []proxy.OpenedOperation, verifier *entra.Verifier, watched *condition.Set) *admin.Handler {
	s := &cfg.Settings
	c := admin.Config{
		Key: s.OperatorKey.Reveal(), Open: !s.OperatorKey.Set() && s.OperatorRole == "" && s.Standalone && s.Loopback, Hosted: !s.Standalone,
		Instance: s.Instance, Version: version, Region: s.Region, Memory: s.State.Memory(), Refresh: s.StateRefresh,
		Pools: cfg.Pools, Slots: cfg.Slots, Consumers: cfg.Consumers, Replica: state.replica, Recent: obs.recent, Now: time.Now, NewID: newRequestID,
		InFlight: load.InFlight, Waiting: load.Waiting, Quotas: state.quotas.LimitStatuses,
		UsageRows: state.usage.rows, Metrics: obs.provider.Handler(), Audit: obs.audit, KeysRefused: obs.keysRefused, TraceID: obs.traceID, Conditions: watched,
		Refusals: refusals, Traffic: state.usage.store, ConfigDigest: digest(cfg),
	}
	if source != nil {
		c.Versions = source
	}
	if s.OperatorRole != "" {
		c.Verify, c.Role = verifier.Verify, s.OperatorRole
	}
	if s.LogLevel <= slog.LevelDebug {
		c.Access = obs.operatorAccess
	}
	return admin.New(c)
}

// digest is equal on instances with the same configuration, and tells nothing
// about it.
func digest(cfg *config.Config) string {
	text, err := json.Marshal(cfg.Document)
	if err != nil {
		panic("app: a configuration that was read did not encode: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// audit logs what an operator did.
func (o *observability) audit(_ context.Context, a admin.Action) {
	o.events.Audit(&telemetry.AuditRecord{
		Time: a.At, RequestID: a.Request, TraceID: a.Trace, Verb: a.Verb, Target: a.Backend, Operator: a.Who, ObjectID: a.Object, Key: a.Key,
		RemoteAddr: a.From, Duration: a.Took, Err: a.Err,
	})
}

// keysRefused logs that somebody sends wrong keys.
func (o *observability) keysRefused(n uint64, address string) {
	o.log.WarnContext(context.Background(), "operator keys refused", "count", n, "from", address)
}

// operatorAccess logs a request below /ops.
func (o *observability) operatorAccess(a *admin.Access) {
	o.log.DebugContext(context.Background(), "operator request", "request_id", a.Request, "method", a.Method, "path", a.Path, "status", a.Status,
		"who", a.Who, "oid", a.Object, "key", a.Key, "from", a.From, "ms", float64(a.Took.Microseconds())/1000)
}

// traceID is the trace that a request below /ops belongs to.
func (o *observability) traceID(h http.Header) string {
	if trace := o.provider.Tracer.Extract(h, ""); trace.IsRemote() {
		return trace.TraceID().String()
	}
	return ""
}
