package proxy

import (
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
)

// Plan decides what is done for one request: which backend is tried next and as
// what, what is waited for, and why it is given up. It is a step function: it reads
// no clock, starts no goroutine and never blocks. [Proxy.Do] drives it with timers
// and connections; a simulation drives it in virtual time:
//
//	p := NewPlan(environment, pools, request)
//	a := p.Step(now, Event{Kind: Begin})
//
// and then does what each Action asks for, and steps again with the event that
// follows, one call at a time, in order of time:
//
//   - Send: make the attempt, and schedule AttemptLate after LookAfter, again each
//     LookAgain later while nothing is answered, and HedgeDue after HedgeAfter; 0 =
//     never. Its first content is AttemptAnswered, for
//     which Health must have got ReportAnswered; its end is AttemptEnded, for which
//     it must have got ReportOutcome. Before a response is delivered, Judge says
//     whether it is. When one of two attempts was answered, the other ends.
//   - GiveUp: end that attempt, as one without content in time; AttemptEnded follows.
//   - Wait: step with Woken at Until, or when Ticket wakes, whichever is first.
//   - Refresh: step with Refreshed when HealthSource.AwaitRefresh has returned.
//   - Deliver: deliver the response that was kept of that attempt, then Delivered.
//   - AskFallback: step with FallbackDecided when Request.Fallback has answered.
//   - Await: nothing; an attempt is under way, whose event is next.
//   - Finish: the request is over.
//
// An event with Over set means that the caller left or the time is spent: nothing
// more is sent.
type Plan struct {
	env      *Environment
	request  *Request
	kind     latency.Kind
	pools    []*balancer.Pool
	at       int // of the pool being tried
	reached  int // of the last pool that may serve, as far as was asked
	view     *health.Snapshot
	decision balancer.Decision // of the pool being tried
	next     int               // candidate
	first    balancer.Decision // the first decision, for the log
	tries    []try

	sent        bool // since the last decision
	over        bool // the caller left, or the time is spent
	stop        bool // nothing may be sent any more: the request may have been received and acts
	answered    bool // an attempt shows content
	committed   bool // the caller has its response
	hedged      bool
	refreshed   bool
	repeats     int
	trialFailed bool // one of its own, or one it waited for
	noSeat      bool // its seat went to another request
	again       int  // the attempt whose backend is asked again; -1 = none
	askedAgain  bool
	deferred    int // the attempt whose response is delivered when no other serves; -1 = none
	wholeGroup  bool
	filtered    bool // the content filter refused the request: no other backend of the pool is asked
	refused     int  // the attempt whose response says that the operation is not there, and which is for the caller; -1 = none

	recalled bool          // refusals are known
	recall   []refusal     // what every backend lately said to such a request
	spared   []health.Slot // which are not asked: they said the same as this request's latest refusal

	wait     pendingWait
	admitted *Seat  // of the throttled pool that it may try
	another  func() // ends the grant of a second attempt at the same time; nil = there is none
	alone    bool   // no second attempt was granted
	waited   time.Duration
	waits    int

	candidates [4]balancer.Candidate
	few        [2]try
}

// Environment is what the plans of all requests share. None of it blocks or reads a
// clock.
type Environment struct {
	Health     PlanHealth
	Latency    *latency.Tracker // nil = nothing is known
	Load       *Load
	RoundRobin *RoundRobin
	Hedges     *Hedges // nil = no hedging by latency
	Trials     *Trials
	Queue      *WaitQueue
	Operations *OperationCircuits
	Rand       func() float64 // in [0, 1)
	MaxWait    time.Duration

	ResponseTimeout time.Duration // from Request.Received to the first byte; 0 = none
}

// PlanHealth is what a plan asks of and reports to [Health].
type PlanHealth interface {
	Snapshot() *health.Snapshot
	RequestProbe(slot health.Slot)
	Acquire(slot health.Slot, consumer string) (health.Permit, bool)
	AcquireTrial(slot health.Slot) (health.Permit, bool)
	ReportSilent(t health.Permit)
	TakeBack(failed []health.Permit)
}

// EventKind is what happened.
type EventKind uint8

