package proxy_test

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// world drives the plans of many requests in virtual time, over backends that do what
// its behaviour says and a health whose circuits open after three failures in a row.
type world struct {
	now       time.Time
	random    *rand.Rand
	agenda    agenda
	sequence  int
	pool      *balancer.Pool
	env       proxy.Environment
	health    []health.Health
	inARow    []int
	behaviour func(slot int, sent int) reaction // of the nth request that is sent to a backend
	sentTo    []int
	answerIn  time.Duration // from the first content to the end
	requests  []*simulated
	takenBack int
	silent    int
	permits   uint64
	finished  func(*simulated)
	openAfter int // failures in a row; 0 = never

	fallback []*balancer.Pool

	noProbes  bool // a probe is another consumer's
	noBudgets bool // an agenda without the budgets of requests: time stands still after the last answer
}

// reaction is what a backend does with a request, and after what time.
type reaction struct {
	after   time.Duration
	outcome health.Outcome // Served = it answers
	hangs   bool
	status  int
}

type simulated struct {
	plan     *proxy.Plan
	request  *proxy.Request
	began    time.Time
	budget   time.Duration
	sends    []sentAttempt
	active   map[int]bool
	winner   int
	waiting  int // generation of the wait
	maxAlive int
	done     bool
	end      proxy.Action
	ended    time.Time
	over     bool
}

type sentAttempt struct {
	at      time.Time
	slot    health.Slot
	as      proxy.SendKind
	permit  health.Permit
	outcome health.Outcome
	status  int
	ended   bool
	endedAt time.Time
	silent  bool
	silence time.Duration
	waited  time.Duration // by its request, before
}

// heldUntil is when the attempt had ended, was answered, or was silent.
func (s *sentAttempt) heldUntil() time.Time {
	if end := s.at.Add(s.silence); s.endedAt.IsZero() || end.Before(s.endedAt) {
		return end
	}
	return s.endedAt
}

func newWorld(seed uint64, backends int) *world {
	w := &world{
		now: time.UnixMilli(1_700_000_000_000), random: rand.New(rand.NewPCG(seed, 7)),
		pool: &balancer.Pool{Model: "m"}, health: make([]health.Health, backends), inARow: make([]int, backends), sentTo: make([]int, backends),
		answerIn: 50 * time.Millisecond, openAfter: 3,
	}
	for i := range backends {
		w.pool.Backends = append(w.pool.Backends, balancer.Backend{Name: string(rune('a' + i)), Slot: health.Slot(i), Priority: 1 + i%2, Weight: 1, Deployment: "d"})
	}
	w.env = proxy.Environment{
		Health: w, Latency: latency.New(make([]int, backends)), Load: proxy.NewLoad(backends), RoundRobin: new(proxy.RoundRobin), Hedges: new(proxy.Hedges),
		Trials: new(proxy.Trials), Queue: new(proxy.WaitQueue), Operations: new(proxy.OperationCircuits), Rand: w.random.Float64, MaxWait: 2 * time.Second,
	}
	return w
}

// usual has every backend, or these, lately answered requests after this time.
func (w *world) usual(took time.Duration, slots ...health.Slot) {
	if len(slots) == 0 {
		for s := range w.health {
			slots = append(slots, health.Slot(s))
		}
	}
	for _, s := range slots {
		for range 25 {
			w.env.Latency.Record(s, 0, took)
		}
	}
}

func (w *world) Snapshot() *health.Snapshot {
	return &health.Snapshot{Slots: append([]health.Health{}, w.health...)}
}
func (w *world) RequestProbe(health.Slot) {}
func (w *world) ReportSilent(health.Permit) {
	w.silent++
}
func (w *world) TakeBack(failed []health.Permit) { w.takenBack += len(failed) }

func (w *world) permit(s health.Slot) health.Permit {
	w.permits++
	return health.Permit{ID: w.permits, Slot: s, Began: w.now}
}

