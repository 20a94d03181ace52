package replay

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// call is one request: it does what its plan asks for, as proxy.Proxy does.
type call struct {
	w        *world
	i        *instance
	x        *Record
	consumer *consumer.Consumer
	request  *proxy.Request
	plan     *proxy.Plan
	held     holding // of the limits
	began    time.Time
	tries    []attempt
	winner   int // the attempt that answers; -1 = none yet
	waits    int // counts them
	waited   time.Duration
	first    time.Duration // from the arrival to the first content
	expiring bool
	over     bool
	done     bool
}

type attempt struct {
	backend *balancer.Backend
	pool    *balancer.Pool
	permit  health.Permit
	began   time.Time
	charged int // tokens, by its deployment
	ended   bool
	outcome health.Outcome
	status  int
}

// chat is the operation that all requests are taken for: they use tokens, and store
// nothing.
var chat = *operations.ByName("chat")

// bytesPerToken is how many bytes of a prompt a token is, as requests are estimated.
const bytesPerToken = 4

func (w *world) arrive(x *Record) {
	who := w.consumers[min(int(x.Consumer), len(w.consumers)-1)]
	pools := w.pools[x.Model]
	switch {
	case len(pools) == 0:
		w.tally.refuse(w, x, "no backend serves the model "+w.log.Models.name(x.Model))
		return
	case !who.MayUse(pools[0].Model):
		w.tally.refuse(w, x, "model not allowed")
		return
	}
	c := &call{w: w, i: w.instances[w.random.IntN(len(w.instances))], x: x, consumer: who, began: w.time(), winner: -1}
	c.request = &proxy.Request{
		Operation: chat, Method: http.MethodPost, Model: pools[0].Model, Consumer: who, Received: c.began, Tokens: int64(x.Prompt) + int64(x.Completion),
		Parsed: request.ParsedRequest{Stream: x.Stream, PromptBytes: bytesPerToken * int64(x.Prompt)},
	}
	pools, err := w.limits.reserve(c, pools)
	if err != nil {
		w.tally.refuse(w, x, err.Error())
		return
	}
	w.underWay++
	c.plan = proxy.NewPlan(&c.i.env, pools, c.request)
	c.step(proxy.Event{Kind: proxy.Begin})
}

func (c *call) step(e proxy.Event) {
	if c.done {
		return
	}
	e.Over = c.over
	a := c.plan.Step(c.w.time(), e)
	switch a.Kind {
	case proxy.Send:
		c.send(&a)
	case proxy.GiveUp:
		c.end(a.Try, health.Outcome{Class: health.Failed, Reason: "silent, given up"}, 0, false)
	case proxy.Wait:
		c.wait(&a)
	case proxy.Refresh: // the view is never old: the table is there
		c.step(proxy.Event{Kind: proxy.Refreshed})
	case proxy.AskFallback:
		c.step(proxy.Event{Kind: proxy.FallbackDecided, Refused: !c.held.mayFallBack(c, a.Pool)})
	case proxy.DeliverKept:
		c.step(proxy.Event{Kind: proxy.Delivered, Committed: true})
	case proxy.Finish:
		c.finish(&a)
	case proxy.Await:
	}
}

func (c *call) wait(a *proxy.Action) {
	c.waits++
	wait, since := c.waits, c.w.time()
	wake := func() {
		if c.waits == wait {
			c.waits++
			c.waited += c.w.time().Sub(since)
			c.step(proxy.Event{Kind: proxy.Woken})
		}
	}
	c.w.after(a.Until.Sub(since), wake)
	if a.Ticket != nil {
		a.Ticket.OnWake(func() { c.w.after(0, wake) })
	}
	c.expireInTime()
}

// refusalTime is how long a backend takes to refuse a request.
const refusalTime = 10 * time.Millisecond

