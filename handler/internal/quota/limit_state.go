package quota

import (
	"encoding/json"
	"sync"
	"time"

	"spillway/handler/internal/quota/lease"
)

// limitState is one limit of one consumer at work: its account, who waits for it,
// and whether somebody tends it.
type limitState struct {
	limit
	consumer  string // the consumer
	partition string
	columns   []string // of its shards, on the board

	mu         sync.Mutex
	account    lease.Account
	waiting    map[int]chan decision
	running    bool      // a goroutine looks after it
	exchanging bool      // and is in an exchange with the table
	sleepUntil time.Time // or rests until then; zero = until it is kicked
	wakeup     chan struct{}
	failing    bool // its last exchange went wrong
}

// decision is what became of a request that waited.
type decision struct {
	decision lease.Decision
	window   int64
}

// maxAmount is the maxAmount request that the limit could ever have room for.
func (e *limitState) maxAmount() int64 { return e.account.Config.Largest() }

// reserve spends n units or tells why not. With quota.Ask the channel tells, and
// the ticket ends the waiting.
func (e *limitState) reserve(n int64, m lease.Moment) (d decision, ticket int, told chan decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d.decision, ticket = e.account.Reserve(n, m)
	d.window = e.account.Window()
	if d.decision == lease.Pending {
		told = make(chan decision, 1)
		e.waiting[ticket] = told
	}
	return d, ticket, told
}

// settle replaces what was reserved by what was used.
func (e *limitState) settle(window, reserved, used int64, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account.Settle(window, reserved, used, m)
	e.deliverDecisions(m)
}

// stopWaiting ends a waiting: by what the account says at last, or as the answer that
// came at the same moment.
func (e *limitState) stopWaiting(ticket int, told chan decision, m lease.Moment, last bool) decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case d := <-told:
		return d
	default:
	}
	delete(e.waiting, ticket)
	if last {
		return decision{e.account.Expire(ticket, m), e.account.Window()}
	}
	e.account.Withdraw(ticket)
	return decision{decision: lease.Denied}
}

// deliverDecisions tells those who wait what can be told. The caller holds mu.
func (e *limitState) deliverDecisions(m lease.Moment) {
	for _, s := range e.account.Resolve(m) {
		if told, ok := e.waiting[s.Ticket]; ok {
			delete(e.waiting, s.Ticket)
			told <- decision{s.Decision, e.account.Window()}
		}
	}
}

// feedEntry is a limit's column on the board.
type feedEntry struct {
	Window int64 `json:"w"`
	Left   int64 `json:"l"`
}

// observe takes in what the board said.
func (e *limitState) observe(columns map[string]string, asked time.Time, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n feedEntry
	text, listed := columns[e.columns[e.account.Shard()]]
	if listed && json.Unmarshal([]byte(text), &n) != nil {
		return
	}
	e.account.ObserveFeed(listed, n.Window, n.Left, m, asked)
	e.deliverDecisions(m)
}
