package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
)

// Proxy tries the backends of a pool in order.
type Proxy struct {
	Keeper  Keeper
	Sender  Sender
	Load    *Load
	Turns   *Turns
	Budget  *Budget
	Hedges  *Hedges // nil = no second attempts
	Now     func() time.Time
	Chance  func() float64 // in [0, 1)
	Wait    WaitingRoom
	MaxWait time.Duration // longest stay in the waiting room; 0 = none
}

// WaitingRoom lets a request of this class wait for a throttled pool. It is
// false when ctx ended first, or when there was no seat.
type WaitingRoom func(ctx context.Context, class consumer.Class, d time.Duration) bool

// ErrProbeLost is what before returns when the lease of a probe ran out, or
// went to another instance, ahead of the first byte.
var ErrProbeLost = errors.New("proxy: the probe's lease is gone")

// Do carries the request to the first backend of the pools that serves it:
// the pool of its model, then those of its fallbacks. The answer went through
// deliver unless Result.Err says why not.
func (p *Proxy) Do(ctx context.Context, pools []*balancer.Pool, r *Request, deliver Deliver) *Result {
	p.Budget.Earn(p.Now())
	run := &run{Proxy: p, request: r, deliver: deliver, result: &Result{}}
	for _, from := range pools {
		run.result.Pool = from
		if run.through(ctx, from) {
			return run.result
		}
	}
	run.giveUp(ctx)
	return run.result
}

// run is one request on its way through the pools.
type run struct {
	*Proxy
	request *Request
	deliver Deliver
	result  *Result
	room    [4]balancer.Candidate
	failed  []health.Slot // not to be tried again for this request
	mu      sync.Mutex    // of aside
	aside   *aside
	last    outlook
	costly  bool // the last attempt failed: the next costs budget
	early   bool // what was just made was not known yet
	waited  bool // and was waited for, once
}

// through tries one pool, and again while its soonest reopening is worth the
// wait. It reports whether the request is finished with.
func (r *run) through(ctx context.Context, from *balancer.Pool) bool {
	first := r.decide(from, r.room[:0])
	if r.result.Decision.Candidates == nil {
		r.result.Decision = first
	}
	for d := first; ; d = r.decide(from, nil) {
		if r.along(ctx, d) {
			return true
		}
		if ctx.Err() != nil || !r.wait(ctx, from) || r.request.Tail.Spent() {
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
	d := from.Decide(r.query(from), r.Keeper.Look(), dst)
	for i := range d.Candidates {
		if c := &d.Candidates[i]; c.Reason == health.RefusedOpen || c.Reason == health.RefusedProbing {
			r.Keeper.Want(c.Backend.Slot)
		}
	}
	return d
}

func (r *run) query(from *balancer.Pool) *balancer.Query {
	q := &balancer.Query{
		Now: r.Now(), Chance: r.Chance, Tokens: r.request.Tokens, Affinity: r.request.Affinity, Load: r.Load,
		Holder: r.request.holder(), Stored: r.stored(), Foreign: r.request.Operation.Foreign,
	}
	if from.Strategy == balancer.RoundRobin {
		q.Turn = r.Turns.next(from)
	}
	if c := r.request.Consumer; c != nil {
		q.Geographies, q.MinPriority = c.Geographies, c.MinPriority
	}
	return q
}

// along tries the line of a decision from its head.
func (r *run) along(ctx context.Context, d balancer.Decision) bool {
	r.costly = false
	for i := 0; i < d.Line && ctx.Err() == nil && !r.request.Tail.Spent(); i++ {
		b := d.Candidates[i].Backend
		if slices.Contains(r.failed, b.Slot) || r.aside.covers(b) {
			continue
		}
		if r.costly && !r.Budget.Spend(r.Now()) {
			break
		}
		ticket, ok := r.enter(b)
		if !ok {
			continue
		}
		if r.one(ctx, d.Candidates[i:d.Line], ticket) {
			return true
		}
		if r.again(ctx) {
			i--
		}
	}
	return r.relayAside(ctx)
}

// one makes an attempt at the head of the line, and perhaps a second one
// beside it. It reports whether the caller has its answer.
func (r *run) one(ctx context.Context, line []balancer.Candidate, ticket health.Ticket) bool {
	if h := r.hedge(len(line)); h != nil {
		return r.race(ctx, line, ticket, h)
	}
	b := line[0].Backend
	verdict, done := r.attempt(ctx, b, ticket)
	r.note(b, verdict)
	return done
}

// note remembers what an attempt means for the next.
func (r *run) note(b *balancer.Backend, verdict health.Verdict) {
	r.costly = verdict == health.Failed
	if r.costly || verdict == health.Misconfigured {
		r.failed = append(r.failed, b.Slot)
	}
}

// enter asks leave for an attempt. Asking for what is held already is no
// matter of the backend's capacity, and needs none.
func (r *run) enter(b *balancer.Backend) (health.Ticket, bool) {
	if r.stored() {
		return health.Ticket{Slot: b.Slot}, true
	}
	return r.Keeper.Enter(b.Slot)
}

// stored reports whether the request asks for what is held already. Then the
// keeper is not asked, and not told.
func (r *run) stored() bool { return r.request.Operation.State.Stored() }
