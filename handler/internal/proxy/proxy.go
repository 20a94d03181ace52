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

// Proxy forwards requests. It is safe for concurrent use; its fields are set
// before the first request and not after.
type Proxy struct {
	Health      Health
	Sender      Sender
	Load        *Load
	RoundRobin  *RoundRobin
	RetryBudget *RetryBudget
	Hedges      *Hedges // nil = no hedging
	Queue       *WaitQueue
	Now         func() time.Time
	Rand        func() float64 // in [0, 1)

	MaxWait         time.Duration // longest wait for a throttled pool; 0 = none
	ResponseTimeout time.Duration // from Request.Received to the first byte for the caller, over all attempts and waits; 0 = none
}

// ErrProbeLost is returned by the beforeSend of a [Sender] when this instance no longer
// has the lease of the probe.
var ErrProbeLost = errors.New("proxy: the lease of the probe ended")

// Do sends the request to the backends of the pools until one serves it: those
// of the model's own pool, then those of its fallbacks. The response went
// through deliver, or Result.Err is why none did.
func (p *Proxy) Do(ctx context.Context, pools []*balancer.Pool, r *Request, deliver Deliver) *Result {
	p.RetryBudget.Deposit(p.Now())
	run := &run{Proxy: p, request: r, deliver: deliver, result: &Result{}}
	ctx, cancel := run.startDeadline(ctx)
	defer cancel()
	for _, from := range pools {
		run.result.Pool = from
		if run.tryPool(ctx, from) {
			return run.result
		}
	}
	run.setError(ctx)
	return run.result
}

// run is one request being forwarded.
type run struct {
	*Proxy
	request      *Request
	deliver      Deliver
	result       *Result
	candidates   [4]balancer.Candidate
	deadline     *time.Timer   // to the first byte; nil = none
	failed       []health.Slot // not to be tried again for this request
	mu           sync.Mutex    // guards deferred
	deferred     *deferredResponse
	exhaustion   exhaustion
	lastFailed   bool // the next attempt needs the retry budget
	retryPending bool // the last backend is to be asked again
	retriedSame  bool // a backend was asked again, which happens once
}

// tryPool tries the candidates of a pool, and again when one reopens within MaxWait.
// It reports whether the caller has its response.
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

// decide orders the pool's candidates, and requests a probe of those with an open
// circuit.
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

// tryCandidates tries the eligible candidates in order. It reports whether the
// caller has its response.
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
		permit, ok := r.acquire(b)
		if !ok {
			continue
		}
		if r.tryOne(ctx, d.Candidates[i:d.Eligible], permit) {
			return true
		}
		if r.retrySame(ctx) {
			i--
		}
	}
	return r.deliverDeferred(ctx)
}

// tryOne makes an attempt at the first of the candidates, hedged with the others
// where the pool wants it. It reports whether the caller has its response.
func (r *run) tryOne(ctx context.Context, candidates []balancer.Candidate, permit health.Permit) bool {
	if h := r.hedging(len(candidates)); h != nil {
		return r.tryHedged(ctx, candidates, permit, h)
	}
	b := candidates[0].Backend
	class, done := r.attempt(ctx, b, permit)
	r.recordFailure(b, class)
	return done
}

func (r *run) recordFailure(b *balancer.Backend, class health.OutcomeClass) {
	r.lastFailed = class == health.Failed
	if r.lastFailed || class == health.Misconfigured {
		r.failed = append(r.failed, b.Slot)
	}
}

// acquire asks for an attempt. Reading stored data uses no capacity, and needs no
// permission.
func (r *run) acquire(b *balancer.Backend) (health.Permit, bool) {
	if r.readsStored() {
		return health.Permit{Slot: b.Slot}, true
	}
	return r.Health.Acquire(b.Slot)
}

// readsStored reports whether the request reads what is stored. Such requests
// neither ask for nor report health.
func (r *run) readsStored() bool { return r.request.Operation.State.Stored() }