// The events.
const (
	Begin           EventKind = iota
	AttemptAnswered           // its first content was delivered
	AttemptLate               // its LookAfter has passed, or LookAgain since the last one
	HedgeDue                  // its HedgeAfter has passed
	AttemptEnded
	Woken     // the wait ended
	Refreshed // the view of the shared state is as new as it gets
	Delivered // the kept response: with Committed false it was too late
	FallbackDecided
)

// Event is an input of a plan.
type Event struct {
	Kind      EventKind
	Try       int // of the events of an attempt
	Over      bool
	NotSent   bool // AttemptEnded: nothing was sent
	Refused   bool // FallbackDecided: it may not serve
	Committed bool // AttemptEnded, Delivered: the caller has its response
	Status    int  // AttemptEnded: of the response; 0 = none
	Outcome   health.Outcome
}

// ActionKind is what is to be done.
type ActionKind uint8

// The actions.
const (
	Await ActionKind = iota
	Send
	GiveUp
	Wait
	Refresh
	DeliverKept
	AskFallback // whether Pool may serve
	Finish
)

// SendKind is why a backend is tried.
type SendKind uint8

// The reasons.
const (
	InOrder  SendKind = iota // it is next
	AsHedge                  // the attempt under way is slow
	AsRepeat                 // it failed this request, its circuit is closed, and nobody else is left; or it hung, and answers again
	AsTrial                  // its circuit is open, and nobody else is left
)

// Action is an output of a plan.
type Action struct {
	Kind       ActionKind
	Try        int // of Send, GiveUp and DeliverKept; of Finish with ErrRefused
	As         SendKind
	Pool       *balancer.Pool
	Backend    *balancer.Backend
	Permit     health.Permit
	LookAfter  time.Duration // 0 = never
	Silence    time.Duration // from when on the attempt is silent
	HedgeAfter time.Duration // 0 = never
	Until      time.Time     // of Wait
	Ticket     Ticket        // of Wait; nil = nothing but Until
	Err        error         // of Finish; nil = served
	RetryAt    time.Time     // of Finish
	TooLarge   bool          // of Finish
	Fence      Fence         // of Finish
}

// Ticket wakes a request that waits.
type Ticket interface {
	// OnWake sets what is called when the wait is over before its end, at once when
	// it is already. The function must not block.
	OnWake(wake func())
}

// Judgment is what is done with a response.
type Judgment uint8

// The judgments.
const (
	DeliverNow Judgment = iota
	Keep                // until no other backend serves
	Discard
)

// try is one attempt.
type try struct {
	backend   *balancer.Backend
	pool      *balancer.Pool
	permit    health.Permit
	as        SendKind
	start     time.Time
	endedAt   time.Time
	lookAt    time.Time // when AttemptLate is due
	status    int
	outcome   health.Outcome
	ended     bool
	notSent   bool
	answered  bool
	second    bool            // its request was late already
	silent    bool            // it was past its threshold, and counted
	late      bool            // no more is expected of it: another backend is asked
	hung      bool            // and its backend answered nobody after it was
	overdue   bool            // it is, and counts as under way
	since     latency.Overdue // with overdue
	exclusive bool            // it has the only trial of its slot
}

// NewPlan returns the plan of a request: pools are that of its model and those of the
// fallbacks, in order.
func NewPlan(env *Environment, pools []*balancer.Pool, r *Request) *Plan {
	p := &Plan{}
	p.init(env, pools, r)
	return p
}

func (p *Plan) init(env *Environment, pools []*balancer.Pool, r *Request) {
	p.env, p.request, p.pools, p.kind = env, r, pools, r.kind()
	p.again, p.deferred, p.refused = -1, -1, -1
	p.tries = p.few[:0]
}

// Step takes an event and returns what is to be done. Events come one at a time.
func (p *Plan) Step(now time.Time, e Event) Action {
	p.over = p.over || e.Over
	switch e.Kind {
	case Begin:
		p.enter(now, 0)
	case AttemptAnswered:
		p.answer(now, e.Try)
		return Action{}
	case AttemptLate:
		return p.look(now, e.Try)
	case HedgeDue:
		return p.hedgeByLatency(now, e.Try)
	case AttemptEnded:
		return p.end(now, &e)
	case Woken:
		return p.woken(now)
	case Refreshed:
		p.decide(now)
	case FallbackDecided:
		return p.fallbackDecided(now, e.Refused)
	case Delivered:
		p.committed = e.Committed
		p.over = true
		return p.finish(now)
	}
	return p.advance(now)
}

