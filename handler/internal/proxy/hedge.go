package proxy

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// errLost ends the attempt that another one was faster than.
var errLost = errors.New("proxy: another attempt won")

// lostWhy is the Why of an attempt that another one was faster than.
const lostWhy = "another attempt won"

// hedgeState is the books of the pool's second attempts when this request may have
// one: a stream that any backend can begin, with another one in the line.
func (r *run) hedgeState(line int) *hedgeStats {
	cfg := r.result.Pool.Hedge
	if r.Hedges == nil || cfg.After == 0 && cfg.Percentile == 0 {
		return nil
	}
	if !r.request.Parsed.Stream || r.request.PinnedTo != nil || r.request.StreamedBody != nil || line < 2 {
		return nil
	}
	return r.Hedges.pool(r.result.Pool)
}

// hedgedRequest is one or two attempts of which one reaches the caller.
type hedgedRequest struct {
	mu       sync.Mutex
	winner   *attempt
	attempts []*hedgeAttempt
}

// hedgeAttempt is an attempt that takes part in a race, in a goroutine of its own.
type hedgeAttempt struct {
	*attempt
	ended      chan struct{}
	stop       context.CancelCauseFunc
	verdict    health.OutcomeClass
	done       bool
	panicValue any // what its carrying panicked with
}

// tryHedged makes an attempt at the head of the line and, when it has nothing to
// say for too long, a second one at the next. Whichever has its first
// meaningful event first is the answer; the other is broken off. Both have
// ended when it returns.
func (r *run) tryHedged(ctx context.Context, line []balancer.Candidate, ticket health.Permit, h *hedgeStats) bool {
	cfg := r.result.Pool.Hedge
	h.deposit(cfg.MaxPercent)
	contest := new(hedgedRequest)
	first := r.startAttempt(ctx, contest, line[0].Backend, ticket)
	if delay, ok := h.threshold(cfg); ok && first.runsFor(delay) {
		r.startSecond(ctx, contest, line[1:], h)
	}
	for _, each := range contest.attempts {
		<-each.ended
	}
	return r.record(contest, h)
}

// runsFor reports whether the attempt is still under way after the delay.
func (e *hedgeAttempt) runsFor(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-e.ended:
		return false
	case <-timer.C:
		return true
	}
}

// startSecond lets the first backend of the rest of the line that may be asked join
// the race, if there is leave for it.
func (r *run) startSecond(ctx context.Context, contest *hedgedRequest, rest []balancer.Candidate, h *hedgeStats) {
	if contest.won() || ctx.Err() != nil || !h.withdraw() {
		return
	}
	for i := range rest {
		b := rest[i].Backend
		if slices.Contains(r.failed, b.Slot) {
			continue
		}
		if ticket, ok := r.acquire(b); ok {
			if r.startAttempt(ctx, contest, b, ticket) == nil {
				r.Health.Release(ticket)
				break
			}
			return
		}
	}
	h.refund()
}

// startAttempt starts an attempt; nil when the race is decided.
func (r *run) startAttempt(ctx context.Context, contest *hedgedRequest, b *balancer.Backend, ticket health.Permit) *hedgeAttempt {
	story := *r.result // its own: two attempts write at once
	story.Attempts = slices.Clone(r.result.Attempts)
	e := &hedgeAttempt{ended: make(chan struct{}), attempt: &attempt{
		run: r, backend: b, ticket: ticket, result: &story, hedged: contest, began: r.Now(),
	}}
	ctx, e.stop = context.WithCancelCause(ctx)
	if !contest.add(e) {
		e.stop(nil)
		return nil
	}
	go func() {
		defer close(e.ended)
		defer e.stop(nil)
		defer func() { e.panicValue = recover() }()
		e.verdict, e.done = e.do(ctx)
	}()
	return e
}

func (c *hedgedRequest) add(e *hedgeAttempt) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.winner != nil {
		return false
	}
	c.attempts = append(c.attempts, e)
	return true
}

func (c *hedgedRequest) won() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.winner != nil
}

