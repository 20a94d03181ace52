package laws_test

import (
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// reaction is what a backend does with a request: nothing, or a response with this
// status after a while.
type reaction struct {
	hangs  bool
	status int
	after  time.Duration
	tokens int64         // of the request
	wait   time.Duration // that a 429 asks for
}

const usualTokens = 100

func (r *reaction) size() int64 {
	if r == nil || r.tokens == 0 {
		return usualTokens
	}
	return r.tokens
}

func (r *reaction) outcome() health.Outcome {
	switch {
	case r.status < 400:
		return health.Outcome{}
	case r.status == 429 && r.tokens > 0:
		return health.Outcome{Class: health.Throttled, Wait: 20 * time.Second, Limit: health.LimitTokens, Tokens: r.tokens, Signals: health.NoSignals(), Reason: "429 tokens"}
	case r.status == 429:
		return health.Outcome{Class: health.Throttled, Wait: r.wait, Signals: health.NoSignals(), Reason: "429"}
	case r.status == 401, r.status == 404:
		return health.Outcome{Class: health.Misconfigured, Reason: "401"}
	}
	return health.Outcome{Class: health.Failed, Reason: "500"}
}

// call is one request: it does what its plan asks for, as proxy.Proxy does.
type call struct {
	w       *world
	i       *instance
	plan    *proxy.Plan
	special *reaction // of every backend; nil = theirs
	began   time.Duration
	tries   []attempt
	winner  int // the attempt that answers; -1 = none yet
	waits   int // counts them
	over    bool
	done    bool
	err     error
	took    time.Duration // to the first content, or to its refusal
	caller  *consumer.Consumer
}

type attempt struct {
	slot     health.Slot
	as       proxy.SendKind
	permit   health.Permit
	ended    bool
	reported bool
	status   int
}

func (w *world) arrive(i *instance, caller *consumer.Consumer, special *reaction) {
	c := &call{w: w, i: i, began: w.now, winner: -1, special: special, caller: caller}
	w.calls = append(w.calls, c)
	w.in(i, 0, func() {
		c.plan = proxy.NewPlan(&i.env, []*balancer.Pool{&w.pool}, plainRequest(caller, special.size()))
		i.after(callerTimeout, c.expire)
		c.step(proxy.Event{Kind: proxy.Begin})
	})
}

func (c *call) step(e proxy.Event) {
	if c.done {
		return
	}
	e.Over = c.over
	a := c.plan.Step(c.i.now(), e)
	switch a.Kind {
	case proxy.Send:
		c.send(&a)
	case proxy.GiveUp:
		c.end(a.Try, health.Outcome{Class: health.Failed, Reason: "silent, given up"}, 0, false)
	case proxy.Wait:
		c.wait(&a)
	case proxy.Refresh:
		c.refresh()
	case proxy.DeliverKept:
		c.step(proxy.Event{Kind: proxy.Delivered, Committed: true})
	case proxy.Finish:
		c.done, c.err = true, a.Err
		if c.took == 0 {
			c.took = c.w.now - c.began
		}
	case proxy.Await, proxy.AskFallback: // its requests have no limits
	}
}

func (c *call) wait(a *proxy.Action) {
	c.waits++
	wait := c.waits
	wake := func() {
		if c.waits == wait {
			c.waits++
			c.step(proxy.Event{Kind: proxy.Woken})
		}
	}
	c.i.after(a.Until.Sub(c.i.now()), wake)
	if a.Ticket != nil {
		a.Ticket.OnWake(func() { c.w.in(c.i, 0, wake) })
	}
}

// refresh is Replica.AwaitRefresh in virtual time.
func (c *call) refresh() {
	deadline, asked := c.w.now+100*time.Millisecond, c.w.now
	var look func()
	look = func() {
		if c.i.read < asked && c.w.now < deadline {
			c.w.in(c.i, time.Millisecond, look)
			return
		}
		c.step(proxy.Event{Kind: proxy.Refreshed})
	}
	if c.w.now-c.i.read > 5*time.Second {
		c.i.pacer.Wake()
		look()
		return
	}
	c.step(proxy.Event{Kind: proxy.Refreshed})
}

func (c *call) send(a *proxy.Action) {
	w := c.w
	b := w.deployed[a.Backend.Slot]
	c.tries = append(c.tries, attempt{slot: a.Backend.Slot, as: a.As, permit: a.Permit})
	c.i.env.Load.Begin(a.Backend.Slot)
	if a.Permit.Probe && !c.renew(a.Try) {
		return
	}
	b.sends = append(b.sends, send{w.now, c.i.number, a.Try == 0, a.As, a.Permit})
	c.watch(a.Try, a.LookAfter)
	r := w.react(b, c)
	switch {
	case r.hangs:
	case r.status < 400:
		w.in(nil, r.after, func() { c.arriveAt(a.Try, &r) })
	default:
		w.in(c.i, r.after, func() { c.respond(a.Try, &r) })
	}
}

// arriveAt is the answer at the instance: one that is suspended finds most
// connections reset when it continues.
func (c *call) arriveAt(try int, r *reaction) {
	if c.i.frozen > c.w.now && c.w.happens(.9) {
		r.status = 500
		c.w.in(c.i, 0, func() { c.respond(try, r) })
		return
	}
	c.w.in(c.i, 0, func() { c.answer(try, r) })
}

// react is what the backend does with the request.
func (w *world) react(b *backend, c *call) reaction {
	switch {
	case c.i.number < b.brokenAt:
		return reaction{status: 503, after: w.between(time.Millisecond, 20*time.Millisecond)}
	case w.now < b.throttledUntil:
		return reaction{status: 429, after: 5 * time.Millisecond, wait: b.throttledUntil - w.now}
	case c.special != nil:
		return *c.special
	case len(b.next) > 0:
		status := b.next[0]
		b.next = b.next[1:]
		return reaction{status: status, after: 20 * time.Millisecond}
	case w.happens(b.hangs):
		return reaction{hangs: true}
	case w.happens(b.fails) && (b.failsFor == nil || b.failsFor(c.i)):
		return reaction{status: 500, after: w.between(time.Millisecond, min(b.takes, 100*time.Millisecond))}
	}
	return reaction{status: 200, after: w.spread(b.takes)}
}

// renew renews the lease of a probe for as long as it is under way.
func (c *call) renew(try int) bool {
	t := &c.tries[try]
	if t.ended || t.reported {
		return true
	}
	left, ok := c.i.RenewProbe(t.permit)
	if !ok {
		t.ended, t.reported = true, true
		c.i.env.Load.End(t.slot)
		c.i.Release(t.permit)
		c.step(proxy.Event{Kind: proxy.AttemptEnded, Try: try, NotSent: true})
		return false
	}
	c.i.after(left, func() { c.renew(try) })
	return true
}

func (c *call) watch(try int, silence time.Duration) {
	if silence <= 0 {
		return
	}
	c.i.after(silence, func() {
		if c.w.mutant != noHedges && !c.tries[try].ended && c.winner < 0 && !c.done {
			c.step(proxy.Event{Kind: proxy.AttemptLate, Try: try})
			c.watch(try, proxy.LookAgain)
		}
	})
}

// respond is an error response.
func (c *call) respond(try int, r *reaction) {
	if c.tries[try].ended || c.winner >= 0 {
		return
	}
	if r.status == 401 || r.status == 404 {
		c.plan.Judge(c.i.now(), try, r.outcome(), r.status)
	}
	c.end(try, r.outcome(), r.status, false)
}

// answer is the first content of a response, and a little later its end.
func (c *call) answer(try int, r *reaction) {
	if c.tries[try].ended || c.winner >= 0 || c.over {
		return
	}
	c.plan.Judge(c.i.now(), try, r.outcome(), r.status)
	c.winner, c.took = try, c.w.now-c.began
	c.i.ReportAnswered(c.tries[try].permit)
	c.step(proxy.Event{Kind: proxy.AttemptAnswered, Try: try})
	for other := range c.tries {
		if other != try {
			c.end(other, health.Outcome{Class: health.Abandoned, Reason: "another attempt won"}, 0, false)
		}
	}
	end := health.Outcome{Answered: true}
	if share := c.w.deployed[c.tries[try].slot].breaks; share > 0 && c.w.happens(share) {
		end.Class, end.Reason = health.Failed, "stream broken"
	}
	c.w.in(c.i, c.w.streams+20*time.Millisecond, func() { c.end(try, end, r.status, true) })
}

func (c *call) end(try int, o health.Outcome, status int, committed bool) {
	t := &c.tries[try]
	if t.ended {
		return
	}
	t.ended, t.reported, t.status = true, true, status
	c.i.env.Load.End(t.slot)
	c.i.report(t.permit, o)
	c.step(proxy.Event{Kind: proxy.AttemptEnded, Try: try, Committed: committed, Status: status, Outcome: o})
}

// expire is the caller's timeout.
func (c *call) expire() {
	if c.done || c.winner >= 0 {
		return
	}
	c.over = true
	for try := range c.tries {
		c.end(try, health.Outcome{Class: health.Abandoned, Reason: "caller left"}, 0, false)
	}
	c.step(proxy.Event{Kind: proxy.Woken})
}

// refused reports whether the caller got no answer.
func (c *call) refused() bool { return !c.done || c.err != nil }

func refusals(calls []*call) (n int) {
	for _, c := range calls {
		if c.refused() {
			n++
		}
	}
	return n
}

// slowest is the time to first content that only this share of requests exceeds.
func slowest(calls []*call, share float64) time.Duration {
	var took []time.Duration
	for _, c := range calls {
		took = append(took, c.took)
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)-1-int(share*float64(len(took)))]
}
