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

// attempt sends the request to one backend and delivers the response. It returns
// the class of the outcome, and whether the caller has its response.
func (r *run) attempt(ctx context.Context, b *balancer.Backend, permit health.Permit) (health.OutcomeClass, bool) {
	t := &attempt{run: r, backend: b, permit: permit, result: r.result, start: r.Now()}
	return t.do(ctx)
}

// attempt is one attempt under way.
type attempt struct {
	*run
	backend   *balancer.Backend
	permit    health.Permit
	result    *Result        // which records it
	hedged    *hedgedRequest // which it is part of; nil = not hedged
	start     time.Time
	cancel    context.CancelCauseFunc // of a probe; nil otherwise
	entry     *Attempt
	probeLost atomic.Bool
	once      sync.Once

	mu       sync.Mutex
	renewal  *time.Timer // of a probe under way
	reported bool        // the outcome was reported, or the permit released
}

func (t *attempt) do(ctx context.Context) (health.OutcomeClass, bool) {
	defer t.release()
	var beforeSend func() error
	if t.permit.Probe { // it is cancelled when its lease ends
		ctx, t.cancel = context.WithCancelCause(ctx)
		defer t.cancel(nil)
		beforeSend = t.beforeSend
	}
	t.Load.begin(t.backend.Slot)
	defer t.Load.end(t.backend.Slot)

	res, outcome := t.Sender.Send(ctx, t.backend, t.request, beforeSend)
	if t.probeLost.Load() {
		return health.Abandoned, false
	}
	outcome = t.attribute(ctx, outcome)
	t.result.Attempts = append(t.result.Attempts, Attempt{Backend: t.backend, Start: t.start, Probe: t.permit.Probe})
	t.entry = &t.result.Attempts[len(t.result.Attempts)-1]
	if res == nil {
		t.settleOutcome(outcome)
		return outcome.Class, false
	}
	t.entry.Status = res.StatusCode
	defer func() { _ = res.Body.Close() }()
	if t.scheduleSameBackendRetry(res, outcome) || t.deferResponse(t.backend, res, outcome) {
		t.settleOutcome(outcome)
		return health.Served, false
	}
	if !t.readsStored() {
		t.Health.ReportSignals(t.backend.Slot, outcome.Signals)
	}
	return t.deliverResponse(ctx, res, outcome)
}

// beforeSend stops an attempt whose probe lease has ended before its first byte is
// sent.
func (t *attempt) beforeSend() error {
	if !t.renewProbe() {
		t.probeLost.Store(true)
		return ErrProbeLost
	}
	return nil
}

// renewProbe renews the probe's lease whenever it ends, and cancels the attempt when
// another instance has it: otherwise two probes would be under way.
func (t *attempt) renewProbe() bool {
	left, ok := t.Health.RenewProbe(t.permit)
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

// reportOnce calls report, unless it or another report was called before.
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

// deliverResponse delivers a response and records what became of it.
func (t *attempt) deliverResponse(ctx context.Context, res *http.Response, headerOutcome health.Outcome) (health.OutcomeClass, bool) {
	d := t.deliver(ctx, &BackendResponse{
		Backend: t.backend, Model: t.result.Pool.Model, Response: res, Result: t.result, Start: t.start,
		Cancel: func(error) { _ = res.Body.Close() }, Hooks: CommitHooks{MayCommit: t.mayCommit, Committed: t.onCommit},
	})
	if headerOutcome.Class != health.Served { // an error that is relayed to the caller
		d.Outcome = headerOutcome
	}
	d.Outcome = t.attribute(ctx, d.Outcome)
	d.Outcome.Signals = headerOutcome.Signals
	if !d.FirstToken.IsZero() {
		t.Load.recordFirstToken(t.backend.Slot, d.FirstToken.Sub(t.start))
	}
	t.settleOutcome(d.Outcome)
	if d.Committed {
		t.result.Delivery, t.result.ServedBy = d, t.backend
	} else {
		t.entry.Wasted = d.Usage
	}
	return d.Outcome.Class, d.Committed
}

// mayCommit reports whether this attempt answers the caller: not when another
// one does, or the deadline has passed.
func (t *attempt) mayCommit() bool { return t.tryWin() && t.meetsDeadline() }

// attribute is the outcome that counts for the backend: none when another attempt
// won, the request ran out of time, or the deployment was never configured.
func (t *attempt) attribute(ctx context.Context, o health.Outcome) health.Outcome {
	return t.attributeTimeout(ctx, t.lost(ctx, reclassifyMissingDeployment(t.backend, o)))
}

// onCommit reports a probe's success as soon as the response is committed: the
// fleet need not wait for the end of a long stream.
func (t *attempt) onCommit() {
	if t.permit.Probe {
		t.reportOnce(func() {
			t.Health.ReportOutcome(t.permit, health.Outcome{Reason: "probe answered", Signals: health.NoSignals()})
		})
	}
}

// settleOutcome records the outcome and reports it to the shared state.
func (t *attempt) settleOutcome(o health.Outcome) {
	t.entry.Outcome, t.entry.Duration = o, t.Now().Sub(t.start)
	t.reportOnce(func() { t.Health.ReportOutcome(t.permit, o) })
}

// release returns a permit that was not reported: its probe was lost, or deliver
// panicked.
func (t *attempt) release() { t.reportOnce(func() { t.Health.Release(t.permit) }) }