func (w *world) Acquire(s health.Slot, _ string) (health.Permit, bool) {
	h := &w.health[s]
	return w.permit(s), h.SkipReason(w.now, 0) == health.NotSkipped && (!w.noProbes || !h.Probe)
}

func (w *world) AcquireTrial(s health.Slot) (health.Permit, bool) {
	t := w.permit(s)
	t.Trial = true
	return t, !w.health[s].Drained && !w.health[s].Throttle.Blocks(w.now, 0)
}

func (w *world) report(t health.Permit, o health.Outcome) {
	h := &w.health[t.Slot]
	switch o.Class {
	case health.Served:
		w.inARow[t.Slot] = 0
		h.State = health.Closed
	case health.Failed:
		w.inARow[t.Slot]++
		if w.openAfter > 0 && w.inARow[t.Slot] >= w.openAfter {
			h.State, h.Until = health.Open, w.now.Add(10*time.Second)
		}
	case health.Throttled:
		h.Throttle = health.Throttle{Until: w.now.Add(o.Wait), Kind: o.Limit}
	case health.Misconfigured, health.Abandoned:
	}
}

// agenda is what happens later, in order of time.
type agenda []appointment

type appointment struct {
	at       time.Time
	sequence int
	do       func()
}

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at.Before(a[j].at) || a[i].at.Equal(a[j].at) && a[i].sequence < a[j].sequence
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func (w *world) at(t time.Time, do func()) {
	w.sequence++
	heap.Push(&w.agenda, appointment{t, w.sequence, do})
}

