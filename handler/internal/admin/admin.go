// Package admin is the operators' part of the server, below /ops: the status
// page, its API and the metrics. It shows the state that other packages keep,
// and writes operators' overrides to the shared state. It decides nothing about
// requests.
//
// # Access
//
// Every path below /ops needs the operators' key, as x-spillway-operator-key or
// as Authorization: Bearer, never in a URL or cookie; or a token of Entra ID with
// the app role of operators. An address that sends too many wrong keys gets 429
// for a while, whatever it sends. The page's HTML, style and
// script are public, because a browser cannot send a header with its first
// request; they hold no data. Without a configured key or role all of /ops is 404, except
// in a standalone run on loopback ([Config.Open]), which answers only to loopback
// names, and refuses actions from pages of other origins.
//
// # API
//
//	GET  /ops/api/status                     what the page shows ([Status]); brief&model=M: the backends of these models only
//	GET  /ops/api/history?model=M            traffic and events of the last hours ([History])
//	GET  /ops/api/requests?id=ID             why a request went to its backend ([Request]); 404 when this instance does not have it
//	GET  /ops/api/requests?last=N            the latest requests of this instance, newest first ([Requests])
//	POST /ops/api/backends/{name}/drain      no new requests, on every instance ([ActionResult]); name is "backend" or "backend/model"
//	POST /ops/api/backends/{name}/restore    ends a drain
//	POST /ops/api/backends/{name}/reset      closes the circuits and ends the throttle windows
//	GET  /ops/api/usage?from=T&to=T&by=F,F   tokens and cost ([Usage]); by: hour, consumer, model, backend; format=csv
//	GET  /ops/api/config                     the versions of the pool document ([ConfigVersions])
//	GET  /ops/api/config/document?version=N  the text of one; 0 is that of SPILLWAY_CONFIG
//	GET  /ops/api/config/diff?from=N&to=M    what differs between two
//	POST /ops/api/config/rollback?version=N  makes an earlier one current ([RollbackResult])
//	GET  /ops/metrics                        Prometheus
//
// The last six exist where their provider is configured. Errors have OpenAI's
// shape, {"error":{"message","type","code"}}. Operators may send a name in
// x-spillway-operator (percent-encoded), which is logged, shown to others, and not
// authenticated. Without a key, actions require that header, because another
// site's page cannot send it.
//
// # Why the page polls
//
// The page requests the status once a second while it is visible, instead of
// holding a stream open. Behind the Functions host an open stream counts against
// the instance's concurrency, and one that outlives functionTimeout ends the
// process with every caller's stream: docs/functions-host.md#body-and-time-limits.
// Each poll may reach another instance. All show the same: each shares its traffic
// and its events with the others in a row of the usage table.
package admin

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/telemetry/condition"
)

// Replica is the instance's copy of the shared state.
type Replica interface {
	// Snapshot is the latest snapshot. It counts as traffic: while the page is
	// open, the table is read as often as for requests.
	Snapshot() *health.Snapshot
	// PeekSnapshot is the same without that effect.
	PeekSnapshot() *health.Snapshot
	Counters() fleet.Counters
	// ReadState reads the table. It is called in the background, by [Handler.Run].
	ReadState(ctx context.Context) (fleet.State, error)
	Drain(ctx context.Context, backend, who string) error
	Restore(ctx context.Context, backend, who string) error
	Reset(ctx context.Context, backend, who string) error
}

