package quota

import (
	"context"
	"sync"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
)

// Reservation is what a request may use. Settle or Refund ends it; later calls
// are ignored. A nil Reservation reserves nothing and may be ended as well. It is
// safe for concurrent use.
type Reservation struct {
	limiter     *Limiter
	consumer    *consumerLimits
	caller      *callerLimits // nil = callers have no limits
	model       string
	concurrency int // of the consumer; 0 = unlimited

	mu          sync.Mutex
	allocations []allocation
	ended       bool
}

// allocation is what was reserved of one limit.
type allocation struct {
	limit     *limitState
	window    int64
	amount    int64
	shortfall int64 // how much less than the request can use
}

// Usage is what became of a request, at one model.
type Usage struct {
	Model  string // that served
	Tokens usage.Tokens
	Cost   float64 // in the currency of the prices
}

// Reserve reserves what a request that has entered may cost from every limit of the consumer, over
// all models and for the demanded one: of the limits per minute what it is
// expected to use, of those per month the most that it can. The error is an
// [ExceededError] when one of them has not enough left; then nothing is reserved.
// It waits for the table only when this instance holds no credit and the row is
// not known to have enough, for at most [Config.MaxTableWait]. A nil consumer,
// and one without limits, is not limited.
func (l *Limiter) Reserve(ctx context.Context, c *consumer.Consumer, d Demand) (*Reservation, error) {
	l.feed.NoteTraffic()
	if c == nil {
		return nil, nil
	}
	if c.MaxRequestTokens > 0 && d.Size > c.MaxRequestTokens {
		return nil, &ExceededError{Limit: "maxRequestTokens", Amount: float64(c.MaxRequestTokens)}
	}
	b := l.limitsFor(c.Name)
	if b == nil {
		return nil, nil
	}
	r := &Reservation{limiter: l, consumer: b, model: d.Model, concurrency: c.Concurrency}
	if b.callers != nil {
		r.caller = l.callerOf(ctx, c, b, d.Caller)
		r.caller.use(1)
	}
	if err := r.reserveAll(ctx, &d); err != nil {
		r.Refund()
		return nil, err
	}
	return r, nil
}

// Caller is the caller that the request is charged to, as reports name it; "" =
// the consumer's callers are not kept apart.
func (r *Reservation) Caller() string {
	if r == nil || r.caller == nil {
		return ""
	}
	return r.caller.key
}

// use counts a reservation that began, or -1 one that ended.
func (x *callerLimits) use(n int) {
	if x == nil {
		return
	}
	for _, e := range x.limits {
		e.mu.Lock()
		e.inUse += n
		e.mu.Unlock()
	}
}

// limits iterates over the limits of the request.
func (r *Reservation) limits() func(yield func(*limitState) bool) {
	if r.caller == nil {
		return r.consumer.limits(r.model, nil)
	}
	return r.consumer.limits(r.model, r.caller.limits)
}

