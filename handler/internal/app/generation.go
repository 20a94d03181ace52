package app

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/proxy"
)

// generation is what serves the requests of one configuration. A request ends on the
// generation that it began on, however long it takes; the last one ends the
// generation.
type generation struct {
	config   *config.Config
	server   *api.Server
	handler  http.Handler
	backends *backends

	operations *proxy.OperationCircuits

	requests atomic.Int64 // under way
	retired  atomic.Bool  // no new request begins on it
	ended    sync.Once
	end      func()
}

// newGeneration builds what serves the configuration. Nothing refers to it yet.
func (a *App) newGeneration(cfg *config.Config) (*generation, error) {
	var before *backends
	if serving := a.serving.Load(); serving != nil {
		before = serving.backends
	}
	g := &generation{config: cfg, backends: newBackends(cfg, a.log, before)}
	client, err := g.backends.client(cfg)
	if err != nil {
		return nil, err
	}
	if a.obs.provider.Traces() {
		client.InjectTrace = a.obs.provider.Tracer.Inject
	}
	authenticator, err := newAuthenticator(cfg, a.issued, a.verifier)
	if err != nil {
		return nil, err
	}
	forward := a.newProxy(cfg, client)
	g.operations = &forward.Operations
	g.server = a.newServer(cfg, forward, authenticator)
	g.handler = g.server.Handler()
	g.end = func() { a.endGeneration(g) }
	return g, nil
}

// begin has new requests begin on g. The caller holds adopting, or nothing runs yet.
func (a *App) begin(g *generation) {
	dropped := a.slots.use(g.config)
	a.sources.Slots = g.config.Slots
	sources := a.sources
	a.obs.provider.Observe(&sources)
	a.operators.Configure(g.config.Pools, g.config.Slots, g.config.Consumers, digest(g.config))
	a.tokens.start(g.backends.tokens)
	select {
	case <-a.begun:
	default:
	}
	a.begun <- g.server
	before := a.serving.Swap(g)
	for _, n := range dropped {
		a.state.replica.Drop(n)
	}
	if before != nil {
		before.retire()
	}
}

// beginAdoptions records when backends began to adopt, for each generation in turn.
func (a *App) beginAdoptions(ctx context.Context) {
	for {
		select {
		case server := <-a.begun:
			server.BeginAdoptions(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// Adopt builds the configuration beside the one that serves, and has new requests
// begin on it. Requests under way end on the old one. What is known of backends,
// limits and stored objects goes on; the counters too. On an error nothing changes.
func (a *App) Adopt(cfg *config.Config) error {
	a.adopting.Lock()
	defer a.adopting.Unlock()
	cfg, changes, err := a.slots.plan(cfg, time.Now())
	if err != nil {
		return err
	}
	g, err := a.newGeneration(cfg)
	if err != nil {
		return err
	}
	a.slots.assign(changes)
	for i := range changes {
		c := &changes[i]
		a.state.latency.Assign(c.number, c.from, a.slots.model(c.model))
		a.load.Assign(c.number, c.from)
		a.state.replica.Assign(c.number, c.name, c.identity, c.breaker, c.throttle)
	}
	a.state.quotas.Configure(consumers(cfg))
	a.begin(g)
	return nil
}

// endGeneration frees what only g used.
func (a *App) endGeneration(g *generation) {
	a.adopting.Lock()
	defer a.adopting.Unlock()
	a.slots.end(g.config, time.Now())
	serving := a.serving.Load()
	g.backends.closeAllBut(serving.backends)
	a.tokens.stop(g.backends.tokens, serving.backends.tokens)
}

// ServeHTTP serves a request on the present generation.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" && !strings.HasPrefix(r.URL.Path, "/health") {
		a.noteTraffic(time.Now())
	}
	g := a.acquire()
	defer g.release()
	g.handler.ServeHTTP(w, r)
}

// acquire returns the present generation, which does not end before release.
func (a *App) acquire() *generation {
	for {
		g := a.serving.Load()
		g.requests.Add(1)
		if a.serving.Load() == g {
			return g
		}
		g.release() // another has begun meanwhile, and this one may have ended
	}
}

func (g *generation) release() {
	if g.requests.Add(-1) == 0 && g.retired.Load() {
		g.finish()
	}
}

// retire is called once no new request begins on g.
func (g *generation) retire() {
	g.retired.Store(true)
	if g.requests.Load() == 0 {
		g.finish()
	}
}

// finish ends g in a goroutine of its own: whoever is last must not wait.
func (g *generation) finish() { g.ended.Do(func() { go g.end() }) }

// tokenRuns keeps the tokens of managed identities renewed. The zero tokenRuns is
// ready for use.
type tokenRuns struct {
	mu      sync.Mutex
	ctx     context.Context // nil = run was not called
	cancels map[*backend.Token]context.CancelFunc
	running sync.WaitGroup
}

// run renews the tokens until ctx is done.
func (r *tokenRuns) run(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	waiting := r.cancels
	r.cancels = nil
	r.mu.Unlock()
	for t := range waiting {
		r.startOne(t)
	}
	<-ctx.Done()
	r.running.Wait()
}

func (r *tokenRuns) start(tokens map[string]*backend.Token) {
	for _, t := range tokens {
		r.startOne(t)
	}
}

func (r *tokenRuns) startOne(t *backend.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancels == nil {
		r.cancels = map[*backend.Token]context.CancelFunc{}
	}
	if r.cancels[t] != nil {
		return
	}
	r.cancels[t] = func() {}
	if r.ctx != nil && r.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(r.ctx)
		r.cancels[t] = cancel
		r.running.Go(func() { t.Run(ctx) })
	}
}

// stop ends the renewal of those that are not kept.
func (r *tokenRuns) stop(tokens, kept map[string]*backend.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range tokens {
		if cancel := r.cancels[t]; kept[id] != t && cancel != nil {
			cancel()
			delete(r.cancels, t)
		}
	}
}
