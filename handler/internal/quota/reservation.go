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
	limiter     *Limiter
	price       usage.Price
	allocations []allocation
	release     func()
	ended       atomic.Bool
}

// allocation is what was reserved of one limit.
type allocation struct {
	entry  *limitState
	window int64
	amount int64
}

// Reserve takes what a request of about this many tokens may come to from every
// limit of the consumer, over all models and for this one. It is an [ExceededError]
// when one of them has not so much left; then nothing is reserved. It waits for
// the table only when this instance holds no credit and the row is not known to
// have room, at most [Config.Patience]. A nil consumer, and one without limits,
// may use what it likes.
func (l *Limiter) Reserve(ctx context.Context, c *consumer.Consumer, model string, tokens int64, price usage.Price) (*Reservation, error) {
	l.feed.NoteTraffic()
	if c == nil {
		return nil, nil //nolint:nilnil // nothing is reserved, and nothing is wrong
	}
	if c.MaxRequestTokens > 0 && tokens > c.MaxRequestTokens {
		return nil, &ExceededError{Limit: "maxRequestTokens", Amount: c.MaxRequestTokens}
	}
	b, ok := l.consumers[c.Name]
	if !ok {
		return nil, nil //nolint:nilnil // nothing is reserved, and nothing is wrong
	}
	leave, ok := b.concurrency.acquire(c.Concurrency)
	if !ok {
		return nil, &ExceededError{Limit: "concurrency", Amount: int64(c.Concurrency), Wait: time.Second, Retryable: true}
	}
	r := &Reservation{limiter: l, price: price, release: leave}
	if err := r.reserveAll(ctx, b, model, tokens); err != nil {
		r.Refund()
		return nil, err
	}
	return r, nil
}

// pendingDecision is a limit that only the table can answer for.
type pendingDecision struct {
	entry   *limitState
	amount  int64
	ticket  int
	decided chan decision
}

// reserveAll takes from all limits: first what can be told at once, so that a limit
// that is used up costs no other one an exchange.
func (r *Reservation) reserveAll(ctx context.Context, b *consumerLimits, model string, tokens int64) error {
	if e := r.oversized(b, model, tokens); e != nil {
		return r.limiter.exceeded(e, lease.TooLarge, 0)
	}
	var wishes []pendingDecision
	for _, of := range [][]*limitState{b.byModel[model], b.all} {
		for _, e := range of {
			n := e.unit.reserve(tokens, r.price)
			d, ticket, told := e.reserve(n, r.limiter.moment(e.period))
			r.limiter.wake(e)
			switch d.decision {
			case lease.Granted:
				r.allocations = append(r.allocations, allocation{e, d.window, n})
			case lease.Pending:
				wishes = append(wishes, pendingDecision{e, n, ticket, told})
			case lease.Denied, lease.TooLarge:
				r.limiter.cancelPending(wishes)
				return r.limiter.exceeded(e, d.decision, n)
			}
		}
	}
	return r.await(ctx, wishes)
}

// oversized is a limit that will never have room for the request: said first,
// because a caller that is told to wait for another one would come back to it.
func (r *Reservation) oversized(b *consumerLimits, model string, tokens int64) *limitState {
	for _, of := range [][]*limitState{b.byModel[model], b.all} {
		for _, e := range of {
			if e.unit.reserve(tokens, r.price) > e.maxAmount() {
				return e
			}
		}
	}
	return nil
}

// await waits for the table, for all limits together as long as one may.
func (r *Reservation) await(ctx context.Context, wishes []pendingDecision) error {
	if len(wishes) == 0 {
		return nil
	}
	patience, cancel := context.WithTimeout(ctx, r.limiter.cfg.MaxTableWait)
	defer cancel()
	for i, w := range wishes {
		var d decision
		select {
		case d = <-w.decided:
		case <-patience.Done():
			d = w.entry.stopWaiting(w.ticket, w.decided, r.limiter.moment(w.entry.period), ctx.Err() == nil)
		}
		if d.decision == lease.Granted {
			r.allocations = append(r.allocations, allocation{w.entry, d.window, w.amount})
			continue
		}
		r.limiter.cancelPending(wishes[i+1:])
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return r.limiter.exceeded(w.entry, d.decision, w.amount)
	}
	return nil
}

// cancelPending ends waitings whose request has come to nothing.
func (l *Limiter) cancelPending(wishes []pendingDecision) {
	for _, w := range wishes {
		m := l.moment(w.entry.period)
		if d := w.entry.stopWaiting(w.ticket, w.decided, m, false); d.decision == lease.Granted {
			w.entry.settle(d.window, w.amount, 0, m)
			l.wake(w.entry)
		}
	}
}

// Settle replaces what was reserved by what the answer really used.
func (r *Reservation) Settle(t usage.Tokens) {
	r.finish(func(p allocation) int64 { return p.entry.unit.used(t, r.price) })
}

// Commit leaves what was reserved: the request was served, and nobody said what
// it used.
func (r *Reservation) Commit() {
	r.finish(func(p allocation) int64 { return p.amount })
}

// Refund gives everything back: no backend served the request.
func (r *Reservation) Refund() {
	r.finish(func(allocation) int64 { return 0 })
}

func (r *Reservation) finish(used func(allocation) int64) {
	if r == nil || r.ended.Swap(true) {
		return
	}
	r.release()
	for _, p := range r.allocations {
		p.entry.settle(p.window, p.amount, used(p), r.limiter.moment(p.entry.period))
		r.limiter.wake(p.entry)
	}
}
