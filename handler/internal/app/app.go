// Package app assembles the gateway from a configuration and serves it. It is
// the only package that knows every other one; it decides nothing about
// requests.
//
// Each file holds one subsystem: a constructor that returns it complete,
// together with its background work. Nothing runs, and nothing is sent, before
// [App.Run].
package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	randv2 "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/api"
	"spillway/handler/internal/auth"
	"spillway/handler/internal/auth/entra"
	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/relay"
	"spillway/handler/internal/telemetry"
	"spillway/handler/internal/telemetry/condition"
)

// Runner is background work. It returns when ctx is done.
type Runner func(ctx context.Context)

// App is the assembled gateway. What lasts as long as the process is here; what
// follows from one configuration is a generation.
type App struct {
	config  *config.Config // the first
	version string
	log     *slog.Logger
	source  *configSource // nil = the configuration does not change

	obs        *observability
	state      *state
	slots      *slotTable
	load       *proxy.Load
	queue      *proxy.WaitQueue
	meter      *metering.Meter
	issued     *keys.Cache     // nil = no issued keys are accepted
	verifier   *entra.Verifier // nil = no tokens are accepted
	operators  *admin.Handler
	conditions *condition.Set
	memory     int64            // how much this process may use, in bytes; 0 = unknown
	budget     *overload.Budget // of the requests; nil = unbounded
	sources    telemetry.Sources
	draining   *atomic.Bool // readiness fails while it is set
	runners    []Runner

	adopting    sync.Mutex // held while a generation begins or ends
	serving     atomic.Pointer[generation]
	tokens      tokenRuns
	begun       chan *api.Server // the latest one whose adoptions are not recorded yet
	lastRequest atomic.Int64     // Unix milliseconds
}

// New assembles the gateway of cfg, which source gave. The log lines of requests and
// events go to out.
func New(cfg *config.Config, source *configSource, version string, log *slog.Logger, out *telemetry.LogWriter) (*App, error) {
	slots := newSlotTable(cfg, source != nil)
	cfg, changes, err := slots.plan(cfg, time.Now())
	if err != nil {
		return nil, err
	}
	slots.assign(changes)
	obs := newObservability(cfg, slots.names, version, log, out)
	state, err := newState(cfg, slots, log, obs)
	if err != nil {
		return nil, err
	}
	verifier, entraRunners, err := newVerifier(&cfg.Settings)
	if err != nil {
		return nil, err
	}
	issued, keyRunners := newIssuedKeys(cfg, state)
	a := &App{
		config: cfg, version: version, log: log, source: source, obs: obs, state: state, slots: slots, load: proxy.NewLoad(len(cfg.Slots)),
		queue: &proxy.WaitQueue{Capacity: proxy.MostWaiting}, meter: metering.New(state.quotas, nil, state.quotas.store), issued: issued, verifier: verifier, draining: new(atomic.Bool),
		begun:  make(chan *api.Server, 1),
		memory: memoryLimit(cfg.Settings.MemoryLimit),
	}
	a.budget = newBudget(a.memory)
	a.conditions = conditions(cfg, source, state, func() map[string]*backend.Token { return a.serving.Load().backends.tokens }, verifier, obs.provider)
	a.operators = newAdmin(cfg, source, version, obs, state, a.load, a.refusals, verifier, a.conditions)
	a.sources = obs.sources(out, state, a.load, a.operators, a.conditions)
	a.sources.Memory = a.budget
	first, err := a.newGeneration(cfg)
	if err != nil {
		return nil, err
	}
	a.begin(first)
	a.runners = slices.Concat(state.runners, entraRunners, keyRunners, obs.observe(state, a.conditions), []Runner{a.operators.Run, a.tokens.run, a.beginAdoptions})
	if source != nil {
		a.runners = append(a.runners, a.followSource)
	}
	return a, nil
}

