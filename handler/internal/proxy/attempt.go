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
func (r *run) attempt(ctx context.Context, b *balancer.Backend, ticket health.Permit) (health.OutcomeClass, bool) {
	t := &attempt{run: r, backend: b, ticket: ticket, result: r.result, began: r.Now()}
	return t.do(ctx)
}

// attempt is the books of one attempt.
type attempt struct {
	*run
	backend   *balancer.Backend
	ticket    health.Permit
	result    *Result        // where it is written down
	hedged    *hedgedRequest // which it takes part in; nil mostly
	began     time.Time
	cancel    context.CancelCauseFunc // of a probe; nil otherwise
	entry     *Attempt
	probeLost atomic.Bool
	once      sync.Once

	mu       sync.Mutex
	renewal  *time.Timer // of a probe under way
	reported bool        // the keeper knows how it ended
}

func (t *attempt) do(ctx context.Context) (health.OutcomeClass, bool) {
	defer t.release()
	if t.ticket.Probe { // the only attempt that we may have to break off ahead of its answer
		ctx, t.cancel = context.WithCancelCause(ctx)
		defer t.cancel(nil)
	}
	t.Load.begin(t.backend.Slot)
	defer t.Load.end(t.backend.Slot)

	res, outcome := t.Sender.Send(ctx, t.backend, t.request, t.beforeSend)
	if t.probeLost.Load() {
		return health.Abandoned, false
	}
	outcome = t.lost(ctx, excuseMissingDeployment(t.backend, outcome))
	t.result.Attempts = append(t.result.Attempts, Attempt{Backend: t.backend, Began: t.began, Probe: t.ticket.Probe})
	t.entry = &t.result.Attempts[len(t.result.Attempts)-1]
	if res == nil {
		t.settleOutcome(outcome)
		return outcome.Class, false
	}
	t.entry.Status = res.StatusCode
	defer func() { _ = res.Body.Close() }()
	if t.notYetVisible(res, outcome) || t.deferResponse(t.backend, res, outcome) {
		t.settleOutcome(outcome)
		return health.Served, false
	}
	if !t.readsStored() {
		t.Health.ReportSignals(t.backend.Slot, outcome.Signals)
	}
	return t.deliverResponse(ctx, res, outcome)
}

// beforeSend is asked just ahead of the first byte: a probe whose lease is gone
// must not leave.
func (t *attempt) beforeSend() error {
	if t.ticket.Probe && !t.renewProbe() {
		t.probeLost.Store(true)
		return ErrProbeLost
	}
	return nil
}

// renewProbe asks whether the probe is still ours, and asks again when that ends:
// a probe that outlives its lease is broken off, or two would be under way.
func (t *attempt) renewProbe() bool {
	left, ok := t.Health.RenewProbe(t.ticket)
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok && !t.reported {
		t.renewal = time.AfterFunc(left, func() {
			if !t.renewProbe() {
				t.cancel(ErrProbeLost)
			}
		})
	}
	return ok || t.reported
}

// reportOnce lets the keeper know how the attempt ended, once.
func (t *attempt) reportOnce(report func()) {
	t.once.Do(func() {
		t.mu.Lock()
		t.reported = true
		if t.renewal != nil {
			t.renewal.Stop()
		}
		t.mu.Unlock()
		if !t.readsStored() {
			report()
		}
	})
}

// deliverResponse takes an answer to the caller and settles the attempt by what became
// of it.
func (t *attempt) deliverResponse(ctx context.Context, res *http.Response, headerOutcome health.Outcome) (health.OutcomeClass, bool) {
	d := t.deliver(ctx, &BackendResponse{
		Backend: t.backend, Model: t.result.Pool.Model, Response: res, Result: t.result, Began: t.began,
		Cancel: func(error) { _ = res.Body.Close() }, Hooks: CommitHooks{MayCommit: t.tryWin, Committed: t.onCommit},
	})
	if headerOutcome.Class != health.Served { // a refusal that is the caller's to see
		d.Outcome = headerOutcome
	}
	d.Outcome = t.lost(ctx, excuseMissingDeployment(t.backend, d.Outcome))
	d.Outcome.Signals = headerOutcome.Signals
	if !d.FirstToken.IsZero() {
		t.Load.recordFirstToken(t.backend.Slot, d.FirstToken.Sub(t.began))
	}
	t.settleOutcome(d.Outcome)
	if d.Committed {
		t.result.Delivery, t.result.ServedBy = d, t.backend
	} else {
		t.entry.Wasted = d.Usage
	}
	return d.Outcome.Class, d.Committed
}

// onCommit reports a probe's success as soon as the answer means something:
// the fleet need not wait for the end of a long stream to use the backend.
func (t *attempt) onCommit() {
	if t.ticket.Probe {
		t.reportOnce(func() {
			t.Health.ReportOutcome(t.ticket, health.Outcome{Reason: "probe answered", Signals: health.NoSignals()})
		})
	}
}

// settleOutcome writes the attempt down and folds its outcome into the shared state.
func (t *attempt) settleOutcome(o health.Outcome) {
	t.entry.Outcome, t.entry.Took = o, t.Now().Sub(t.began)
	t.reportOnce(func() { t.Health.ReportOutcome(t.ticket, o) })
}

// release gives the ticket back when nothing else used it: the probe was lost, or
// the carrying panicked.
func (t *attempt) release() { t.reportOnce(func() { t.Health.Release(t.ticket) }) }
