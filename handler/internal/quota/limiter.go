package quota

import (
	"context"
	cryptorand "crypto/rand"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// Config is what a ledger needs. Store and Consumers are required.
type Config struct {
	Store        tablestore.Store
	Consumers    []*consumer.Consumer
	Refresh      time.Duration // how old knowledge may be; 0 = 500 ms
	MaxTableWait time.Duration // the longest that a request waits for the table; 0 = 1.5 s

	// CountInstances counts the instances that run, by asking the table: one instance
	// does so for all, every 15 to 30 s while there is traffic; nil = as many are
	// taken to run as write the rows.
	CountInstances func(ctx context.Context) (int, error)
	MaxInstances   int             // how far the app may scale out; the same on all instances; 0 = 50
	OnError        func(err error) // told when a row cannot be kept, once per occasion; nil = nobody

	Now  func() time.Time // nil = time.Now
	Rand func() float64   // in [0,1); nil = math/rand
}

// Limiter keeps the quotas. It is safe for concurrent use.
type Limiter struct {
	cfg       Config
	id        string // in nonces: new at every start, so that a restarted instance is another one
	clock     tableClock
	feed      *ChangeFeed
	consumers map[string]*consumerLimits // by consumer
	instances instanceCount

	ctx     context.Context //nolint:containedctx // the life of the tending goroutines, which Run ends
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// consumerLimits is a consumer's limits.
type consumerLimits struct {
	all         []*limitState            // over all models
	byModel     map[string][]*limitState // of one model
	concurrency concurrencyLimit
}

// New opens the books. Nothing is asked of the table yet.
func New(cfg Config) *Limiter {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.MaxTableWait <= 0 {
		cfg.MaxTableWait = 3 * timeout
	}
	if cfg.MaxInstances <= 0 {
		cfg.MaxInstances = writersPerShard
	}
	l := &Limiter{cfg: cfg, id: strings.ToLower(cryptorand.Text()[:8]), consumers: map[string]*consumerLimits{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	columns := len([]string{"keys", instancesColumn})
	for _, c := range cfg.Consumers {
		columns += l.addConsumer(c)
	}
	l.instances.count, l.instances.jitter = cfg.CountInstances, cfg.Rand()
	l.feed = &ChangeFeed{
		Store: cfg.Store, Refresh: cfg.Refresh, Now: cfg.Now, Rand: cfg.Rand,
		Rows:    (columns + columnsPerRow - 1) / columnsPerRow,
		OnRead:  []func(map[string]string, time.Time){l.observeFeed},
		OnReply: func(r tablestore.Response, sent, got time.Time) { l.clock.sample(r.Date, sent, got) },
	}
	return l
}

// addConsumer opens a consumer's book and returns how many columns it has on the board.
func (l *Limiter) addConsumer(c *consumer.Consumer) int {
	b := &consumerLimits{byModel: map[string][]*limitState{}}
	columns := 0
	add := func(lim limit) *limitState {
		e := l.newLimitState(c.Name, lim)
		columns += len(e.columns)
		return e
	}
	whole := consumer.Limits{
		TokensPerMinute: c.TokensPerMinute, RequestsPerMinute: c.RequestsPerMinute,
		TokensPerMonth: c.TokensPerMonth, BudgetPerMonth: c.BudgetPerMonth,
	}
	for _, lim := range limitsOf(whole, "") {
		b.all = append(b.all, add(lim))
	}
	for model, limits := range c.PerModel {
		for _, lim := range limitsOf(limits, model) {
			b.byModel[model] = append(b.byModel[model], add(lim))
		}
	}
	if columns > 0 || c.Concurrency > 0 { // else there is nothing to keep a book of
		l.consumers[c.Name] = b
	}
	return columns
}

func (l *Limiter) newLimitState(who string, lim limit) *limitState {
	shards := lim.shards(l.cfg.MaxInstances)
	e := &limitState{
		limit: lim, consumer: who, partition: "q|" + tablestore.EncodeKey(who),
		waiting: map[int]chan decision{}, wakeup: make(chan struct{}, 1),
		account: lease.Account{
			Config: lease.LimitConfig{Limit: lim.amount, Period: lim.period, Shards: shards, Refresh: l.cfg.Refresh},
			ID:     l.id, Jitter: l.cfg.Rand(),
		},
	}
	for shard := range shards {
		e.columns = append(e.columns, feedColumn(who, lim, shard))
	}
	return e
}

// Feed is the notice board, for others to hang notices on before Run.
func (l *Limiter) Feed() *ChangeFeed { return l.feed }

// Run follows the board until ctx is done. Then it gives back what the instance
// holds and does not need, and returns when all its goroutines have ended.
func (l *Limiter) Run(ctx context.Context) {
	l.feed.Run(ctx)
	l.cancel()
	l.running.Wait()
	l.releaseAll()
}

func (l *Limiter) now() time.Time { return l.cfg.Now() }

// moment is now, for accounts of this period.
func (l *Limiter) moment(p lease.Period) lease.Moment {
	now := l.now()
	earliest, latest, known := l.clock.bounds(now)
	m := lease.Moment{At: now, Window: p.Index(earliest), LatestWindow: p.Index(latest), Estimated: !known}
	m.WindowAge = earliest.Sub(p.Begins(m.Window))
	m.Instances = int(l.instances.instances.Load())
	return m
}

// observeFeed passes on what the board said to the limits in use.
func (l *Limiter) observeFeed(columns map[string]string, asked time.Time) {
	if l.instances.observe(columns[instancesColumn], asked) && l.ctx.Err() == nil {
		l.running.Go(func() { l.instances.recount(l.ctx, l) })
	}
	for _, b := range l.consumers {
		for e := range b.entries() {
			e.observe(columns, asked, l.moment(e.period))
			l.wake(e)
		}
	}
}

// entries goes through all limits of the book.
func (b *consumerLimits) entries() func(yield func(*limitState) bool) {
	return func(yield func(*limitState) bool) {
		for _, e := range b.all {
			if !yield(e) {
				return
			}
		}
		for _, of := range b.byModel {
			for _, e := range of {
				if !yield(e) {
					return
				}
			}
		}
	}
}