func (c *call) send(a *proxy.Action) {
	w, d := c.w, c.w.slots[a.Backend.Slot]
	c.tries = append(c.tries, attempt{backend: a.Backend, pool: a.Pool, permit: a.Permit, began: w.time()})
	c.i.env.Load.Begin(a.Backend.Slot)
	if a.Permit.Probe && !c.renew(a.Try) {
		return
	}
	c.watch(a.Try, a.LookAfter)
	if a.HedgeAfter > 0 {
		w.after(a.HedgeAfter, func() { c.stepWhileWaiting(a.Try, proxy.HedgeDue) })
	}
	charged := d.tokensOf(c.x)
	wait, limit := d.admit(w.time(), charged)
	if limit != "" {
		w.tally.throttled(d)
		o := d.refusal(w.time(), c.x, wait, limit)
		w.after(refusalTime, func() { c.end(a.Try, o, http.StatusTooManyRequests, false) })
		return
	}
	c.tries[a.Try].charged = charged
	first, total := w.times.of(c.x, d.kind, w.random)
	w.after(first, func() { c.answer(a.Try, total-first) })
}

// tokensOf is what the deployment charges for the request.
func (d *deployment) tokensOf(x *Record) int {
	if d.kind == payAsYouGo {
		return int(x.Prompt) + int(x.Completion)
	}
	return int(x.Prompt) - int(x.Cached) + int(d.weight*float64(x.Completion))
}

// admit charges a request to the deployment, or returns which limit refuses it, and for
// how long.
func (d *deployment) admit(now time.Time, tokens int) (wait time.Duration, limit string) {
	if wait, ok := d.AdmitRequest(now, &d.Deployment); !ok {
		return wait, "call"
	}
	if wait, ok := d.AdmitTokens(now, &d.Deployment, tokens); !ok {
		return wait, "token"
	}
	return 0, ""
}

// refusal is what a 429 of the deployment means. Only at the classic address it tells
// which limit was reached.
func (d *deployment) refusal(now time.Time, x *Record, wait time.Duration, limit string) health.Outcome {
	if !x.Classic {
		limit = "token"
	}
	header := http.Header{
		"Retry-After":    {strconv.Itoa(max(1, int((wait+time.Second-1)/time.Second)))},
		"Retry-After-Ms": {strconv.FormatInt(max(1, (wait+time.Millisecond-1).Milliseconds()), 10)},
	}
	body := fmt.Sprintf(`{"error":{"code":"429","message":"Your requests have exceeded %s rate limit."}}`, limit)
	o := classify.Status(http.StatusTooManyRequests, header, []byte(body), now, d.policy)
	o.Status = http.StatusTooManyRequests
	return o
}

// signals are what the headers of an answer report.
func (d *deployment) signals(now time.Time) health.Signals {
	s := health.NoSignals()
	if !d.rates {
		return s
	}
	if d.kind == provisioned {
		s.Utilization = d.Report(now).Utilization
	} else if d.TokensPerMinute > 0 {
		s.LimitTokens, s.RemainingTokens = int64(d.TokensPerMinute), int64(d.TokensLeft(now, &d.Deployment))
	}
	return s
}

// renew renews the lease of a probe for as long as it is under way.
func (c *call) renew(try int) bool {
	t := &c.tries[try]
	if t.ended {
		return true
	}
	left, ok := c.i.RenewProbe(t.permit)
	if !ok {
		t.ended = true
		c.i.env.Load.End(t.backend.Slot)
		c.i.Release(t.permit)
		c.step(proxy.Event{Kind: proxy.AttemptEnded, Try: try, NotSent: true})
		return false
	}
	c.w.after(left, func() { c.renew(try) })
	return true
}

// watch looks at an attempt that is late.
func (c *call) watch(try int, silence time.Duration) {
	if silence <= 0 {
		return
	}
	c.w.after(silence, func() {
		if c.stepWhileWaiting(try, proxy.AttemptLate) {
			c.watch(try, proxy.LookAgain)
			c.expireInTime()
		}
	})
}

