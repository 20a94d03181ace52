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
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/relay"
	"spillway/handler/internal/telemetry"
)

// Runner is background work. It returns when ctx is done.
type Runner func(ctx context.Context)

// App is the assembled gateway.
type App struct {
	config   *config.Config
	version  string
	log      *slog.Logger
	handler  http.Handler
	draining *atomic.Bool // readiness fails while it is set
	runners  []Runner
}

// New assembles the gateway of cfg, which source gave. The log lines of requests and events go to
// out.
func New(cfg *config.Config, source *configSource, version string, log *slog.Logger, out *telemetry.LogWriter) (*App, error) {
	obs := newObservability(cfg, version, log, out)
	state, err := newState(cfg, log, obs)
	if err != nil {
		return nil, err
	}
	client, tokens, err := newBackendClient(cfg, log)
	if err != nil {
		return nil, err
	}
	if obs.provider.Traces() {
		client.InjectTrace = obs.provider.Tracer.Inject
	}
	verifier, entraRunners, err := newVerifier(&cfg.Settings)
	if err != nil {
		return nil, err
	}
	authenticator, authRunners, err := newAuthenticator(cfg, state, verifier)
	if err != nil {
		return nil, err
	}
	forward := newProxy(cfg, log, state, client)
	watched := conditions(cfg, source, state, tokens, verifier, obs.provider)
	operators := newAdmin(cfg, version, obs, state, forward.Load, verifier, watched)
	draining := new(atomic.Bool)
	server := newServer(cfg, obs, state, forward)
	server.Authenticator, server.Admin, server.Draining = authenticator, operators, draining.Load
	server.Conditions, server.Operator, server.ConfigStatus = watched, operators.Authorized, source.Status
	if callers := &cfg.Settings.Callers; callers.Entra && !callers.Key {
		server.CredentialsReady = verifier.Ready
	}
	return &App{
		config: cfg, version: version, log: log, handler: server.Handler(), draining: draining,
		runners: slices.Concat(state.runners, tokenRunners(tokens), entraRunners, authRunners, obs.observe(cfg, out, state, forward.Load, operators, watched), []Runner{operators.Run}),
	}, nil
}

// newServer is the server of the inference API, without access control.
func newServer(cfg *config.Config, obs *observability, state *state, forward *proxy.Proxy) *api.Server {
	s := &cfg.Settings
	server := &api.Server{
		Forwarder: forward, Locator: forward, Affinity: state.affinity, Models: Models{cfg}, StrictIDs: len(cfg.Consumers) > 1 && !s.Callers.None(),
		Readiness: &api.PoolReadiness{Pools: cfg.Pools, Snapshot: state.replica.PeekSnapshot, Refresh: state.replica.Snapshot, Now: time.Now},
		Relay:     &relay.Relay{CommitAfter: s.CommitAfter, Heartbeat: s.Heartbeat, Policies: classifyPolicies(cfg)},
		Observer:  obs.observers(state),
		Now:       time.Now, Rand: randv2.Float64, NewID: newRequestID, MaxBody: s.MaxBody,
		Meter: metering.New(state.quotas, poolsBySlot(cfg), state.quotas.store), Expose: s.Expose, ExtractTrace: obs.provider.Tracer.Extract,
	}
	if state.transcripts != nil {
		server.Transcript = state.transcripts.Record
	}
	return server
}

// waitSlots is how many requests may wait for a throttled pool at once: each
// holds its body in memory.
const waitSlots = 1000

// newProxy selects a backend for each request and fails over.
func newProxy(cfg *config.Config, log *slog.Logger, state *state, client *backend.Client) *proxy.Proxy {
	s := &cfg.Settings
	turns := &proxy.RoundRobin{Start: randv2.Uint64()} //nolint:gosec // who is first is no secret
	return &proxy.Proxy{
		Health: state.replica, Sender: client, Load: proxy.NewLoad(len(cfg.Slots)), RoundRobin: turns,
		Hedges: new(proxy.Hedges), Latency: state.latency, Now: time.Now, Rand: randv2.Float64,
		Queue: &proxy.WaitQueue{Capacity: waitSlots}, MaxWait: s.MaxWait, ResponseTimeout: s.ResponseTimeout, FirstTokenTimeout: s.FirstTokenTimeout,
		Operations: proxy.OperationCircuits{
			TripDuration: cfg.Breaker.TripDuration, MaxTripDuration: cfg.Breaker.MaxTripDuration,
			Opened: func(c proxy.OpenedOperation) { logOpenedOperation(cfg, log, c) },
		},
	}
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
