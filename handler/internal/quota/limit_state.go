package quota

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/quota/lease"
)

// limitState is one limit of one consumer in use: its account, the requests that wait for
// it, and its goroutine.
type limitState struct {
	limit
	warnState
	consumer  string
	partition string
	caller    string   // "" = of the whole consumer
	columns   []string // of its shards, in the feed; none = it is not in the feed

	mu         sync.Mutex
	account    lease.Account
	waiting    map[int]chan decision
	running    bool      // a goroutine makes its exchanges
	exchanging bool      // an exchange is in flight
	sleepUntil time.Time // the goroutine sleeps until then; zero = until wakeup
	wakeup     chan struct{}
	failing    bool  // its last exchange failed
	inUse      int   // reservations that have not ended, of a caller's limit
	usedUp     int64 // the window in which it last had less left than a request needs
	shortfall  int64 // how much less than they can use the requests under way have reserved
}

// warnState is what is known of a limit's warnings; one goroutine uses it.
type warnState struct {
	warned    warnedMark
	warnFor   float64   // the mark of which the table was asked last
	warnAgain time.Time // it is not asked of this mark before
}

// decision is the decision of a request that waited.
type decision struct {
	decision lease.Decision
	window   int64
}

// maxAmount is the largest request that can fit into the limit.
func (e *limitState) maxAmount() int64 { return e.account.Config.Largest() }

// reserve spends n units if it can. With lease.Pending the channel delivers the
// decision, and the ticket ends the wait. When the table is failing and has not answered
// for this limit lately, it is decided without.
func (e *limitState) reserve(n int64, failing bool, m lease.Moment) (d decision, ticket int, decided chan decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if failing {
		e.account.AssumeUnreachable()
	}
	d.decision, ticket = e.account.Reserve(n, m)
	d.window = e.account.Window()
	if d.decision == lease.Pending {
		decided = make(chan decision, 1)
		e.waiting[ticket] = decided
	}
	return d, ticket, decided
}

// settle replaces what was reserved by what was used.
func (e *limitState) settle(window, reserved, used int64, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account.Settle(window, reserved, used, m)
	e.deliverDecisions(m)
}

// giveBack returns credit to the table at once, where others may need it.
func (e *limitState) giveBack(window, n int64, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account.GiveBack(window, n, m)
}

// resize changes what a request under way has reserved.
func (e *limitState) resize(window, from, to int64, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account.Resize(window, from, to, m)
}

// endShortfall ends what addShortfall counted.
func (e *limitState) endShortfall(n int64) {
	if n > 0 {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.shortfall -= n
	}
}

// currentWindow is the window that requests are charged to now.
func (e *limitState) currentWindow(l *Limiter) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account.Roll(l.moment(e.period))
	return e.account.Window()
}

// stopWaiting ends a wait: with expire by what the account decides now, or by
// the decision that came at the same moment.
func (e *limitState) stopWaiting(ticket int, decided chan decision, m lease.Moment, expire bool) decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case d := <-decided:
		return d
	default:
	}
	delete(e.waiting, ticket)
	if expire {
		return decision{e.account.Expire(ticket, m), e.account.Window()}
	}
	e.account.Withdraw(ticket)
	return decision{decision: lease.Denied}
}

// deliverDecisions passes decisions to the requests that wait. The caller holds
// mu.
func (e *limitState) deliverDecisions(m lease.Moment) {
	for _, s := range e.account.Resolve(m) {
		if decided, ok := e.waiting[s.Ticket]; ok {
			delete(e.waiting, s.Ticket)
			decided <- decision{s.Decision, e.account.Window()}
		}
	}
}

// feedEntry is a limit's entry in the change feed.
type feedEntry struct {
	Window int64 `json:"w"`
	Left   int64 `json:"l"`
}

// observe takes over what the feed holds for the limit.
func (e *limitState) observe(columns map[string]string, started time.Time, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n feedEntry
	text, listed := columns[e.columns[e.account.Shard()]]
	if listed && json.Unmarshal([]byte(text), &n) != nil {
		return
	}
	e.account.ObserveFeed(listed, n.Window, n.Left, m, started)
	e.deliverDecisions(m)
}

// concurrencyLimit counts a consumer's requests under way on this instance
// (docs/quotas.md#limits).
type concurrencyLimit struct{ inFlight atomic.Int64 }

// acquire counts a request, or returns false when as many as the limit are
// under way; a limit of 0 is none. release must be called once.
func (c *concurrencyLimit) acquire(limit int) (release func(), ok bool) {
	if limit <= 0 {
		return func() {}, true
	}
	if c.inFlight.Add(1) > int64(limit) {
		c.inFlight.Add(-1)
		return nil, false
	}
	return func() { c.inFlight.Add(-1) }, true
}
