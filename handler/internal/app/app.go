// Package app builds the gateway out of a configuration and serves it.
package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	randv2 "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/relay"
	"spillway/handler/internal/telemetry"
)

// Runner is work in the background, until ctx is done.
type Runner func(ctx context.Context)

// gateway is every room at work.
type gateway struct {
	version  string
	server   *api.Server
	keeper   *fleet.Replica
	client   *backend.Client
	sight    *sight
	beside   []Runner // what lives beside the requests
	draining atomic.Bool
}

// newGateway wires the rooms. Nothing runs, and nothing is asked of anybody,
// before start.
func newGateway(cfg *config.Config, version string, log *slog.Logger, out *telemetry.LogWriter) (*gateway, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable)
	if err != nil {
		return nil, err
	}
	g := &gateway{version: version, sight: newSight(cfg, log, out)}
	keeping := FleetConfig(cfg, store)
	keeping.OnChange = g.sight.changed
	g.keeper = fleet.New(keeping)
	g.beside = append(g.beside, g.keeper.Run)
	client, runners, err := Connect(cfg, log)
	if err != nil {
		return nil, err
	}
	g.client, g.beside = client, append(g.beside, runners...)
	books, err := g.openBooks(cfg, log)
	if err != nil {
		return nil, err
	}
	doorman, err := g.newDoorman(cfg, log, books)
	if err != nil {
		return nil, err
	}
	places, err := g.openPlaces(cfg, log)
	if err != nil {
		return nil, err
	}
	s := &cfg.Settings
	loop := g.newLoop(cfg)
	g.open(cfg, books.LimitStatuses, loop.Load)
	spent, err := g.openSpending(cfg)
	if err != nil {
		return nil, err
	}
	transcripts, err := g.openTranscripts(cfg)
	if err != nil {
		return nil, err
	}
	operators := g.openOps(cfg, books, spent, loop.Load)
	g.server = &api.Server{
		Routes: operations.All(), Forwarder: loop, Locator: loop, Affinity: places,
		Models: Models{cfg}, Authenticator: doorman,
		Readiness: &api.PoolReadiness{Pools: cfg.Pools, Snapshot: g.keeper.PeekSnapshot, Refresh: g.keeper.Snapshot, Now: time.Now},
		Relay:     &relay.Relay{CommitAfter: s.CommitAfter, FirstToken: s.FirstTokenTimeout, Heartbeat: s.Heartbeat, Policy: judgement(cfg)},
		Observer:  g.sight.watched,
		Now:       time.Now, Rand: randv2.Float64, NewID: newID, MaxBody: s.MaxBody,
		Quotas: books, Expose: s.Expose, Admin: operators, Draining: g.draining.Load,
	}
	if transcripts != nil {
		g.server.Transcript = transcripts.Record
	}
	return g, nil
}

// newLoop is the way of a request through the backends.
func (g *gateway) newLoop(cfg *config.Config) *proxy.Proxy {
	return &proxy.Proxy{
		Health: g.keeper, Sender: g.client, Load: proxy.NewLoad(len(cfg.Slots)), RoundRobin: new(proxy.RoundRobin),
		RetryBudget: &proxy.RetryBudget{Share: 0.2, Floor: 10}, Hedges: new(proxy.Hedges), Now: time.Now, Rand: randv2.Float64,
		Queue: &proxy.WaitQueue{Slots: waitSlots}, MaxWait: cfg.Settings.MaxWait,
	}
}

// Background starts runners; stop ends them and waits for them.
func Background(ctx context.Context, runners []Runner) (stop func()) {
	// They outlive the signal: requests under way still need them.
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

// waitSlots is how many requests may wait for a throttled pool at once:
// each holds its body.
const waitSlots = 1000

// newID names a request: 128 bits, in letters and digits.
func newID() string { return "req_" + rand.Text() }
