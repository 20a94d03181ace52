package accounting

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"spillway/handler/internal/tablestore"
)

// Config is what a Book is made of. Store is needed; the zero value of any other
// field is its default.
type Config struct {
	Store         tablestore.Store
	Instance      string        // for people
	BootID        string        // tells this process from every other one: random; needed when the store is shared
	FlushInterval time.Duration // how often what is new is written; 0 = 30 s
	Timeout       time.Duration // of one exchange with the table; 0 = 5 s
	OnError       func(error)   // told when writing begins to fail; nil = nobody is
}

// Recorder adds up what this process sees used, and writes it down beside the
// requests. It is safe for concurrent use.
type Recorder struct {
	cfg    Config
	writer string // of the rows

	mu        sync.Mutex // guards what follows; never held across an exchange
	hours     map[time.Time]*hourUsage
	hourCount int // that were begun

	writing sync.Mutex // held by whoever flushes
	failing bool
}

// hourUsage is one hour.
type hourUsage struct {
	number  int // in this process: a clock that is set back begins a page of its own
	index   map[Key]*entry
	entries []*entry // in the order of their places
	rows    []rowState
}

// entry is one combination, at its place for good.
type entry struct {
	key    Key
	totals Totals
	row    int
}

// rowState is what is known of a row in the table.
type rowState struct {
	version tablestore.Version // that this process wrote last
	unknown bool               // the last write had no answer: look before the next
	dirty   bool               // the table does not have the latest
}

// New is a book that has nothing in it.
func New(cfg Config) *Recorder {
	cfg.FlushInterval = cmp.Or(cfg.FlushInterval, 30*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	sum := sha256.Sum256([]byte(cfg.Instance + "\x00" + cfg.BootID))
	return &Recorder{cfg: cfg, writer: hex.EncodeToString(sum[:12]), hours: map[time.Time]*hourUsage{}}
}

// Add books what a request used that ended at the instant. It waits for nobody.
func (b *Recorder) Add(at time.Time, k Key, s Totals) {
	hour := hourOf(at)
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.hours[hour]
	if p == nil {
		b.hourCount++
		p = &hourUsage{number: b.hourCount, index: map[Key]*entry{}}
		b.hours[hour] = p
	}
	e := p.index[k]
	if e == nil {
		e = p.addEntry(k)
	}
	e.totals = e.totals.Add(s)
	p.rows[e.row].dirty = true
}

// addEntry gives a new combination its addEntry.
func (p *hourUsage) addEntry(k Key) *entry {
	e := &entry{key: k, row: len(p.entries) / perRow}
	p.index[k] = e
	p.entries = append(p.entries, e)
	if e.row == len(p.rows) {
		p.rows = append(p.rows, rowState{})
	}
	return e
}

// Run writes what is new until ctx is done, and then once more.
func (b *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(b.cfg.FlushInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			b.reportError(b.Flush(ctx))
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	b.reportError(b.Flush(last))
}

// shutdownTimeout is how long the last flush may take.
const shutdownTimeout = 5 * time.Second

// reportError tells of the first failure of a series.
func (b *Recorder) reportError(err error) {
	b.writing.Lock()
	was := b.failing
	b.failing = err != nil
	b.writing.Unlock()
	if err != nil && !was && b.cfg.OnError != nil {
		b.cfg.OnError(err)
	}
}
