// Package quota enforces the limits of consumers over all instances: it leases
// parts of each limit from the table, lets requests spend them, and books what was
// used. Package lease has the arithmetic; this package adds the table, the clock
// and random numbers. How limits hold, within which bounds, and what happens
// without the table: docs/quotas.md.
package quota

import (
	"context"
	cryptorand "crypto/rand"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// Config is the configuration of a Limiter. Store and Consumers are required.
type Config struct {
	Store        tablestore.Store
	Consumers    []*consumer.Consumer
	Refresh      time.Duration // the age at which a row is read again; 0 = 500 ms
	MaxTableWait time.Duration // longest wait of a request for the table; 0 = 1.5 s

	// CountInstances counts the instances that run, in the table. One instance
	// calls it for all, every 15 to 30 s while there is traffic; nil = the
	// instances that write the rows are counted.
	CountInstances func(ctx context.Context) (int, error)
	MaxInstances   int             // the most that the app may scale out to; the same on all instances; 0 = 50
	Warnings       Warnings        // who is warned of what is left of months
	OnError        func(err error) // called with the first error of a series; nil = not called

	Now  func() time.Time // nil = time.Now
	Rand func() float64   // in [0,1); nil = math/rand/v2
}

// Limiter is the quotas of all consumers on this instance. It is safe for
// concurrent use.
type Limiter struct {
	cfg       Config
	id        string // in nonces: new at every start, so that a restarted instance is another writer
	clock     tableClock
	feed      *ChangeFeed
	current   atomic.Pointer[configuration]
	callerKey callerKey
	instances instanceCount

	ctx     context.Context // ends the goroutines of the limits
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// configuration is the consumers with their limits. It is immutable.
type configuration struct {
	consumers []*consumer.Consumer
	limits    map[string]*consumerLimits // by name; none = nothing is limited
}

// Consumers are the consumers as last configured.
func (l *Limiter) Consumers() []*consumer.Consumer { return l.current.Load().consumers }

// limitsFor are the limits of the consumer; nil = nothing is limited.
func (l *Limiter) limitsFor(consumerName string) *consumerLimits {
	return l.current.Load().limits[consumerName]
}

// consumerLimits is a consumer's limits.
type consumerLimits struct {
	all         []*limitState            // over all models
	callers     *callers                 // nil = callers have no limits of their own
	byModel     map[string][]*limitState // of one model
	concurrency *concurrencyLimit
}

// New returns a Limiter, which does not use the table yet.
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
	l := &Limiter{cfg: cfg, id: strings.ToLower(cryptorand.Text()[:8])}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.instances.count, l.instances.jitter = cfg.CountInstances, cfg.Rand()
	l.feed = &ChangeFeed{
		Store: cfg.Store, Refresh: cfg.Refresh, Now: cfg.Now, Rand: cfg.Rand,
		OnReply: func(r tablestore.Response, sent, got time.Time) { l.clock.sample(r.Date, sent, got) },
	}
	l.current.Store(new(configuration))
	l.configure(cfg.Consumers, l.id)
	l.feed.Subscribe(l.observeFeed)
	return l
}

// Configure replaces the consumers. Limits that stay as they were go on with what is
// leased and spent; of the others the lease is returned. Requests under way settle
// with the limits that they began with.
func (l *Limiter) Configure(consumers []*consumer.Consumer) {
	before := l.current.Load()
	l.configure(consumers, strings.ToLower(cryptorand.Text()[:8])) // another writer than the old limits, which may still settle
	kept := map[*limitState]bool{}
	for _, b := range l.current.Load().limits {
		for e := range b.entries() {
			kept[e] = true
		}
		for _, e := range b.callers.all() {
			kept[e] = true
		}
	}
	for _, b := range before.limits {
		for _, e := range slices.AppendSeq(b.callers.all(), b.entries()) {
			if !kept[e] {
				l.retire(e)
			}
		}
	}
}

// retire returns the lease of a limit that no new request uses.
func (l *Limiter) retire(e *limitState) {
	e.mu.Lock()
	e.account.Retire(l.moment(e.period))
	e.mu.Unlock()
	l.wake(e)
}

// configure makes the limits of the consumers, of which the new ones write as id.
func (l *Limiter) configure(consumers []*consumer.Consumer, id string) {
	before := l.current.Load()
	next := &configuration{consumers: consumers, limits: map[string]*consumerLimits{}}
	columns := len([]string{"keys", instancesColumn})
	for _, c := range consumers {
		b := l.consumerLimits(c, before.limits[c.Name], id)
		columns += b.columns()
		if b.columns() > 0 || c.Concurrency > 0 || b.callers != nil {
			next.limits[c.Name] = b
		}
	}
	l.feed.rowCount.Store(int64(columns+columnsPerRow-1) / columnsPerRow)
	l.current.Store(next)
}

// consumerLimits are the limits of a consumer, those among them that were so before.
func (l *Limiter) consumerLimits(c *consumer.Consumer, before *consumerLimits, id string) *consumerLimits {
	b := &consumerLimits{byModel: map[string][]*limitState{}, callers: newCallers(c), concurrency: new(concurrencyLimit)}
	known := map[limit]*limitState{}
	if before != nil {
		b.concurrency = before.concurrency
		if b.callers.equal(before.callers) {
			b.callers = before.callers
		}
		for e := range before.entries() {
			known[e.limit] = e
		}
	}
	state := func(lim limit) *limitState {
		if e := known[lim]; e != nil {
			return e
		}
		return l.newLimitState(c.Name, lim, lim.shards(l.cfg.MaxInstances), id)
	}
	whole := consumer.Limits{
		TokensPerMinute: c.TokensPerMinute, RequestsPerMinute: c.RequestsPerMinute,
		TokensPerMonth: c.TokensPerMonth, BudgetPerMonth: c.BudgetPerMonth,
	}
	for _, lim := range limitsOf(whole, "") {
		b.all = append(b.all, state(lim))
	}
	for model, limits := range c.PerModel {
		for _, lim := range limitsOf(limits, model) {
			b.byModel[model] = append(b.byModel[model], state(lim))
		}
	}
	return b
}

// columns is how many columns the limits have in the feed.
func (b *consumerLimits) columns() (n int) {
	for e := range b.entries() {
		n += len(e.columns)
	}
	return n
}

func (l *Limiter) newLimitState(consumerName string, lim limit, shards int, id string) *limitState {
	e := &limitState{
		limit: lim, consumer: consumerName, partition: "q|" + tablestore.EncodeKey(consumerName),
		waiting: map[int]chan decision{}, wakeup: make(chan struct{}, 1),
		account: lease.Account{
			Config: lease.LimitConfig{Limit: lim.amount, Period: lim.period, Shards: shards, Refresh: l.cfg.Refresh, Ceiling: lim.ceiling},
			ID:     id, Jitter: l.cfg.Rand(),
		},
	}
	for shard := range shards {
		e.columns = append(e.columns, feedColumn(consumerName, lim, shard))
	}
	return e
}

// Feed is the change feed, to which others may add before Run.
func (l *Limiter) Feed() *ChangeFeed { return l.feed }

// Run reads the feed until ctx is done. Then it returns what the instance has
// leased and not spent, and ends when all its goroutines have ended.
func (l *Limiter) Run(ctx context.Context) {
	l.running.Go(func() { l.warn(ctx) })
	l.feed.Run(ctx)
	l.cancel()
	l.running.Wait()
	l.releaseAll()
}

func (l *Limiter) now() time.Time { return l.cfg.Now() }

// moments is one instant, for the accounts of each period. A step of a request takes
// it once for all limits: it costs more than what is decided by it.
type moments [lease.Month + 1]lease.Moment

// moments is now.
func (l *Limiter) moments() (of moments) {
	now := l.now()
	earliest, latest, known := l.clock.bounds(now)
	instances, cold := int(l.instances.instances.Load()), l.instances.cold(now)
	for i := range of {
		p := lease.Period(i)
		window := p.Index(earliest)
		of[p] = lease.Moment{
			At: now, Window: window, LatestWindow: p.Index(latest), WindowAge: earliest.Sub(p.Begins(window)),
			Estimated: !known, Instances: instances, Cold: cold,
		}
	}
	return of
}

// moment is now, for accounts of this period.
func (l *Limiter) moment(p lease.Period) lease.Moment { return l.moments()[p] }

// observeFeed passes the feed to the limits.
func (l *Limiter) observeFeed(columns map[string]string, started time.Time) {
	if l.instances.observe(columns[instancesColumn], started) && l.ctx.Err() == nil {
		l.running.Go(func() { l.instances.recount(l.ctx, l) })
	}
	now := l.moments()
	for _, b := range l.current.Load().limits {
		for e := range b.entries() {
			m := now[e.period]
			e.observe(columns, started, m)
			l.wakeAt(e, m)
		}
	}
}

// entries iterates over all limits.
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