// stepWhileWaiting gives the plan an event of an attempt that nobody has answered yet.
func (c *call) stepWhileWaiting(try int, kind proxy.EventKind) bool {
	if c.tries[try].ended || c.winner >= 0 || c.done {
		return false
	}
	c.step(proxy.Event{Kind: kind, Try: try})
	return true
}

// answer is the first content of an answer, and a while later its end.
func (c *call) answer(try int, rest time.Duration) {
	t := &c.tries[try]
	if t.ended || c.winner >= 0 || c.over {
		return
	}
	d, now := c.w.slots[t.backend.Slot], c.w.time()
	served := health.Outcome{Signals: d.signals(now)}
	c.i.ReportSignals(t.permit.Slot, served.Signals)
	c.plan.Judge(now, try, served, http.StatusOK)
	c.winner, c.first = try, now.Sub(c.began)
	c.i.ReportAnswered(t.permit)
	c.step(proxy.Event{Kind: proxy.AttemptAnswered, Try: try})
	for other := range c.tries {
		if other != try {
			c.end(other, health.Outcome{Class: health.Abandoned, Reason: "another attempt won"}, 0, false)
		}
	}
	served.Answered = true
	c.w.after(rest, func() { c.end(try, served, http.StatusOK, true) })
}

func (c *call) end(try int, o health.Outcome, status int, committed bool) {
	t := &c.tries[try]
	if t.ended {
		return
	}
	o.Tokens = c.request.Tokens
	if o.Class == health.Throttled && t.backend.Deployment == "" {
		o.Model = strings.ToLower(c.request.Model)
	}
	t.ended, t.outcome, t.status = true, o, status
	d := c.w.slots[t.backend.Slot]
	if t.charged > 0 && !committed { // no answer was generated to its end
		d.Settle(c.w.time(), &d.Deployment, t.charged, int(c.x.Prompt-c.x.Cached))
	}
	c.i.env.Load.End(t.backend.Slot)
	c.i.ReportOutcome(t.permit, o)
	c.step(proxy.Event{Kind: proxy.AttemptEnded, Try: try, Committed: committed, Status: status, Outcome: o})
}

// expireInTime ends the request when its time to the first byte is over.
func (c *call) expireInTime() {
	if c.expiring {
		return
	}
	c.expiring = true
	c.w.at(c.began.Add(responseTimeout).UnixNano(), func() {
		if c.done || c.winner >= 0 {
			return
		}
		c.over = true
		for try := range c.tries {
			c.end(try, health.Outcome{Class: health.Abandoned, Reason: "timeout"}, 0, false)
		}
		c.step(proxy.Event{Kind: proxy.Woken})
	})
}

// finish ends the request.
func (c *call) finish(a *proxy.Action) {
	c.done = true
	c.w.underWay--
	result := c.result(a)
	c.held.settle(c, result)
	if a.Err != nil || c.winner < 0 {
		c.w.tally.refuse(c.w, c.x, reasonOf(a.Err))
	} else {
		c.w.tally.serve(c, result)
	}
	c.w.tally.wait(c.waited)
}

// result is what became of the request, as the program records it.
func (c *call) result(a *proxy.Action) *proxy.Result {
	r := &proxy.Result{Pool: c.plan.Pool(), Decision: c.plan.Decision(), Waited: c.waited, Err: a.Err}
	for i := range c.tries {
		t := &c.tries[i]
		r.Attempts = append(r.Attempts, proxy.Attempt{Backend: t.backend, Start: t.began, Outcome: t.outcome, Status: t.status, Duration: c.w.time().Sub(t.began)})
	}
	if c.winner >= 0 {
		t := &c.tries[c.winner]
		r.ServedBy, r.Pool = t.backend, t.pool
		r.Delivery = proxy.Delivery{Committed: true, Usage: c.x.tokens(), FirstToken: c.began.Add(c.first), FinishReason: "stop"}
	}
	return r
}
