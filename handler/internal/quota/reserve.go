package quota

import (
	"context"
	"sync/atomic"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
)

// Reservation is what a request may use: exactly one of Settle, Keep and Refund
// ends it; what follows the first is ignored. A nil Reservation reserves
// nothing and may be ended as well. It is safe for concurrent use.
type Reservation struct {
	ledger *Ledger
	price  usage.Price
	parts  []part
	leave  func()
	ended  atomic.Bool
}

// part is what was reserved of one limit.
type part struct {
	entry  *entry
	window int64
	amount int64
}

// Reserve takes what a request of about this many tokens may come to from every
// limit of the consumer, over all models and for this one. It is an [OverQuota]
// when one of them has not so much left; then nothing is reserved. It waits for
// the table only when this instance holds no credit and the row is not known to
// have room, at most [Config.Patience]. A nil consumer, and one without limits,
// may use what it likes.
func (l *Ledger) Reserve(ctx context.Context, c *consumer.Consumer, model string, tokens int64, price usage.Price) (*Reservation, error) {
	l.board.Touch()
	if c == nil {
		return nil, nil //nolint:nilnil // nothing is reserved, and nothing is wrong
	}
	if c.MaxRequestTokens > 0 && tokens > c.MaxRequestTokens {
		return nil, &OverQuota{Limit: "maxRequestTokens", Amount: c.MaxRequestTokens}
	}
	b, ok := l.books[c.Name]
	if !ok {
		return nil, nil //nolint:nilnil // nothing is reserved, and nothing is wrong
	}
	leave, ok := b.gate.enter(c.Concurrency)
	if !ok {
		return nil, &OverQuota{Limit: "concurrency", Amount: int64(c.Concurrency), Wait: time.Second, Retryable: true}
	}
	r := &Reservation{ledger: l, price: price, leave: leave}
	if err := r.fill(ctx, b, model, tokens); err != nil {
		r.Refund()
		return nil, err
	}
	return r, nil
}

// wish is a limit that only the table can answer for.
type wish struct {
	entry  *entry
	amount int64
	ticket int
	told   chan decided
}

// fill takes from all limits: first what can be told at once, so that a limit
// that is used up costs no other one an exchange.
func (r *Reservation) fill(ctx context.Context, b *book, model string, tokens int64) error {
	if e := r.tooLarge(b, model, tokens); e != nil {
		return r.ledger.over(e, lease.Never, 0)
	}
	var wishes []wish
	for _, of := range [][]*entry{b.byModel[model], b.all} {
		for _, e := range of {
			n := e.unit.reserve(tokens, r.price)
			d, ticket, told := e.take(n, r.ledger.moment(e.period))
			r.ledger.stir(e)
			switch d.answer {
			case lease.Yes:
				r.parts = append(r.parts, part{e, d.window, n})
			case lease.Ask:
				wishes = append(wishes, wish{e, n, ticket, told})
			case lease.No, lease.Never:
				r.ledger.withdraw(wishes)
				return r.ledger.over(e, d.answer, n)
			}
		}
	}
	return r.await(ctx, wishes)
}

// tooLarge is a limit that will never have room for the request: said first,
// because a caller that is told to wait for another one would come back to it.
func (r *Reservation) tooLarge(b *book, model string, tokens int64) *entry {
	for _, of := range [][]*entry{b.byModel[model], b.all} {
		for _, e := range of {
			if e.unit.reserve(tokens, r.price) > e.largest() {
				return e
			}
		}
	}
	return nil
}

// await waits for the table, for all limits together as long as one may.
func (r *Reservation) await(ctx context.Context, wishes []wish) error {
	if len(wishes) == 0 {
		return nil
	}
	patience, cancel := context.WithTimeout(ctx, r.ledger.cfg.Patience)
	defer cancel()
	for i, w := range wishes {
		var d decided
		select {
		case d = <-w.told:
		case <-patience.Done():
			d = w.entry.giveUp(w.ticket, w.told, r.ledger.moment(w.entry.period), ctx.Err() == nil)
		}
		if d.answer == lease.Yes {
			r.parts = append(r.parts, part{w.entry, d.window, w.amount})
			continue
		}
		r.ledger.withdraw(wishes[i+1:])
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return r.ledger.over(w.entry, d.answer, w.amount)
	}
	return nil
}

// withdraw ends waitings whose request has come to nothing.
func (l *Ledger) withdraw(wishes []wish) {
	for _, w := range wishes {
		m := l.moment(w.entry.period)
		if d := w.entry.giveUp(w.ticket, w.told, m, false); d.answer == lease.Yes {
			w.entry.settle(d.window, w.amount, 0, m)
			l.stir(w.entry)
		}
	}
}

// Settle replaces what was reserved by what the answer really used.
func (r *Reservation) Settle(t usage.Tokens) {
	r.close(func(p part) int64 { return p.entry.unit.used(t, r.price) })
}

// Keep leaves what was reserved: the request was served, and nobody said what
// it used.
func (r *Reservation) Keep() {
	r.close(func(p part) int64 { return p.amount })
}

// Refund gives everything back: no backend served the request.
func (r *Reservation) Refund() {
	r.close(func(part) int64 { return 0 })
}

func (r *Reservation) close(used func(part) int64) {
	if r == nil || r.ended.Swap(true) {
		return
	}
	r.leave()
	for _, p := range r.parts {
		p.entry.settle(p.window, p.amount, used(p), r.ledger.moment(p.entry.period))
		r.ledger.stir(p.entry)
	}
}
