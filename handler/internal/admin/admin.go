// Package ops is the operators' door below /ops: the status page, its API and
// the metrics. It shows what other rooms know and passes an operator's word to
// the keeper; it decides nothing about requests.
//
// # Who comes in
//
// Every path below /ops asks for the operators' key, as x-spillway-operator-key
// or as Authorization: Bearer, never in a URL or cookie. The look of the page
// (its shell, style and script) is public, because a browser cannot send a
// header with the first request; it holds no data. Without a configured key all
// of /ops is 404, except in a standalone run on loopback ([Config.Open]), which
// answers only to loopback names, and lets a page of another origin change
// nothing.
//
// # API
//
//	GET  /ops/api/status                     what the page shows ([Status])
//	GET  /ops/api/requests?id=ID             why one request went where it went ([Request]); 404 when it is not kept here
//	GET  /ops/api/requests?last=N            the latest decisions of this instance, newest first ([Requests])
//	POST /ops/api/backends/{name}/drain      no new requests, on every instance ([ActionResult]); name is "backend" or "backend/model"
//	POST /ops/api/backends/{name}/restore    takes a drain back
//	POST /ops/api/backends/{name}/reset      closes the circuits and ends the throttle windows
//	GET  /ops/api/usage?from=T&to=T&by=F,F   tokens and money ([Usage]); by: hour, consumer, model, backend; format=csv
//	GET  /ops/metrics                        Prometheus
//
// The last two exist where their provider is configured. Errors have OpenAI's
// shape, {"error":{"message","type","code"}}. Whoever acts may give a name in
// x-spillway-operator (percent-encoded); it goes into the log and is shown to
// others, and proves nothing. In a run without a key that header is needed to
// act, because no other site's page can send it.
//
// # Why the page polls
//
// The page asks for the status once a second while it is visible, instead of
// holding a stream open. Behind the Functions host an open stream counts as a
// request under way for its whole life, which at four per instance costs a
// quarter of it, and one that outlives functionTimeout ends the process with
// every caller's stream (facts/azure-functions-host.md §1.6, §5). Besides, each
// poll may reach another instance, so a page that polls hears from all of them:
// it adds up what each said of its own traffic.
package admin

import (
	"context"
	"net/http"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
)

// Replica is what the page needs of the shared state.
type Replica interface {
	// Snapshot is the latest snapshot. A look is traffic: while somebody watches,
	// the table is read as often as for requests.
	Snapshot() *health.Snapshot
	Counters() fleet.Counters
	// ReadState waits for the table; it is asked beside the requests, see [Handler.Run].
	ReadState(ctx context.Context) (fleet.State, error)
	Drain(ctx context.Context, backend, who string) error
	Restore(ctx context.Context, backend, who string) error
	Reset(ctx context.Context, backend, who string) error
}

// Config is what the door is made of. Keeper, Recent and Now are needed; of the
// others the zero value is none.
type Config struct {
	Key  string // the operators'; "" = closed, unless Open
	Open bool   // whoever reaches this machine's loopback is an operator

	Instance string
	Version  string
	Region   string
	Memory   bool          // the state lives in this process alone
	Refresh  time.Duration // how often an instance with traffic reads the table

	Pools     []balancer.Pool
	Slots     []string // by health.Slot: "backend/model"
	Consumers []consumer.Consumer
	Replica   Replica
	Recent    *Recent
	Now       func() time.Time
	NewID     func() string // of an operator's request
	InFlight  func(slot health.Slot) int64

	// Quotas lists how all consumers stand with their limits.
	Quotas func() []quota.LimitStatus
	// UsageRows reads tokens and money; nil = there is no /ops/api/usage.
	UsageRows func(ctx context.Context, from, to time.Time) ([]UsageRow, error)
	// Metrics answers /ops/metrics; nil = there is none.
	Metrics http.Handler
	// Audit is told of every act of an operator, done or not.
	Audit func(ctx context.Context, a Action)
}

// Handler is the door. It is safe for concurrent use.
type Handler struct {
	cfg    Config
	access access
	routes map[string]route // by path below /ops
	page   *page
	fleet  fleetReader
}

// route is one path with its method.
type route struct {
	method string
	public bool // needs no key, holds no data
	serve  http.HandlerFunc
}

// New wires the door. Nothing runs before Run.
func New(cfg Config) *Handler {
	o := &Handler{cfg: cfg, access: newAccess(cfg.Key, cfg.Open), page: newPage(), fleet: newFleetReader(cfg.Replica, cfg.Now)}
	o.routes = o.page.routes()
	o.routes[""] = route{method: http.MethodGet, public: true, serve: o.servePage}
	o.routes["/"] = o.routes[""]
	o.routes["/api/status"] = route{method: http.MethodGet, serve: o.serveStatus}
	o.routes["/api/requests"] = route{method: http.MethodGet, serve: o.serveRequests}
	if cfg.UsageRows != nil {
		o.routes["/api/usage"] = route{method: http.MethodGet, serve: o.serveUsage}
	}
	if cfg.Metrics != nil {
		o.routes["/metrics"] = route{method: http.MethodGet, serve: cfg.Metrics.ServeHTTP}
	}
	return o
}

// Run keeps what the page knows of the whole fleet fresh while somebody looks.
// It returns when ctx is done.
func (o *Handler) Run(ctx context.Context) { o.fleet.run(ctx) }
