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
	Store    tablestore.Store
	Instance string        // for people
	Boot     string        // tells this process from every other one: random; needed when the store is shared
	Every    time.Duration // how often what is new is written; 0 = 30 s
	Timeout  time.Duration // of one exchange with the table; 0 = 5 s
	Trouble  func(error)   // told when writing begins to fail; nil = nobody is
}

// Book adds up what this process sees used, and writes it down beside the
// requests. It is safe for concurrent use.
type Book struct {
	cfg    Config
	writer string // of the rows

	mu    sync.Mutex // guards what follows; never held across an exchange
	hours map[time.Time]*page
	pages int // that were begun

	writing  sync.Mutex // held by whoever flushes
	troubled bool
}

// page is one hour.
type page struct {
	number  int // in this process: a clock that is set back begins a page of its own
	index   map[Key]*entry
	entries []*entry // in the order of their places
	rows    []rowState
}

// entry is one combination, at its place for good.
type entry struct {
	key Key
	sum Sum
	row int
}

// rowState is what is known of a row in the table.
type rowState struct {
	version tablestore.Version // that this process wrote last
	unknown bool               // the last write had no answer: look before the next
	dirty   bool               // the table does not have the latest
}

// New is a book that has nothing in it.
func New(cfg Config) *Book {
	cfg.Every = cmp.Or(cfg.Every, 30*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	sum := sha256.Sum256([]byte(cfg.Instance + "\x00" + cfg.Boot))
	return &Book{cfg: cfg, writer: hex.EncodeToString(sum[:12]), hours: map[time.Time]*page{}}
}

// Add books what a request used that ended at the instant. It waits for nobody.
func (b *Book) Add(at time.Time, k Key, s Sum) {
	hour := hourOf(at)
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.hours[hour]
	if p == nil {
		b.pages++
		p = &page{number: b.pages, index: map[Key]*entry{}}
		b.hours[hour] = p
	}
	e := p.index[k]
	if e == nil {
		e = p.place(k)
	}
	e.sum = e.sum.Add(s)
	p.rows[e.row].dirty = true
}

// place gives a new combination its place.
func (p *page) place(k Key) *entry {
	e := &entry{key: k, row: len(p.entries) / perRow}
	p.index[k] = e
	p.entries = append(p.entries, e)
	if e.row == len(p.rows) {
		p.rows = append(p.rows, rowState{})
	}
	return e
}

// Run writes what is new until ctx is done, and then once more.
func (b *Book) Run(ctx context.Context) {
	tick := time.NewTicker(b.cfg.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			b.note(b.Flush(ctx))
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	b.note(b.Flush(last))
}

// farewell is how long the last flush may take.
const farewell = 5 * time.Second

// note tells of the first failure of a series.
func (b *Book) note(err error) {
	b.writing.Lock()
	was := b.troubled
	b.troubled = err != nil
	b.writing.Unlock()
	if err != nil && !was && b.cfg.Trouble != nil {
		b.cfg.Trouble(err)
	}
}