func (w *world) in(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

// run lets time pass until nothing is left to happen.
func (w *world) run() {
	for len(w.agenda) > 0 && (!w.noBudgets || !w.allDone()) {
		w.runOne()
	}
}

func (w *world) allDone() bool {
	for _, q := range w.requests {
		if !q.done {
			return false
		}
	}
	return true
}

func (w *world) runOne() {
	next := heap.Pop(&w.agenda).(appointment)
	if next.at.After(w.now) {
		w.now = next.at
	}
	next.do()
}

// arrive has a request arrive after a while.
func (w *world) arrive(in time.Duration, r *proxy.Request) *simulated {
	q := &simulated{request: r, active: map[int]bool{}, winner: -1, budget: 220 * time.Second}
	w.requests = append(w.requests, q)
	w.in(in, func() {
		q.began = w.now
		q.plan = proxy.NewPlan(&w.env, append([]*balancer.Pool{w.pool}, w.fallback...), r)
		if !w.noBudgets {
			w.in(q.budget, func() { w.expire(q) })
		}
		w.act(q, q.plan.Step(w.now, proxy.Event{Kind: proxy.Begin}))
	})
	return q
}

func plain() *proxy.Request { return &proxy.Request{} }

func acting() *proxy.Request {
	return &proxy.Request{Parsed: request.ParsedRequest{Background: true}}
}

func (w *world) step(q *simulated, e proxy.Event) {
	if q.done {
		return
	}
	e.Over = q.over
	w.act(q, q.plan.Step(w.now, e))
}

// act does what a plan asks for.
func (w *world) act(q *simulated, a proxy.Action) {
	switch a.Kind {
	case proxy.Send:
		w.send(q, &a)
	case proxy.GiveUp:
		w.endAttempt(q, a.Try, health.Outcome{Class: health.Failed, Reason: "silent, given up"}, 0, false)
	case proxy.Wait:
		q.waiting++
		generation := q.waiting
		wake := func() {
			if q.waiting == generation {
				q.waiting++
				w.step(q, proxy.Event{Kind: proxy.Woken})
			}
		}
		w.at(a.Until, wake)
		if a.Ticket != nil {
			a.Ticket.OnWake(func() { w.in(0, wake) })
		}
	case proxy.Refresh:
		w.in(0, func() { w.step(q, proxy.Event{Kind: proxy.Refreshed}) })
	case proxy.DeliverKept:
		w.step(q, proxy.Event{Kind: proxy.Delivered, Committed: true})
	case proxy.Finish:
		q.done, q.end, q.ended = true, a, w.now
		if w.finished != nil {
			w.finished(q)
		}
	case proxy.AskFallback:
		w.step(q, proxy.Event{Kind: proxy.FallbackDecided, Refused: !q.request.Fallback(context.Background(), a.Pool)})
	case proxy.Await:
	}
}

func (w *world) send(q *simulated, a *proxy.Action) {
	q.sends = append(q.sends, sentAttempt{at: w.now, slot: a.Backend.Slot, as: a.As, permit: a.Permit, silence: a.Silence, waited: q.plan.Waited()})
	q.active[a.Try] = true
	w.env.Load.Begin(a.Backend.Slot)
	q.maxAlive = max(q.maxAlive, len(q.active))
	slot := int(a.Backend.Slot)
	r := w.behaviour(slot, w.sentTo[slot])
	w.sentTo[slot]++
	try := a.Try
	if a.LookAfter > 0 {
		w.in(a.LookAfter, func() { w.silence(q, try) })
	}
	if a.HedgeAfter > 0 {
		w.in(a.HedgeAfter, func() { w.step(q, proxy.Event{Kind: proxy.HedgeDue, Try: try}) })
	}
	switch {
	case r.hangs:
	case r.outcome.Class == health.Served:
		w.in(r.after, func() { w.answer(q, try, r) })
	default:
		w.in(r.after, func() { w.endAttempt(q, try, r.outcome, r.status, false) })
	}
}

func (w *world) silence(q *simulated, try int) {
	if q.active[try] && !q.done {
		before := w.silent
		w.step(q, proxy.Event{Kind: proxy.AttemptLate, Try: try})
		q.sends[try].silent = q.sends[try].silent || w.silent > before
		w.in(proxy.LookAgain, func() { w.silence(q, try) })
	}
}

func (w *world) answer(q *simulated, try int, r reaction) {
	if !q.active[try] || q.winner >= 0 {
		return
	}
	status := max(r.status, 200)
	if q.plan.Judge(w.now, try, r.outcome, status) != proxy.DeliverNow {
		w.endAttempt(q, try, r.outcome, status, false)
		return
	}
	q.winner = try
	q.sends[try].endedAt = w.now
	w.report(q.sends[try].permit, health.Outcome{})
	w.step(q, proxy.Event{Kind: proxy.AttemptAnswered, Try: try})
	for other := range q.active {
		if other != try {
			w.endAttempt(q, other, health.Outcome{Class: health.Abandoned, Reason: "another attempt won"}, 0, false)
		}
	}
	w.in(w.answerIn, func() { w.endAttempt(q, try, health.Outcome{}, status, true) })
}

func (w *world) endAttempt(q *simulated, try int, o health.Outcome, status int, committed bool) {
	if !q.active[try] {
		return
	}
	delete(q.active, try)
	s := &q.sends[try]
	w.env.Load.End(s.slot)
	s.ended, s.outcome, s.status = true, o, status
	if s.endedAt.IsZero() {
		s.endedAt = w.now
	}
	if !committed {
		w.report(s.permit, o)
	}
	if o.Class == health.Misconfigured && status != 0 {
		q.plan.Judge(w.now, try, o, status)
	}
	w.step(q, proxy.Event{Kind: proxy.AttemptEnded, Try: try, Committed: committed, Status: status, Outcome: o})
}

// expire ends the request's budget.
func (w *world) expire(q *simulated) {
	if q.done || q.winner >= 0 {
		return
	}
	q.over = true
	for try := range q.active {
		w.endAttempt(q, try, health.Outcome{Class: health.Abandoned, Reason: "caller left"}, 0, false)
	}
	if !q.done {
		w.step(q, proxy.Event{Kind: proxy.Woken})
	}
}
