package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// Proxy tries the backends of a pool in order.
type Proxy struct {
	Health      Health
	Sender      Sender
	Load        *Load
	RoundRobin  *RoundRobin
	RetryBudget *RetryBudget
	Hedges      *Hedges // nil = no second attempts
	Now         func() time.Time
	Rand        func() float64 // in [0, 1)
	Queue       *WaitQueue
	MaxWait     time.Duration // longest wait for a throttled pool; 0 = none
}

// ErrProbeLost is what before returns when the lease of a probe ran out, or
// went to another instance, ahead of the first byte.
var ErrProbeLost = errors.New("proxy: the probe's lease is gone")

// Do carries the request to the first backend of the pools that serves it:
// the pool of its model, then those of its fallbacks. The answer went through
// deliver unless Result.Err says why not.
func (p *Proxy) Do(ctx context.Context, pools []*balancer.Pool, r *Request, deliver Deliver) *Result {
	p.RetryBudget.Deposit(p.Now())
	run := &run{Proxy: p, request: r, deliver: deliver, result: &Result{}}
	for _, from := range pools {
		run.result.Pool = from
		if run.tryPool(ctx, from) {
			return run.result
		}
	}
	run.setError(ctx)
	return run.result
}

// run is one request on its way through the pools.
type run struct {
	*Proxy
	request      *Request
	deliver      Deliver
	result       *Result
	candidates   [4]balancer.Candidate
	failed       []health.Slot // not to be tried again for this request
	mu           sync.Mutex    // of aside
	deferred     *deferredResponse
	exhaustion   exhaustion
	lastFailed   bool // the last attempt failed: the next costs budget
	retryPending bool // what was just made was not known yet
	retriedSame  bool // and was waited for, once
}

// tryPool tries one pool, and again while its soonest reopening is worth the
// wait. It reports whether the request is finished with.
func (r *run) tryPool(ctx context.Context, from *balancer.Pool) bool {
	first := r.decide(from, r.candidates[:0])
	if r.result.Decision.Candidates == nil {
		r.result.Decision = first
	}
	for d := first; ; d = r.decide(from, nil) {
		if r.tryCandidates(ctx, d) {
			return true
		}
		if ctx.Err() != nil || !r.waitForReopening(ctx, from) || r.request.StreamedBody.Started() {
			return false
		}
	}
}

// decide orders the pool by what is known now, and lets the keeper know which
// open circuits were wanted.
func (r *run) decide(from *balancer.Pool, dst []balancer.Candidate) balancer.Decision {
	if r.result.Decision.Candidates != nil {
		dst = nil // the first decision is kept for the log
	}
	d := from.Decide(r.query(from), r.Health.Snapshot(), dst)
	for i := range d.Candidates {
		if c := &d.Candidates[i]; c.Reason == health.SkipOpen || c.Reason == health.SkipProbing {
			r.Health.RequestProbe(c.Backend.Slot)
		}
	}
	return d
}

func (r *run) query(from *balancer.Pool) *balancer.Query {
	q := &balancer.Query{
		Now: r.Now(), Rand: r.Rand, Tokens: r.request.Tokens, Affinity: r.request.Affinity, Load: r.Load,
		PinnedTo: r.request.pinnedBackend(), ReadsStored: r.readsStored(), OpenAIOnly: r.request.Operation.CompatibleOnly,
	}
	if from.Strategy == balancer.RoundRobin {
		q.Sequence = r.RoundRobin.next(from)
	}
	q.Geographies, q.MinPriority = r.request.Consumer.Bounds()
	return q
}

// tryCandidates tries the line of a decision from its head.
func (r *run) tryCandidates(ctx context.Context, d balancer.Decision) bool {
	r.lastFailed = false
	for i := 0; i < d.Eligible && ctx.Err() == nil && !r.request.StreamedBody.Started(); i++ {
		b := d.Candidates[i].Backend
		if slices.Contains(r.failed, b.Slot) || r.deferred.appliesTo(b) {
			continue
		}
		if r.lastFailed && !r.RetryBudget.Withdraw(r.Now()) {
			break
		}
		ticket, ok := r.acquire(b)
		if !ok {
			continue
		}
		if r.tryOne(ctx, d.Candidates[i:d.Eligible], ticket) {
			return true
		}
		if r.retrySame(ctx) {
			i--
		}
	}
	return r.deliverDeferred(ctx)
}

// tryOne makes an attempt at the head of the line, and perhaps a second tryOne
// beside it. It reports whether the caller has its answer.
func (r *run) tryOne(ctx context.Context, line []balancer.Candidate, ticket health.Permit) bool {
	if h := r.hedgeState(len(line)); h != nil {
		return r.tryHedged(ctx, line, ticket, h)
	}
	b := line[0].Backend
	verdict, done := r.attempt(ctx, b, ticket)
	r.recordFailure(b, verdict)
	return done
}

// recordFailure remembers what an attempt means for the next.
func (r *run) recordFailure(b *balancer.Backend, verdict health.OutcomeClass) {
	r.lastFailed = verdict == health.Failed
	if r.lastFailed || verdict == health.Misconfigured {
		r.failed = append(r.failed, b.Slot)
	}
}

// acquire asks leave for an attempt. Asking for what is held already is no
// matter of the backend's capacity, and needs none.
func (r *run) acquire(b *balancer.Backend) (health.Permit, bool) {
	if r.readsStored() {
		return health.Permit{Slot: b.Slot}, true
	}
	return r.Health.Acquire(b.Slot)
}

// readsStored reports whether the request asks for what is held already. Then the
// keeper is not asked, and not told.
func (r *run) readsStored() bool { return r.request.Operation.State.Stored() }
