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

// errLost cancels an attempt when another one of the same request won.
var errLost = errors.New("proxy: another attempt won")

// reasonLost is the Reason of such an attempt.
const reasonLost = "another attempt won"

// hedging is the state of the pool's hedging when this request may be hedged: a
// stream that any backend can serve, with more than one candidate. Else it is nil.
func (r *run) hedging(candidates int) *hedgeStats {
	cfg := r.result.Pool.Hedge
	if r.Hedges == nil || cfg.After == 0 && cfg.Percentile == 0 {
		return nil
	}
	if !r.request.Parsed.Stream || r.request.PinnedTo != nil || r.request.StreamedBody != nil || candidates < 2 {
		return nil
	}
	return r.Hedges.pool(r.result.Pool)
}

// hedgedRequest is one or two concurrent attempts, one of which answers the caller.
type hedgedRequest struct {
	mu       sync.Mutex
	winner   *attempt
	attempts []*hedgeAttempt
}

// hedgeAttempt is one of them, in a goroutine of its own.
type hedgeAttempt struct {
	*attempt
	ended        chan struct{}
	stop         context.CancelCauseFunc
	outcomeClass health.OutcomeClass
	done         bool
	panicValue   any // of deliver
}

// tryHedged makes an attempt at the first candidate and, when it has no meaningful
// event by the pool's threshold, a second one at the next. The first of them that
// has one answers the caller, and the other is cancelled. Both have ended when it
// returns.
func (r *run) tryHedged(ctx context.Context, candidates []balancer.Candidate, permit health.Permit, h *hedgeStats) bool {
	cfg := r.result.Pool.Hedge
	h.deposit(cfg.MaxPercent)
	hedged := new(hedgedRequest)
	first := r.startAttempt(ctx, hedged, candidates[0].Backend, permit)
	if delay, ok := h.threshold(cfg); ok && first.runsFor(delay) {
		r.startSecond(ctx, hedged, candidates[1:], h)
	}
	for _, e := range hedged.attempts {
		<-e.ended
	}
	return r.mergeAttempts(hedged, h)
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

// startSecond starts an attempt at the first of the rest that admits one, if the
// hedging budget allows it.
func (r *run) startSecond(ctx context.Context, hedged *hedgedRequest, rest []balancer.Candidate, h *hedgeStats) {
	if hedged.won() || ctx.Err() != nil || !h.withdraw() {
		return
	}
	for i := range rest {
		b := rest[i].Backend
		if slices.Contains(r.failed, b.Slot) {
			continue
		}
		if permit, ok := r.acquire(b); ok {
			if r.startAttempt(ctx, hedged, b, permit) == nil {
				r.Health.Release(permit)
				break
			}
			return
		}
	}
	h.refund()
}

// startAttempt starts an attempt; nil when another one has won.
func (r *run) startAttempt(ctx context.Context, hedged *hedgedRequest, b *balancer.Backend, permit health.Permit) *hedgeAttempt {
	result := *r.result // a copy: two attempts write concurrently
	result.Attempts = slices.Clone(r.result.Attempts)
	e := &hedgeAttempt{ended: make(chan struct{}), attempt: &attempt{
		run: r, backend: b, permit: permit, result: &result, hedged: hedged, start: r.Now(),
	}}
	ctx, e.stop = context.WithCancelCause(ctx)
	if !hedged.add(e) {
		e.stop(nil)
		return nil
	}
	go func() {
		defer close(e.ended)
		defer e.stop(nil)
		defer func() { e.panicValue = recover() }()
		e.outcomeClass, e.done = e.do(ctx)
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

// tryWin reports whether this attempt answers the caller, and cancels the others if
// so. It is called before the first byte is sent, once by each attempt.
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

// lost is the outcome of an attempt that may have been cancelled because another one
// won: that is no outcome of its backend.
func (t *attempt) lost(ctx context.Context, o health.Outcome) health.Outcome {
	if t.hedged == nil || o.Class == health.Served || o.Class == health.Throttled || !errors.Is(context.Cause(ctx), errLost) {
		return o
	}
	return health.Outcome{Class: health.Abandoned, Reason: reasonLost, Signals: o.Signals}
}

// mergeAttempts copies the attempts into the result, and reports whether the caller has its
// response.
func (r *run) mergeAttempts(hedged *hedgedRequest, h *hedgeStats) bool {
	percentile := r.result.Pool.Hedge.Percentile
	done := false
	for i, e := range hedged.attempts {
		if e.panicValue != nil {
			panic(e.panicValue) // in the goroutine of the request
		}
		for _, entry := range e.result.Attempts[len(e.result.Attempts)-e.recorded():] {
			entry.Hedge = i > 0
			r.result.Attempts = append(r.result.Attempts, entry)
		}
		if e.done {
			done = true
			r.result.Delivery, r.result.ServedBy = e.result.Delivery, e.backend
			h.recordFirstToken(e.result.Delivery.FirstToken.Sub(e.start), percentile)
		} else if e.recorded() > 0 && e.entry.Outcome.Reason == reasonLost {
			h.recordFirstToken(e.entry.Duration, percentile)
		}
		r.recordFailure(e.backend, e.outcomeClass)
	}
	return done
}

// recorded is how many attempts e added to its result: none when its probe was lost.
func (e *hedgeAttempt) recorded() int {
	if e.entry == nil {
		return 0
	}
	return 1
}

// Hedges is the hedging state of each pool. The zero Hedges is ready for use; it is
// safe for concurrent use.
type Hedges struct{ pools sync.Map }

// hedgeStats is the hedging state of one pool.
type hedgeStats struct {
	mu     sync.Mutex
	budget float64 // hedges allowed now
	recent [256]time.Duration
	count  int           // of times to first token recorded
	delay  time.Duration // the percentile of recent; 0 = too few samples
}

const (
	maxHedgeBudget = 10.0 // however many requests were not hedged
	minSamples     = 20   // for a percentile
	recomputeEvery = 16   // samples
)

func (h *Hedges) pool(p *balancer.Pool) *hedgeStats {
	kept, ok := h.pools.Load(p)
	if !ok {
		kept, _ = h.pools.LoadOrStore(p, new(hedgeStats))
	}
	return kept.(*hedgeStats)
}

// deposit counts a request: maxPercent of them may be hedged.
func (h *hedgeStats) deposit(maxPercent float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget = min(h.budget+maxPercent/100, maxHedgeBudget)
}

// withdraw takes one hedge from the budget.
func (h *hedgeStats) withdraw() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.budget < 1 {
		return false
	}
	h.budget--
	return true
}

// refund returns a hedge that was not made.
func (h *hedgeStats) refund() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget++
}

// recordFirstToken records a time to first token. A cancelled attempt counts with how
// long it lasted, which is a lower bound.
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

// threshold is after what time an attempt is hedged; false while samples are too few.
func (h *hedgeStats) threshold(cfg balancer.Hedge) (time.Duration, bool) {
	if cfg.After > 0 {
		return cfg.After, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.delay, h.delay > 0
}