// Config configures a Handler. Replica, Recent and Now are required.
type Config struct {
	Key  string // the operators' key; "" = nothing is served, unless Open
	Open bool   // without a key and a role, serve loopback names

	// Verify and Role let operators in by Entra ID: with a token that has the app
	// role. nil = by key only.
	Verify Verify
	Role   string
	Hosted bool // behind the Functions host, which names the address of its client
	// KeysRefused reports refused keys at most once a minute: how many there were
	// since the last call, and the address of the latest; nil = not called.
	KeysRefused func(n uint64, address string)
	// Access is called after every request that was served or refused, the page and
	// its assets excepted; nil = not called.
	Access func(a *Access)
	// Conditions are the parts of this instance that may fail; nil = none.
	Conditions *condition.Set
	// TraceID is the trace of a request; nil = none has one.
	TraceID func(h http.Header) string

	Instance string
	Version  string
	Region   string
	Memory   bool          // there is no shared state
	Refresh  time.Duration // how often an instance with traffic reads the table

	Pools     []balancer.Pool
	Slots     []string // by health.Slot: "backend/model"
	Consumers []consumer.Consumer
	Replica   Replica
	Recent    *Recent
	Now       func() time.Time
	NewID     func() string // of an operator's request
	InFlight  func(slot health.Slot) int64
	Waiting   func(model string, now time.Time) proxy.Waiting // nil = not known

	// Refusals lists what backends refuse this instance that others serve, and what
	// every backend refuses; nil = nothing.
	Refusals func(now time.Time) []proxy.OpenedOperation
	// Quotas lists the limits of all consumers; nil = there are none.
	Quotas func() []quota.LimitStatus
	// UsageRows reads tokens and cost; nil = there is no /ops/api/usage.
	UsageRows func(ctx context.Context, from, to time.Time) ([]accounting.Row, error)
	// Versions are those of the pool document; nil = they are not in a table.
	Versions Versions
	// Metrics answers /ops/metrics; nil = there is none.
	Metrics http.Handler
	// Traffic is the table in which the instances share their traffic; nil = each
	// shows its own.
	Traffic tablestore.Store
	// ConfigDigest is equal on instances with the same configuration.
	ConfigDigest string
	// Audit is called after every action, written or not; nil = not called.
	Audit func(ctx context.Context, a Action)
}

// Handler serves /ops. It is safe for concurrent use.
type Handler struct {
	cfg    Config
	access *access
	routes map[string]route // by path below /ops
	page   []byte
	fleet  fleetReader
	served atomic.Pointer[Config] // cfg, with what Configure replaced

	started    time.Time
	trafficKey string // of this instance's row
	traffic    poller
	others     atomic.Pointer[others]
}

// route is one path with its method.
type route struct {
	method  string
	pattern string // of the path, for the log, when the route is one of many; "" = the path itself
	public  bool   // served without a key: holds no data
	serve   http.HandlerFunc
	act     func(w http.ResponseWriter, r *http.Request, who *operator) // instead of serve
}

// RefusedKeys is how many keys and tokens were refused so far.
func (o *Handler) RefusedKeys() uint64 { return o.access.attempts.count() }

// Authorized reports whether the request has an operator's credential. A wrong one
// counts as an attempt.
func (o *Handler) Authorized(r *http.Request) bool {
	if !o.access.enabled(r) || !o.access.keyless && credential(r) == "" {
		return false
	}
	_, refused := o.access.authorize(r, o.cfg.Now())
	return refused == nil
}

// New makes a Handler. The fleet's state is shown once Run runs.
func New(cfg Config) *Handler {
	o := &Handler{
		cfg: cfg, access: newAccess(&cfg), fleet: newFleetReader(cfg.Replica, cfg.Now), started: cfg.Now().UTC(),
		trafficKey: trafficKey(cfg.Instance), traffic: newPoller(trafficReadInterval),
	}
	o.others.Store(new(others))
	o.served.Store(&cfg)
	o.page = pageOf(o.access.keyless)
	o.routes = fileRoutes()
	o.routes[""] = route{method: http.MethodGet, public: true, serve: o.servePage}
	o.routes["/"] = o.routes[""]
	o.routes["/api/status"] = route{method: http.MethodGet, serve: o.serveStatus}
	o.routes["/api/history"] = route{method: http.MethodGet, serve: o.serveHistory}
	o.routes["/api/requests"] = route{method: http.MethodGet, serve: o.serveRequests}
	if cfg.UsageRows != nil {
		o.routes["/api/usage"] = route{method: http.MethodGet, serve: o.serveUsage}
	}
	o.versionRoutes()
	if cfg.Metrics != nil {
		o.routes["/metrics"] = route{method: http.MethodGet, serve: cfg.Metrics.ServeHTTP}
	}
	return o
}

// Configure replaces what is served. A slot without a name is of no backend.
func (o *Handler) Configure(pools []balancer.Pool, slots []string, consumers []consumer.Consumer, digest string) {
	c := o.cfg
	c.Pools, c.Slots, c.Consumers, c.ConfigDigest = pools, slots, consumers, digest
	o.served.Store(&c)
}

// Run shares this instance's traffic, and reads what all instances share while the
// status is requested. It returns when ctx is done.
func (o *Handler) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { o.fleet.run(ctx, o.fleet.refresh) })
	if o.cfg.Traffic != nil {
		running.Go(func() { o.traffic.run(ctx, o.readTraffic) })
		running.Go(func() { o.shareTraffic(ctx) })
	}
	running.Wait()
}