// tryWin is asked right before the first byte leaves: once, by each.
func (t *attempt) tryWin() bool {
	if t.hedged == nil {
		return true
	}
	c := t.hedged
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.winner != nil {
		return false
	}
	c.winner = t
	for _, other := range c.attempts {
		if other.attempt != t {
			other.stop(errLost)
		}
	}
	return true
}

// lost is the outcome of an attempt that may have been broken off because
// another one won: that says nothing about its backend.
func (t *attempt) lost(ctx context.Context, o health.Outcome) health.Outcome {
	if t.hedged == nil || o.Class == health.Served || o.Class == health.Throttled || !errors.Is(context.Cause(ctx), errLost) {
		return o
	}
	return health.Outcome{Class: health.Abandoned, Reason: lostWhy, Signals: o.Signals}
}

// record writes the race down and reports whether the caller has its answer.
func (r *run) record(contest *hedgedRequest, h *hedgeStats) bool {
	percentile := r.result.Pool.Hedge.Percentile
	done := false
	for i, e := range contest.attempts {
		if e.panicValue != nil {
			panic(e.panicValue) // as it would without a race
		}
		for _, record := range e.result.Attempts[len(e.result.Attempts)-e.recorded():] {
			record.Hedge = i > 0
			r.result.Attempts = append(r.result.Attempts, record)
		}
		if e.done {
			done = true
			r.result.Delivery, r.result.ServedBy = e.result.Delivery, e.backend
			h.recordFirstToken(e.result.Delivery.FirstToken.Sub(e.began), percentile)
		} else if e.recorded() > 0 && e.entry.Outcome.Reason == lostWhy {
			h.recordFirstToken(e.entry.Took, percentile)
		}
		r.recordFailure(e.backend, e.verdict)
	}
	return done
}

// recorded is how many attempts the runner wrote down: none when it was a probe
// that was lost.
func (e *hedgeAttempt) recorded() int {
	if e.entry == nil {
		return 0
	}
	return 1
}

// Hedges keeps, for each pool that has second attempts, when they begin and
// how many there may be. The zero Hedges is ready for use.
type Hedges struct{ pools sync.Map }

// hedgeStats is the books of one pool.
type hedgeStats struct {
	mu     sync.Mutex
	budget float64 // second attempts that may be made now
	recent [256]time.Duration
	count  int           // of times to the first token ever seen
	delay  time.Duration // by percentile; 0 = too little was seen
}

const (
	maxHedgeBudget = 10.0 // a quiet hour does not pay for a storm
	minSamples     = 20   // times to the first token that a percentile needs
	recomputeEvery = 16   // of them
)

func (h *Hedges) pool(p *balancer.Pool) *hedgeStats {
	kept, ok := h.pools.Load(p)
	if !ok {
		kept, _ = h.pools.LoadOrStore(p, new(hedgeStats))
	}
	return kept.(*hedgeStats)
}

// deposit counts a request: maxPercent of them may have a second attempt.
func (h *hedgeStats) deposit(maxPercent float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget = min(h.budget+maxPercent/100, maxHedgeBudget)
}

// withdraw takes leave for one second attempt.
func (h *hedgeStats) withdraw() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.budget < 1 {
		return false
	}
	h.budget--
	return true
}

// refund gives back the leave for a second attempt that was not made.
func (h *hedgeStats) refund() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget++
}

// recordFirstToken folds in a time to the first token. One that was broken off counts with
// what it had lasted: it was at least that.
func (h *hedgeStats) recordFirstToken(took time.Duration, percentile float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent[h.count%len(h.recent)] = took
	h.count++
	if percentile == 0 || h.count < minSamples || h.count%recomputeEvery != 0 && h.delay > 0 {
		return
	}
	seen := slices.Clone(h.recent[:min(h.count, len(h.recent))])
	slices.Sort(seen)
	h.delay = seen[min(int(math.Ceil(percentile*float64(len(seen)))), len(seen)-1)]
}

// threshold is when a second attempt begins; false when nobody can tell yet.
func (h *hedgeStats) threshold(cfg balancer.Hedge) (time.Duration, bool) {
	if cfg.After > 0 {
		return cfg.After, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.delay, h.delay > 0
}
