package proxy

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// attempt sends the request to one backend and carries the answer to the
// caller. It reports the verdict, and whether the caller has its answer.
func (r *run) attempt(ctx context.Context, b *balancer.Backend, ticket health.Ticket) (health.Verdict, bool) {
	t := &attempt{run: r, backend: b, ticket: ticket, story: r.result, began: r.Now()}
	return t.make(ctx)
}

// attempt is the books of one attempt.
type attempt struct {
	*run
	backend *balancer.Backend
	ticket  health.Ticket
	story   *Result // where it is written down
	race    *race   // which it takes part in; nil mostly
	began   time.Time
	cancel  context.CancelCauseFunc // of a probe; nil otherwise
	record  *Attempt
	lost    atomic.Bool
	once    sync.Once

	mu    sync.Mutex
	lease *time.Timer // of a probe under way
	told  bool        // the keeper knows how it ended
}

func (t *attempt) make(ctx context.Context) (health.Verdict, bool) {
	defer t.end()
	if t.ticket.Probe { // the only attempt that we may have to break off ahead of its answer
		ctx, t.cancel = context.WithCancelCause(ctx)
		defer t.cancel(nil)
	}
	t.Load.begin(t.backend.Slot)
	defer t.Load.end(t.backend.Slot)

	res, outcome := t.Sender.Send(ctx, t.backend, t.request, t.before)
	if t.lost.Load() {
		return health.Abandoned, false
	}
	outcome = t.outrun(ctx, forgiven(t.backend, outcome))
	t.story.Attempts = append(t.story.Attempts, Attempt{Backend: t.backend, Began: t.began, Probe: t.ticket.Probe})
	t.record = &t.story.Attempts[len(t.story.Attempts)-1]
	if res == nil {
		t.settle(outcome)
		return outcome.Verdict, false
	}
	t.record.Status = res.StatusCode
	defer func() { _ = res.Body.Close() }()
	if t.tooEarly(res, outcome) || t.setAside(t.backend, res, outcome) {
		t.settle(outcome)
		return health.Served, false
	}
	if !t.stored() {
		t.Keeper.Observe(t.backend.Slot, outcome.Signals)
	}
	return t.carry(ctx, res, outcome)
}

// before is asked just ahead of the first byte: a probe whose lease is gone
// must not leave.
func (t *attempt) before() error {
	if t.ticket.Probe && !t.within() {
		t.lost.Store(true)
		return ErrProbeLost
	}
	return nil
}

// within asks whether the probe is still ours, and asks again when that ends:
// a probe that outlives its lease is broken off, or two would be under way.
func (t *attempt) within() bool {
	left, ok := t.Keeper.Recheck(t.ticket)
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok && !t.told {
		t.lease = time.AfterFunc(left, func() {
			if !t.within() {
				t.cancel(ErrProbeLost)
			}
		})
	}
	return ok || t.told
}

// tell lets the keeper know how the attempt ended, once.
func (t *attempt) tell(say func()) {
	t.once.Do(func() {
		t.mu.Lock()
		t.told = true
		if t.lease != nil {
			t.lease.Stop()
		}
		t.mu.Unlock()
		if !t.stored() {
			say()
		}
	})
}

// carry takes an answer to the caller and settles the attempt by what became
// of it.
func (t *attempt) carry(ctx context.Context, res *http.Response, promised health.Outcome) (health.Verdict, bool) {
	d := t.deliver(ctx, &Answer{
		Backend: t.backend, Model: t.story.Pool.Model, Response: res, Story: t.story, Began: t.began,
		Cancel: func(error) { _ = res.Body.Close() }, Gate: t.wins, Committed: t.committed,
	})
	if promised.Verdict != health.Served { // a refusal that is the caller's to see
		d.Outcome = promised
	}
	d.Outcome = t.outrun(ctx, forgiven(t.backend, d.Outcome))
	d.Outcome.Signals = promised.Signals
	if !d.FirstToken.IsZero() {
		t.Load.saw(t.backend.Slot, d.FirstToken.Sub(t.began))
	}
	t.settle(d.Outcome)
	if d.Committed {
		t.story.Delivery, t.story.Served = d, t.backend
	} else {
		t.record.Usage = d.Usage
	}
	return d.Outcome.Verdict, d.Committed
}

// committed reports a probe's success as soon as the answer means something:
// the fleet need not wait for the end of a long stream to use the backend.
func (t *attempt) committed() {
	if t.ticket.Probe {
		t.tell(func() { t.Keeper.Report(t.ticket, health.Outcome{Why: "probe answered", Signals: health.NoSignals()}) })
	}
}

// settle writes the attempt down and folds its outcome into the shared state.
func (t *attempt) settle(o health.Outcome) {
	t.record.Outcome, t.record.Took = o, t.Now().Sub(t.began)
	t.tell(func() { t.Keeper.Report(t.ticket, o) })
}

// end gives the ticket back when nothing else used it: the probe was lost, or
// the carrying panicked.
func (t *attempt) end() { t.tell(func() { t.Keeper.Leave(t.ticket) }) }
