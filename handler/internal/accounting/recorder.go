// Package accounting records usage: tokens and cost by hour, consumer, model and
// backend, in a table that outlives every instance.
//
// # Guarantees
//
// Each process writes rows of its own, one an hour (more than a thousand
// combinations of consumer, model and backend take further rows), and no other
// process writes them. A row holds the totals of its hour so far, so that writing
// it again changes nothing. Each write is a swap against the version that this
// process wrote last, so that one whose answer was lost, and which lands late,
// cannot undo a later one.
//
// A process that stops in good order loses nothing. One that is killed loses what
// was used since its last flush: at most [Config.FlushInterval] and the time of
// one exchange with the table, and while the table is out of reach, what was used
// since then. Nothing is counted twice.
//
// What is counted is what the backends reported, and for what they did not (a
// stream that broke before its usage, a request that its caller abandoned, an
// answer that is not JSON) an estimate, whose part is recorded too
// (docs/quotas.md#limits).
//
// Hours are UTC, by the clock of the instance that served, and by the end of the
// request.
package accounting

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"sync"
	"time"

	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore"
)

// Config is the configuration of a Recorder. Store is required; the zero value
// of any other field is its default.
type Config struct {
	Store         tablestore.Store
	Instance      string        // for operators who read the table
	BootID        string        // random, different in every process; required when the store is shared
	FlushInterval time.Duration // 0 = 30 s
	Timeout       time.Duration // of one exchange with the table; 0 = 5 s
}

// Recorder adds up what this process served, and writes it to the table in the
// background. It is safe for concurrent use.
type Recorder struct {
	cfg    Config
	writer string // in the keys of its rows

	mu        sync.Mutex // guards the two fields below; never held across an exchange
	hours     map[time.Time]*hourUsage
	hourCount int // hours that were begun, which number them

	writing sync.Mutex // held while flushing
	lastErr error      // of the last flush
}

// hourUsage is the usage of one hour.
type hourUsage struct {
	number  int // in this process: after a clock is set back, an hour may be begun again
	index   map[Key]*entry
	entries []*entry // in the order of their addition
	rows    []rowState
}

// entry is one combination. Its row never changes.
type entry struct {
	key       Key
	totals    Totals
	withdrawn Totals // of what this or another process added
	row       int
}

// rowState is what is known of a row in the table.
type rowState struct {
	version tablestore.Version // that this process wrote last
	unknown bool               // the last write had no answer: read before the next
	dirty   bool               // the table does not have the latest
}

// New returns an empty Recorder.
func New(cfg Config) *Recorder {
	cfg.FlushInterval = cmp.Or(cfg.FlushInterval, 30*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	sum := sha256.Sum256([]byte(cfg.Instance + "\x00" + cfg.BootID))
	return &Recorder{cfg: cfg, writer: hex.EncodeToString(sum[:12]), hours: map[time.Time]*hourUsage{}}
}

// Add adds the usage of a request that ended at the instant. It does not block.
func (r *Recorder) Add(at time.Time, k Key, s Totals) {
	r.change(at, k, func(e *entry) { e.totals = e.totals.Add(s) })
}

// Withdraw takes back what was added for a request that ended at the instant, by this
// process or another one: an estimate, once the usage is known.
func (r *Recorder) Withdraw(at time.Time, k Key, s Totals) {
	r.change(at, k, func(e *entry) { e.withdrawn = e.withdrawn.Add(s) })
}

func (r *Recorder) change(at time.Time, k Key, change func(e *entry)) {
	hour := hourOf(at)
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hours[hour]
	if h == nil {
		r.hourCount++
		h = &hourUsage{number: r.hourCount, index: map[Key]*entry{}}
		r.hours[hour] = h
	}
	e := h.index[k]
	if e == nil {
		e = h.addEntry(k)
	}
	change(e)
	h.rows[e.row].dirty = true
}

// addEntry adds a combination.
func (h *hourUsage) addEntry(k Key) *entry {
	e := &entry{key: k, row: len(h.entries) / perRow}
	h.index[k] = e
	h.entries = append(h.entries, e)
	if e.row == len(h.rows) {
		h.rows = append(h.rows, rowState{})
	}
	return e
}

// Run writes what is new at every interval until ctx is done, and then once
// more.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(r.cfg.FlushInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			r.keepError(r.Flush(ctx))
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	r.keepError(r.Flush(last))
}

// shutdownTimeout bounds the last flush.
const shutdownTimeout = 5 * time.Second

// keepError keeps the error of the last flush.
func (r *Recorder) keepError(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
}

// Err is why usage is not written to the table; nil = it is.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastErr
}

// Key is whose usage it is, and of what.
type Key struct {
	Consumer string // "" = not known
	Caller   string // of a consumer with limits per caller: a keyed hash, as in the rows of its limits; "" = not kept apart
	Model    string // that served
	Backend  string // that served
	Currency string // of the cost; "" = there is no price
	Tier     string // the service tier that served, as the backend names it; "" = not told
}

// Totals is what was used. The zero Totals is nothing.
type Totals struct {
	Requests  int64 // that were served
	Unmetered int64 // of them, those whose usage is an estimate
	Broken    int64 // of them, those whose answer broke off
	Tokens    usage.Tokens
	Cost      Money

	Estimated     usage.Tokens // of Tokens, those that no backend reported
	EstimatedCost Money        // of Cost, what they cost
}

// Add returns the sum of both.
func (s Totals) Add(o Totals) Totals {
	return Totals{
		Requests: s.Requests + o.Requests, Unmetered: s.Unmetered + o.Unmetered, Broken: s.Broken + o.Broken,
		Tokens: s.Tokens.Add(o.Tokens), Cost: s.Cost + o.Cost,
		Estimated: s.Estimated.Add(o.Estimated), EstimatedCost: s.EstimatedCost + o.EstimatedCost,
	}
}

// minus is what is left without o. It may be less than nothing: then the rest is in
// another row.
func (s Totals) minus(o Totals) Totals {
	return Totals{
		Requests: s.Requests - o.Requests, Unmetered: s.Unmetered - o.Unmetered, Broken: s.Broken - o.Broken,
		Tokens: s.Tokens.Minus(o.Tokens), Cost: s.Cost - o.Cost,
		Estimated: s.Estimated.Minus(o.Estimated), EstimatedCost: s.EstimatedCost - o.EstimatedCost,
	}
}

// Money is a billionth of a unit of its currency, so that sums are exact
// whatever the order.
type Money int64

// MoneyOf rounds an amount to the nearest billionth.
func MoneyOf(amount float64) Money { return Money(math.Round(amount * 1e9)) }

// Amount is the money in units of its currency.
func (m Money) Amount() float64 { return float64(m) / 1e9 }

// Row is what was used in one hour, or over a longer time when several were
// summed. A field that was summed over has its zero value.
type Row struct {
	Hour time.Time // its beginning, UTC
	Key
	Totals
}

// hourOf is the beginning of the instant's hour.
func hourOf(at time.Time) time.Time { return at.UTC().Truncate(time.Hour) }