// newServer is the server of the inference API and of operators for one
// configuration.
func (a *App) newServer(cfg *config.Config, forward *proxy.Proxy, authenticator *auth.Authenticator) *api.Server {
	s, state := &cfg.Settings, a.state
	server := &api.Server{
		Forwarder: forward, Locator: forward, Affinity: state.affinity, Models: Models{cfg}, StrictIDs: len(cfg.Consumers) > 1 && !s.Callers.None(), Secret: state.affinity.Secret,
		Readiness: &api.PoolReadiness{Pools: cfg.Pools, Snapshot: state.replica.PeekSnapshot, Refresh: state.replica.Snapshot, Now: time.Now},
		Relay:     &relay.Relay{CommitAfter: s.CommitAfter, Heartbeat: s.Heartbeat, Policies: classifyPolicies(cfg)},
		Observer:  a.obs.observers(cfg, state),
		Now:       time.Now, Rand: randv2.Float64, NewID: newRequestID, MaxBody: maxBody(s.MaxBody, a.budget, a.log), Memory: a.budget,
		Meter: a.meter.WithPools(poolsBySlot(cfg)), Expose: s.Expose, ExtractTrace: a.obs.provider.Tracer.Extract,
		Authenticator: authenticator, Admin: a.operators, Draining: a.draining.Load,
		Conditions: a.conditions, Operator: a.operators.Authorized, ConfigStatus: a.source.Status, Corrected: a.corrected,
	}
	if state.transcripts != nil {
		server.Transcript = state.transcripts.Record
	}
	if s.Callers.Entra && !s.Callers.Key {
		server.CredentialsReady = a.verifier.Ready
	}
	return server
}

// corrected records the usage of a background response, which became known late.
func (a *App) corrected(x *api.RequestRecord) {
	a.state.usage.RequestDone(x)
	a.log.Info("usage of a background response was recorded after its request", "request_id", x.ID)
}

// newProxy selects a backend for each request and fails over.
func (a *App) newProxy(cfg *config.Config, client *backend.Client) *proxy.Proxy {
	s, state := &cfg.Settings, a.state
	turns := &proxy.RoundRobin{Start: randv2.Uint64()} //nolint:gosec // who is first is no secret
	return &proxy.Proxy{
		Health: state.replica, Sender: client, Load: a.load, RoundRobin: turns,
		Hedges: new(proxy.Hedges), Latency: state.latency, Now: time.Now, Rand: randv2.Float64,
		Queue: a.queue, MaxWait: s.MaxWait, ResponseTimeout: s.ResponseTimeout, FirstTokenTimeout: s.FirstTokenTimeout,
		Operations: proxy.OperationCircuits{
			TripDuration: cfg.Breaker.TripDuration, MaxTripDuration: cfg.Breaker.MaxTripDuration,
			Opened: func(c proxy.OpenedOperation) {
				logOpenedOperation(cfg, a.log, c)
				a.obs.recent.OperationRefused(&c)
			},
		},
	}
}

// refusals are the operations that backends refuse the generation that serves.
func (a *App) refusals(now time.Time) []proxy.OpenedOperation {
	return a.serving.Load().operations.List(now)
}

// logOpenedOperation tells the operator that a backend is not used for an operation
// any more, by this instance: something is not deployed there, or not permitted.
func logOpenedOperation(cfg *config.Config, log *slog.Logger, c proxy.OpenedOperation) {
	backend, model, _ := strings.Cut(cfg.Slots[c.Slot], "/")
	log.ErrorContext(context.Background(), "a backend refuses an operation that others serve: correct its deployment, credential or API version",
		"backend", backend, "model", model, "operation", c.Operation, "api_version", c.APIVersion, "reason", c.Reason, "until", c.Until)
}

// newRequestID has 128 random bits, in letters and digits.
func newRequestID() string { return "req_" + rand.Text() }

// Start starts runners. stop ends them and waits for them; they ignore the end
// of ctx, because requests in flight still need them.
func Start(ctx context.Context, runners []Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for _, run := range runners {
		running.Go(func() { run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}
