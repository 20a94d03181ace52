package quota

import (
	"context"
	"sync/atomic"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
)

// Reservation is what a request may use. Exactly one of Settle, Commit and
// Refund ends it; later calls are ignored. A nil Reservation reserves nothing
// and may be ended as well. It is safe for concurrent use.
type Reservation struct {
	limiter     *Limiter
	price       usage.Price
	allocations []allocation
	release     func()
	ended       atomic.Bool
}

// allocation is what was reserved of one limit.
type allocation struct {
	limit  *limitState
	window int64
	amount int64
}

// Reserve reserves what a request of about this many tokens may cost from every
// limit of the consumer, over all models and for this one. The error is an
// [ExceededError] when one of them has not enough left; then nothing is
// reserved. It waits for the table only when this instance holds no credit and
// the row is not known to have enough, for at most [Config.MaxTableWait]. A nil
// consumer, and one without limits, is not limited.
func (l *Limiter) Reserve(ctx context.Context, c *consumer.Consumer, model string, tokens int64, price usage.Price) (*Reservation, error) {
	l.feed.NoteTraffic()
	if c == nil {
		return nil, nil
	}
	if c.MaxRequestTokens > 0 && tokens > c.MaxRequestTokens {
		return nil, &ExceededError{Limit: "maxRequestTokens", Amount: c.MaxRequestTokens}
	}
	b, ok := l.consumers[c.Name]
	if !ok {
		return nil, nil
	}
	release, ok := b.concurrency.acquire(c.Concurrency)
	if !ok {
		return nil, &ExceededError{Limit: "concurrency", Amount: int64(c.Concurrency), Wait: time.Second, Retryable: true}
	}
	r := &Reservation{limiter: l, price: price, release: release}
	if err := r.reserveAll(ctx, b, model, tokens); err != nil {
		r.Refund()
		return nil, err
	}
	return r, nil
}

// pendingDecision is a limit that waits for the table.
type pendingDecision struct {
	limit   *limitState
	amount  int64
	ticket  int
	decided chan decision
}

// reserveAll reserves from all limits: first what can be decided at once, so
// that a limit that is used up costs no other one an exchange.
func (r *Reservation) reserveAll(ctx context.Context, b *consumerLimits, model string, tokens int64) error {
	if e := r.oversized(b, model, tokens); e != nil {
		return r.limiter.exceeded(e, lease.TooLarge, 0)
	}
	var pending []pendingDecision
	for _, of := range [][]*limitState{b.byModel[model], b.all} {
		for _, e := range of {
			n := e.unit.reserve(tokens, r.price)
			d, ticket, decided := e.reserve(n, r.limiter.moment(e.period))
			r.limiter.wake(e)
			switch d.decision {
			case lease.Granted:
				r.allocations = append(r.allocations, allocation{e, d.window, n})
			case lease.Pending:
				pending = append(pending, pendingDecision{e, n, ticket, decided})
			case lease.Denied, lease.TooLarge:
				r.limiter.cancelPending(pending)
				return r.limiter.exceeded(e, d.decision, n)
			}
		}
	}
	return r.await(ctx, pending)
}

// oversized returns a limit that the request can never fit into. It is checked
// first: a caller that waited for another limit would return to it.
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

// await waits for the table, for all limits together up to MaxTableWait.
func (r *Reservation) await(ctx context.Context, pending []pendingDecision) error {
	if len(pending) == 0 {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, r.limiter.cfg.MaxTableWait)
	defer cancel()
	for i, w := range pending {
		var d decision
		select {
		case d = <-w.decided:
		case <-wait.Done():
			d = w.limit.stopWaiting(w.ticket, w.decided, r.limiter.moment(w.limit.period), ctx.Err() == nil)
		}
		if d.decision == lease.Granted {
			r.allocations = append(r.allocations, allocation{w.limit, d.window, w.amount})
			continue
		}
		r.limiter.cancelPending(pending[i+1:])
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return r.limiter.exceeded(w.limit, d.decision, w.amount)
	}
	return nil
}

// cancelPending ends the waits of a request that was refused.
func (l *Limiter) cancelPending(pending []pendingDecision) {
	for _, w := range pending {
		m := l.moment(w.limit.period)
		if d := w.limit.stopWaiting(w.ticket, w.decided, m, false); d.decision == lease.Granted {
			w.limit.settle(d.window, w.amount, 0, m)
			l.wake(w.limit)
		}
	}
}

// Settle replaces what was reserved by what the answer used.
func (r *Reservation) Settle(t usage.Tokens) {
	r.finish(func(p allocation) int64 { return p.limit.unit.used(t, r.price) })
}

// Commit leaves what was reserved: the request was served, and its usage is not
// known.
func (r *Reservation) Commit() {
	r.finish(func(p allocation) int64 { return p.amount })
}

// Refund returns everything: no backend served the request.
func (r *Reservation) Refund() {
	r.finish(func(allocation) int64 { return 0 })
}

func (r *Reservation) finish(used func(allocation) int64) {
	if r == nil || r.ended.Swap(true) {
		return
	}
	r.release()
	for _, p := range r.allocations {
		p.limit.settle(p.window, p.amount, used(p), r.limiter.moment(p.limit.period))
		r.limiter.wake(p.limit)
	}
}