// Decision is the first one.
func (p *Plan) Decision() balancer.Decision { return p.first }

// Pool is the pool that was tried last.
func (p *Plan) Pool() *balancer.Pool { return p.pools[p.at] }

// Waited is how long the request has waited.
func (p *Plan) Waited() time.Duration { return p.waited }

// enter begins with a pool.
func (p *Plan) enter(now time.Time, at int) {
	p.at, p.filtered = at, false
	p.decide(now)
}

// decide orders the candidates of the pool anew, and requests a probe of those with
// an open circuit.
func (p *Plan) decide(now time.Time) {
	var dst []balancer.Candidate
	if p.first.Candidates == nil {
		dst = p.candidates[:0]
	}
	from := p.pools[p.at]
	p.view = p.env.Health.Snapshot()
	p.decision = from.Decide(p.query(from, now), p.view, dst)
	p.next, p.sent = 0, false
	if p.first.Candidates == nil {
		p.first = p.decision
	}
	for i := range p.decision.Candidates {
		if c := &p.decision.Candidates[i]; c.Reason == health.SkipOpen || c.Reason == health.SkipProbing {
			p.env.Health.RequestProbe(c.Backend.Slot)
		}
	}
}

func (p *Plan) query(from *balancer.Pool, now time.Time) *balancer.Query {
	r := p.request
	q := &balancer.Query{
		Now: now, Rand: p.env.Rand, Tokens: r.Tokens, Model: strings.ToLower(r.Model), Affinity: r.Affinity, Load: p.env.Load,
		PinnedTo: r.pinnedBackend(), ReadsStored: r.readsStored(), OpenAIOnly: r.Operation.CompatibleOnly,
	}
	if p.env.Operations.unfit.Load() > 0 {
		q.Unfit = func(slot health.Slot) (time.Time, string, bool) {
			return p.env.Operations.unfitUntil(slot, operationOf(r), r.consumerName(), now)
		}
	}
	if from.Strategy == balancer.RoundRobin {
		q.Sequence = p.env.RoundRobin.next(from)
	}
	q.Geographies, q.MinPriority = r.Consumer.Bounds()
	return q
}

// advance tries the next candidate; without one, what is done when none is left.
func (p *Plan) advance(now time.Time) Action {
	for !p.stopped() && !p.filtered && p.next < p.decision.Eligible {
		b := p.decision.Candidates[p.next].Backend
		p.next++
		if !p.mayTry(b) {
			continue
		}
		if permit, ok := p.acquire(b); ok {
			return p.send(now, b, permit, InOrder)
		}
	}
	if p.underWay() > 0 {
		return Action{}
	}
	return p.exhausted(now)
}

// exhausted is what is done when no candidate is left and nothing is under way.
func (p *Plan) exhausted(now time.Time) Action {
	switch {
	case p.filtered && !p.stopped() && p.at+1 < len(p.pools):
		return p.fallBack(now)
	case p.deliverable():
		return Action{Kind: DeliverKept, Try: p.deferred}
	case p.stopped():
		return p.finish(now)
	case !p.refreshed && p.skippedByHealth():
		p.refreshed = true
		return Action{Kind: Refresh}
	case p.anotherRound(now):
		return p.advance(now)
	}
	if a, ok := p.waitForPool(now); ok {
		return a
	}
	if p.at+1 < len(p.pools) {
		return p.fallBack(now)
	}
	return p.lastResort(now)
}

// stopped reports whether nothing may be sent any more.
func (p *Plan) stopped() bool {
	return p.over || p.stop || p.answered || p.request.StreamedBody.Started()
}

// skippedByHealth reports whether a candidate was skipped for what the shared state
// says of it.
func (p *Plan) skippedByHealth() bool {
	for i := range p.decision.Candidates {
		c := &p.decision.Candidates[i]
		if slices.Contains(p.spared, c.Backend.Slot) {
			continue
		}
		switch c.Reason {
		case health.SkipDrained, health.SkipOpen, health.SkipProbing, health.SkipThrottled:
			return true
		case health.NotSkipped:
		}
	}
	return false
}

func (p *Plan) underWay() int {
	n := 0
	for i := range p.tries {
		if !p.tries[i].ended {
			n++
		}
	}
	return n
}
