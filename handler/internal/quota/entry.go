package quota

import (
	"encoding/json"
	"sync"
	"time"

	"spillway/handler/internal/quota/lease"
)

// entry is one limit of one consumer at work: its account, who waits for it,
// and whether somebody tends it.
type entry struct {
	limit
	who       string // the consumer
	partition string
	columns   []string // of its shards, on the board

	mu       sync.Mutex
	account  lease.Account
	waiting  map[int]chan decided
	tended   bool      // a goroutine looks after it
	talking  bool      // and is in an exchange with the table
	rest     time.Time // or rests until then; zero = until it is kicked
	kicked   chan struct{}
	troubled bool // its last exchange went wrong
}

// decided is what became of a request that waited.
type decided struct {
	answer lease.Answer
	window int64
}

// largest is the largest request that the limit could ever have room for.
func (e *entry) largest() int64 { return e.account.Terms.Largest() }

// take spends n units or tells why not. With quota.Ask the channel tells, and
// the ticket ends the waiting.
func (e *entry) take(n int64, m lease.Moment) (d decided, ticket int, told chan decided) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d.answer, ticket = e.account.Take(n, m)
	d.window = e.account.Window()
	if d.answer == lease.Ask {
		told = make(chan decided, 1)
		e.waiting[ticket] = told
	}
	return d, ticket, told
}

// settle replaces what was reserved by what was used.
func (e *entry) settle(window, reserved, used int64, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account.Settle(window, reserved, used, m)
	e.deliver(m)
}

// giveUp ends a waiting: by what the account says at last, or as the answer that
// came at the same moment.
func (e *entry) giveUp(ticket int, told chan decided, m lease.Moment, last bool) decided {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case d := <-told:
		return d
	default:
	}
	delete(e.waiting, ticket)
	if last {
		return decided{e.account.Last(ticket, m), e.account.Window()}
	}
	e.account.Withdraw(ticket)
	return decided{answer: lease.No}
}

// deliver tells those who wait what can be told. The caller holds mu.
func (e *entry) deliver(m lease.Moment) {
	for _, s := range e.account.Serve(m) {
		if told, ok := e.waiting[s.Ticket]; ok {
			delete(e.waiting, s.Ticket)
			told <- decided{s.Answer, e.account.Window()}
		}
	}
}

// notice is a limit's column on the board.
type notice struct {
	Window int64 `json:"w"`
	Left   int64 `json:"l"`
}

// hear takes in what the board said.
func (e *entry) hear(columns map[string]string, asked time.Time, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n notice
	text, listed := columns[e.columns[e.account.Shard()]]
	if listed && json.Unmarshal([]byte(text), &n) != nil {
		return
	}
	e.account.Heard(listed, n.Window, n.Left, m, asked)
	e.deliver(m)
}