// limits iterates over the limits for the model, over all models, and of a caller.
func (b *consumerLimits) limits(model string, caller []*limitState) func(yield func(*limitState) bool) {
	return func(yield func(*limitState) bool) {
		for _, of := range [...][]*limitState{b.byModel[model], b.all, caller} {
			for _, e := range of {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// pendingDecision is a limit that waits for the table, or, without decided, a ceiling
// that is to be tried again.
type pendingDecision struct {
	limit   *limitState
	amount  int64
	ticket  int
	decided chan decision
}

// reserveAll reserves from all limits: first what can be decided at once, so
// that a limit that is used up costs no other one an exchange. Ceilings follow when the
// limits have granted: of two requests each would hold what the other waits for.
func (r *Reservation) reserveAll(ctx context.Context, d *Demand) error {
	for e := range r.limits() { // first: a caller that waited for another limit would return to this one
		if e.expected(d) > e.maxAmount() {
			return r.limiter.exceeded(e, lease.TooLarge, 0)
		}
	}
	now := r.limiter.moments()
	began := now[lease.Minute].At
	for _, ceilings := range [...]bool{false, true} {
		pending, err := r.tryAll(d, ceilings, now)
		if err != nil {
			return err
		}
		if len(pending) == 0 {
			continue
		}
		if err := r.await(ctx, d, pending, began); err != nil {
			return err
		}
		now = r.limiter.moments()
	}
	return nil
}

// tryAll tries the ceilings, or the other limits, and returns those that wait for the
// table.
func (r *Reservation) tryAll(d *Demand, ceilings bool, now moments) (pending []pendingDecision, err error) {
	for e := range r.limits() {
		if e.ceiling != ceilings {
			continue
		}
		m := now[e.period]
		w, decision := r.try(e, e.firstAmount(d), m)
		switch {
		case !decision.Refused():
		case e.ceiling:
			decision = lease.Pending // until requests under way have ended
		default:
			w, decision = r.tryShort(e, d, decision, m)
		}
		switch decision {
		case lease.Granted:
		case lease.Pending:
			pending = append(pending, w)
		case lease.Denied, lease.TooLarge, lease.Undecided:
			r.limiter.cancelPending(pending)
			return nil, r.limiter.exceeded(e, decision, e.expected(d))
		}
	}
	return pending, nil
}

// firstAmount is what is reserved if the limit has it.
func (e *limitState) firstAmount(d *Demand) int64 {
	if e.period == lease.Month {
		return min(e.most(d), e.maxAmount())
	}
	return e.expected(d)
}

// try reserves the amount, or returns what waits for the table.
func (r *Reservation) try(e *limitState, n int64, m lease.Moment) (pendingDecision, lease.Decision) {
	d, ticket, decided := e.reserve(n, r.limiter.feed.failing(), m)
	r.limiter.wakeAt(e, m)
	if d.decision == lease.Granted {
		r.add(allocation{limit: e, window: d.window, amount: n})
	}
	return pendingDecision{e, n, ticket, decided}, d.decision
}

func (r *Reservation) add(a allocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allocations = append(r.allocations, a)
}

// tryShort reserves of a month's limit what the request is expected to use, when
// the most that it can use is not left: what is left can be spent to the end. All
// requests under way on this instance together lack at most one answer of the
// largest size, which is how much an instance can overspend. Where that may not be,
// the decision about the most stands.
func (r *Reservation) tryShort(e *limitState, d *Demand, refused lease.Decision, m lease.Moment) (pendingDecision, lease.Decision) {
	most, n := e.most(d), e.expected(d)
	if d.Lasting || e.period != lease.Month || n >= most || !e.addShortfall(most-n, most) {
		return pendingDecision{}, refused
	}
	r.add(allocation{limit: e, shortfall: most - n})
	return r.try(e, n, m)
}

// addShortfall counts a reservation that is short of the most that it can use; it
// returns false when that would be more than one answer of the largest size.
func (e *limitState) addShortfall(n, largest int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shortfall > 0 && e.shortfall+n > largest {
		return false
	}
	e.shortfall += n
	return true
}

// await waits for the table, for all limits together up to MaxTableWait from when the
// request began.
func (r *Reservation) await(ctx context.Context, demand *Demand, pending []pendingDecision, began time.Time) error {
	wait, cancel := context.WithTimeout(ctx, r.limiter.cfg.MaxTableWait-r.limiter.now().Sub(began))
	defer cancel()
	for i := 0; i < len(pending); i++ {
		w := pending[i]
		d := r.awaitOne(ctx, wait, w)
		if d.decision == lease.Granted {
			r.add(allocation{limit: w.limit, window: d.window, amount: w.amount})
			continue
		}
		if d.decision == lease.Denied && w.limit.ceiling && sleep(wait, ceilingPause) {
			if again, decision := r.try(w.limit, w.amount, r.limiter.moment(w.limit.period)); decision != lease.Granted {
				pending = append(pending, again)
			}
			continue
		}
		if d.decision.Refused() && w.amount > w.limit.expected(demand) && ctx.Err() == nil {
			var short pendingDecision
			if short, d.decision = r.tryShort(w.limit, demand, d.decision, r.limiter.moment(w.limit.period)); d.decision == lease.Pending {
				pending = append(pending, short)
			}
			if d.decision == lease.Granted || d.decision == lease.Pending {
				continue
			}
		}
		r.limiter.cancelPending(pending[i+1:])
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return r.limiter.exceeded(w.limit, d.decision, w.limit.expected(demand))
	}
	return nil
}

// ceilingPause is the pause before a ceiling that is reached is tried again: requests
// under way have reserved more than they are expected to use.
const ceilingPause = 50 * time.Millisecond

// sleep returns false when ctx is done.
func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

func (r *Reservation) awaitOne(ctx, wait context.Context, w pendingDecision) decision {
	if w.decided == nil {
		return decision{decision: lease.Denied}
	}
	select {
	case d := <-w.decided:
		return d
	case <-wait.Done():
		return w.limit.stopWaiting(w.ticket, w.decided, r.limiter.moment(w.limit.period), ctx.Err() == nil)
	}
}

// cancelPending ends the waits of a request that was refused.
func (l *Limiter) cancelPending(pending []pendingDecision) {
	for _, w := range pending {
		m := l.moment(w.limit.period)
		if d := w.limit.stopWaiting(w.ticket, w.decided, m, false); d.decision == lease.Granted {
			w.limit.settle(d.window, w.amount, 0, m)
			w.limit.giveBack(d.window, w.amount, m)
			l.wake(w.limit)
		}
	}
}

// Another counts one more of the request's attempts that are under way at the same
// time, or returns false when the consumer's concurrency allows no more. release
// must be called once if it is counted.
func (r *Reservation) Another() (release func(), ok bool) {
	return r.consumer.concurrency.acquire(r.concurrency)
}

// Concurrent reports whether the consumer's concurrency is limited. A nil
// Reservation is not.
func (r *Reservation) Concurrent() bool { return r != nil && r.concurrency > 0 }

// Grow reserves more of the limits that count tokens, so that so many are
// reserved: an answer under way turns out larger than expected. It may exceed a
// limit.
func (r *Reservation) Grow(tokensUsed int64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.allocations {
		a := &r.allocations[i]
		if r.ended || a.limit.unit != tokens || a.limit.period != lease.Minute || a.amount == 0 || a.amount >= tokensUsed {
			continue
		}
		a.limit.resize(a.window, a.amount, tokensUsed, r.limiter.moment(a.limit.period))
		a.amount = tokensUsed
		r.limiter.wake(a.limit)
	}
}
