package cli

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
	"spillway/handler/internal/quota"
	"spillway/handler/internal/relay"
	"spillway/handler/internal/telemetry"
)

// gateway is every room at work.
type gateway struct {
	server   *api.Server
	keeper   *fleet.Keeper
	client   *backend.Client
	sight    *sight
	beside   []func(ctx context.Context) // what lives beside the requests
	draining atomic.Bool
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// newGateway wires the rooms. Nothing runs, and nothing is asked of anybody,
// before start.
func newGateway(cfg *config.Config, log *slog.Logger, out *telemetry.Lines) (*gateway, error) {
	store, err := openStore(cfg, cfg.Settings.StateTable)
	if err != nil {
		return nil, err
	}
	g := &gateway{sight: newSight(cfg, log, out)}
	keeping := keeperConfig(cfg, store)
	keeping.OnChange = g.sight.changed
	g.keeper = fleet.New(keeping)
	g.beside = append(g.beside, g.keeper.Run)
	if err := g.connect(cfg, log); err != nil {
		return nil, err
	}
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
	g.open(cfg, books.Lines, loop.Load)
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
		Routes: operations.All(), Forward: loop, Seeker: loop, Places: places,
		Models: models{cfg}, Doorman: doorman,
		Readiness: &api.PoolReadiness{Pools: cfg.Pools, Snapshot: g.keeper.Snapshot, Look: g.keeper.Look, Now: time.Now},
		Carrier:   &relay.Relay{CommitAfter: s.CommitAfter, FirstToken: s.FirstTokenTimeout, Heartbeat: s.Heartbeat, Policy: judgement(cfg)},
		Watcher:   g.sight.watched,
		Now:       time.Now, Chance: randv2.Float64, NewID: newID, MaxBody: s.MaxBody,
		Books: books, Expose: s.Expose, Operations: operators, Draining: g.draining.Load,
	}
	if transcripts != nil {
		g.server.Record = transcripts.Record
	}
	return g, nil
}

// newLoop is the way of a request through the backends.
func (g *gateway) newLoop(cfg *config.Config) *proxy.Proxy {
	room := &quota.Room{Seats: waitingSeats}
	return &proxy.Proxy{
		Keeper: g.keeper, Sender: g.client, Load: proxy.NewLoad(len(cfg.Slots)), Turns: new(proxy.Turns),
		Budget: &proxy.Budget{Share: 0.2, Floor: 10}, Hedges: new(proxy.Hedges), Now: time.Now, Chance: randv2.Float64,
		Wait: room.Wait, MaxWait: cfg.Settings.MaxWait,
	}
}

// start sets everything going that lives beside the requests.
func (g *gateway) start(ctx context.Context) {
	// It outlives the signal: requests under way still need it.
	ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range g.beside {
		g.running.Go(func() { run(ctx) })
	}
}

// close ends what start began, and waits for it.
func (g *gateway) close() {
	g.stop()
	g.running.Wait()
}

// waitingSeats is how many requests may wait for a throttled pool at once:
// each holds its body.
const waitingSeats = 1000

// newID names a request: 128 bits, in letters and digits.
func newID() string { return "req_" + rand.Text() }
