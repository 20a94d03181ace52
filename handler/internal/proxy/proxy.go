package proxy

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health/latency"
)

// Proxy forwards requests. It is safe for concurrent use; its fields are set
// before the first request and not after.
type Proxy struct {
	Health     Health
	Sender     Sender
	Load       *Load
	RoundRobin *RoundRobin
	Hedges     *Hedges          // nil = no hedging by latency
	Latency    *latency.Tracker // nil = what is usual is unknown
	Queue      *WaitQueue
	Trials     Trials
	Operations OperationCircuits
	Now        func() time.Time
	Rand       func() float64 // in [0, 1)

	MaxWait           time.Duration // longest wait for a throttled pool, or for the trial of another request; 0 = none
	ResponseTimeout   time.Duration // from Request.Received to the first byte for the caller, over all attempts and waits; 0 = none
	FirstTokenTimeout time.Duration // of an attempt of a stream, unless the pool has its own or three times the usual is longer; 0 = none
}

// ErrProbeLost is returned by the beforeSend of a [Sender] when this instance no longer
// has the lease of the probe.
var ErrProbeLost = errors.New("proxy: the lease of the probe ended")

// Do sends the request to the backends of the pools until one serves it: those
// of the model's own pool, then those of its fallbacks. The response went
// through deliver, or Result.Err is why none did.
func (p *Proxy) Do(ctx context.Context, pools []*balancer.Pool, r *Request, deliver Deliver) *Result {
	run := &run{Proxy: p, request: r, deliver: deliver, began: p.Now(), result: &Result{Pool: pools[0]}}
	run.environment = p.Environment()
	run.plan.init(&run.environment, pools, r)
	ctx, cancel := run.startDeadline(ctx)
	defer cancel()
	run.ctx = ctx
	defer run.plan.endAnother()
	defer run.endWait(false)
	defer run.endSecond()
	run.follow()
	run.complete()
	return run.result
}

// Environment is what the plans of this proxy's requests share.
func (p *Proxy) Environment() Environment {
	return Environment{
		Health: p.Health, Latency: p.Latency, Load: p.Load, RoundRobin: p.RoundRobin, Hedges: p.Hedges,
		Trials: &p.Trials, Queue: p.Queue, Operations: &p.Operations, Rand: p.Rand, MaxWait: p.MaxWait, ResponseTimeout: p.ResponseTimeout,
	}
}

// run is one request being forwarded: it does what the plan asks for. Attempts run
// in the request's own goroutine. A hedge runs in that of the timer which found the
// first attempt slow; then there are two lines, and the plan tells either what is
// next.
type run struct {
	*Proxy
	ctx         context.Context
	request     *Request
	deliver     Deliver
	began       time.Time
	result      *Result
	environment Environment
	deadline    *time.Timer // to the first byte; nil = none
	late        atomic.Bool // a response came after the deadline

	mu     sync.Mutex // guards what follows, and result.Attempts
	met    bool       // the status line was sent, or is about to be, in time
	plan   Plan
	active []*attempt // under way
	winner *attempt   // the one that answers the caller
	second *line      // nil = there was no hedge
	kept   []keptResponse
}

// line is the second line of attempts.
type line struct {
	ended      chan struct{}
	cancel     context.CancelFunc
	last       Action // what the plan asked for at its end
	panicValue any    // of deliver
}

// step gives the plan an event.
func (r *run) step(e Event) Action {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stepLocked(e)
}

func (r *run) stepLocked(e Event) Action {
	e.Over = r.ctx.Err() != nil
	a := r.plan.Step(r.Now(), e)
	if a.Kind == Send {
		r.result.Pool = a.Pool
	}
	return a
}

// follow does what the plan asks for, to the end.
func (r *run) follow() {
	a := r.step(Event{Kind: Begin})
	r.result.Decision = r.plan.Decision()
	for {
		switch a.Kind {
		case Send:
			a = r.attempt(r.ctx, &a)
		case Await:
			a = r.awaitSecond()
		case Wait:
			r.sleep(&a)
			a = r.step(Event{Kind: Woken})
		case Refresh:
			r.Health.AwaitRefresh(r.ctx)
			a = r.step(Event{Kind: Refreshed})
		case AskFallback:
			a = r.step(Event{Kind: FallbackDecided, Refused: !r.request.Fallback(r.ctx, a.Pool)})
		case DeliverKept:
			a = r.step(Event{Kind: Delivered, Committed: r.deliverKept(a.Try)})
		case Finish, GiveUp:
			if a.Err != nil {
				r.setError(&a)
			}
			return
		}
	}
}

// sleep waits until the action's instant, or until its ticket wakes.
func (r *run) sleep(a *Action) {
	woken := make(chan struct{}, 1)
	if a.Ticket != nil {
		a.Ticket.OnWake(func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}
	timer := time.NewTimer(a.Until.Sub(r.Now()))
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
	case <-woken:
	case <-timer.C:
	}
}

// complete fills in what is known at the end.
func (r *run) complete() {
	r.result.Waited = r.plan.Waited()
	if r.second != nil {
		slices.SortStableFunc(r.result.Attempts, func(a, b Attempt) int {
			return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.try, b.try))
		})
	}
}

// startSecond runs a hedge in this goroutine, and what the plan asks for after it.
func (r *run) startSecond(ctx context.Context, l *line, a Action) {
	defer close(l.ended)
	defer l.cancel()
	defer func() { l.panicValue = recover() }()
	for a.Kind == Send {
		a = r.attempt(ctx, &a)
	}
	l.last = a
}

// awaitSecond waits for the second line and returns what is next.
func (r *run) awaitSecond() Action {
	r.mu.Lock()
	l := r.second
	r.mu.Unlock()
	<-l.ended
	if l.panicValue != nil {
		panic(l.panicValue) // in the goroutine of the request
	}
	return l.last
}

// endSecond ends the second line, if there is one: also after a panic.
func (r *run) endSecond() {
	r.mu.Lock()
	l := r.second
	r.mu.Unlock()
	if l != nil {
		l.cancel()
		<-l.ended
	}
}

// readsStored reports whether the request reads what is stored. Such requests
// neither ask for nor report health.
func (r *Request) readsStored() bool { return r.Operation.State.Stored() }
