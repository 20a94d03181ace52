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
	Store     tablestore.Store
	Consumers []*consumer.Consumer
	Refresh   time.Duration // how old knowledge may be; 0 = 500 ms
	Patience  time.Duration // the longest that a request waits for the table; 0 = 1.5 s

	// Count counts the instances that run, by asking the table: one instance
	// does so for all, every 15 to 30 s while there is traffic; nil = as many are
	// taken to run as write the rows.
	Count         func(ctx context.Context) (int, error)
	MostInstances int             // how far the app may scale out; the same on all instances; 0 = 50
	Trouble       func(err error) // told when a row cannot be kept, once per occasion; nil = nobody

	Now    func() time.Time // nil = time.Now
	Chance func() float64   // in [0,1); nil = math/rand
}

// Ledger keeps the quotas. It is safe for concurrent use.
type Ledger struct {
	cfg   Config
	id    string // in nonces: new at every start, so that a restarted instance is another one
	clock clock
	board *Board
	books map[string]*book // by consumer
	fleet census

	life    context.Context //nolint:containedctx // the life of the tending goroutines, which Run ends
	end     context.CancelFunc
	running sync.WaitGroup
}

// book is a consumer's limits.
type book struct {
	all     []*entry            // over all models
	byModel map[string][]*entry // of one model
	gate    gate
}

// New opens the books. Nothing is asked of the table yet.
func New(cfg Config) *Ledger {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Chance == nil {
		cfg.Chance = rand.Float64
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 3 * timeout
	}
	if cfg.MostInstances <= 0 {
		cfg.MostInstances = perShard
	}
	l := &Ledger{cfg: cfg, id: strings.ToLower(cryptorand.Text()[:8]), books: map[string]*book{}}
	l.life, l.end = context.WithCancel(context.Background())
	columns := len([]string{"keys", censusColumn})
	for _, c := range cfg.Consumers {
		columns += l.open(c)
	}
	l.fleet.count, l.fleet.luck = cfg.Count, cfg.Chance()
	l.board = &Board{
		Store: cfg.Store, Refresh: cfg.Refresh, Now: cfg.Now, Chance: cfg.Chance,
		Rows:     (columns + columnsPerRow - 1) / columnsPerRow,
		Heard:    []func(map[string]string, time.Time){l.hear},
		Exchange: func(r tablestore.Reply, sent, got time.Time) { l.clock.sample(r.Date, sent, got) },
	}
	return l
}

// open opens a consumer's book and returns how many columns it has on the board.
func (l *Ledger) open(c *consumer.Consumer) int {
	b := &book{byModel: map[string][]*entry{}}
	columns := 0
	add := func(lim limit) *entry {
		e := l.entry(c.Name, lim)
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
		l.books[c.Name] = b
	}
	return columns
}

func (l *Ledger) entry(who string, lim limit) *entry {
	shards := lim.shards(l.cfg.MostInstances)
	e := &entry{
		limit: lim, who: who, partition: "q|" + tablestore.RowKey(who),
		waiting: map[int]chan decided{}, kicked: make(chan struct{}, 1),
		account: lease.Account{
			Terms: lease.Terms{Limit: lim.amount, Period: lim.period, Shards: shards, Refresh: l.cfg.Refresh},
			ID:    l.id, Luck: l.cfg.Chance(),
		},
	}
	for shard := range shards {
		e.columns = append(e.columns, column(who, lim, shard))
	}
	return e
}

// Board is the notice board, for others to hang notices on before Run.
func (l *Ledger) Board() *Board { return l.board }

// Run follows the board until ctx is done. Then it gives back what the instance
// holds and does not need, and returns when all its goroutines have ended.
func (l *Ledger) Run(ctx context.Context) {
	l.board.Run(ctx)
	l.end()
	l.running.Wait()
	l.returnAll()
}

func (l *Ledger) now() time.Time { return l.cfg.Now() }

// moment is now, for accounts of this period.
func (l *Ledger) moment(p lease.Period) lease.Moment {
	now := l.now()
	earliest, latest, known := l.clock.span(now)
	m := lease.Moment{At: now, Window: p.Index(earliest), Latest: p.Index(latest), Guess: !known}
	m.Age = earliest.Sub(p.Begins(m.Window))
	m.Fleet = int(l.fleet.fleet.Load())
	return m
}

// hear passes on what the board said to the limits in use.
func (l *Ledger) hear(columns map[string]string, asked time.Time) {
	if l.fleet.hear(columns[censusColumn], asked) && l.life.Err() == nil {
		l.running.Go(func() { l.fleet.take(l.life, l) })
	}
	for _, b := range l.books {
		for e := range b.entries() {
			e.hear(columns, asked, l.moment(e.period))
			l.stir(e)
		}
	}
}

// entries goes through all limits of the book.
func (b *book) entries() func(yield func(*entry) bool) {
	return func(yield func(*entry) bool) {
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
