package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// errLost cancels an attempt when another one of the same request won.
var errLost = errors.New("proxy: another attempt won")

// errFirstToken cancels an attempt without content. To a Sender it is a deadline.
var errFirstToken = fmt.Errorf("proxy: no first token within its timeout: %w", context.DeadlineExceeded)

// errSilent cancels an attempt that is past its threshold.
var errSilent = fmt.Errorf("proxy: no content within the threshold of silence: %w", context.DeadlineExceeded)

// Reasons of attempts that are ended from here.
const (
	reasonLost       = "another attempt won"
	reasonFirstToken = "first token timeout"
	reasonGivenUp    = "silent, given up"
)

// attempt is one attempt under way.
type attempt struct {
	*run
	try       int
	as        SendKind
	backend   *balancer.Backend
	pool      *balancer.Pool
	permit    health.Permit
	start     time.Time
	silence   time.Duration
	cancel    context.CancelCauseFunc
	entry     Attempt
	served    bool // its response was a success, or an error of the caller's
	answered  bool // ReportAnswered was called
	probeLost atomic.Bool
	once      sync.Once

	mu       sync.Mutex
	timers   [3]*time.Timer // until its first content
	renewal  *time.Timer    // of a probe under way
	reported bool           // it was answered, silent, reported or released
	over     bool           // it needs no timer any more
}

// attempt makes an attempt, and returns what the plan asks for after it.
func (r *run) attempt(ctx context.Context, a *Action) Action {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &attempt{
		run: r, try: a.Try, as: a.As, backend: a.Backend, pool: a.Pool, permit: a.Permit,
		start: r.Now(), silence: a.Silence, cancel: cancel,
	}
	t.entry = Attempt{
		Backend: t.backend, Start: t.start, Probe: t.permit.Probe, try: a.Try,
		Hedge: a.As == AsHedge, Repeat: a.As == AsRepeat, Trial: a.As == AsTrial,
	}
	if !r.begin(t) {
		t.release()
		return r.step(Event{Kind: AttemptEnded, Try: t.try, NotSent: true})
	}
	defer r.forget(t)
	t.watch(a)
	defer t.stopTimers()
	return r.step(t.do(ctx))
}

// begin adds an attempt; not when another one has won.
func (r *run) begin(t *attempt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner != nil {
		return false
	}
	r.active = append(r.active, t)
	return true
}

func (r *run) forget(t *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.active, t); i >= 0 {
		r.active = slices.Delete(r.active, i, i+1)
	}
}

// do makes the attempt and returns how it ended.
func (t *attempt) do(ctx context.Context) Event {
	defer t.release()
	var beforeSend func() error
	if t.permit.Probe { // it is cancelled when its lease ends
		beforeSend = t.beforeSend
	}
	t.Load.Begin(t.backend.Slot)
	defer t.Load.End(t.backend.Slot)

	res, outcome := t.Sender.Send(ctx, t.backend, t.request, beforeSend)
	if t.probeLost.Load() {
		return Event{Kind: AttemptEnded, Try: t.try, NotSent: true}
	}
	t.entry.Resent, t.entry.Filtered = outcome.Resent, outcome.Reason == ContentFilter
	outcome = t.attribute(ctx, outcome)
	if res == nil {
		return t.settle(outcome, Delivery{})
	}
	defer func() { _ = res.Body.Close() }()
	return t.handleResponse(ctx, res, outcome)
}

// handleResponse does with a response what the plan says.
func (t *attempt) handleResponse(ctx context.Context, res *http.Response, outcome health.Outcome) Event {
	t.entry.Status = res.StatusCode
	t.run.mu.Lock()
	judgment := t.plan.Judge(t.Now(), t.try, outcome, res.StatusCode)
	t.run.mu.Unlock()
	switch judgment {
	case Keep:
		t.keep(t, res)
		return t.settle(outcome, Delivery{})
	case Discard:
		return t.settle(outcome, Delivery{})
	case DeliverNow:
	}
	if !t.request.readsStored() {
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
// another instance has it: otherwise two probes would be under way. A probe that is
// past its threshold is none any more.
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

// endProbe ends the renewal of the lease.
func (t *attempt) endProbe() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reported = true
	if t.renewal != nil {
		t.renewal.Stop()
	}
}

// reportOnce calls report, unless it or another report was called before.
func (t *attempt) reportOnce(report func()) {
	t.once.Do(func() {
		t.endProbe()
		if !t.request.readsStored() {
			report()
		}
	})
}

// deliverResponse delivers a response and records what became of it.
func (t *attempt) deliverResponse(ctx context.Context, res *http.Response, headerOutcome health.Outcome) Event {
	t.served = headerOutcome.Class == health.Served
	d := t.deliver(ctx, &BackendResponse{
		Backend: t.backend, Model: t.pool.Model, Response: res, Result: t.resultSoFar(), Start: t.start,
		Cancel: func(error) { _ = res.Body.Close() }, Hooks: CommitHooks{MayStart: t.mayStart, MayCommit: t.mayCommit, Committed: t.onCommit},
	})
	if d.Refusal != nil { // the response was an error inside a success
		d.Outcome.Signals = headerOutcome.Signals
		return t.handleResponse(ctx, d.Refusal, t.attribute(ctx, d.Outcome))
	}
	if headerOutcome.Class != health.Served { // an error that is relayed to the caller
		d.Outcome = headerOutcome
	}
	d.Outcome = t.attribute(ctx, d.Outcome)
	d.Outcome.Signals = headerOutcome.Signals
	if !d.FirstToken.IsZero() {
		t.Load.recordFirstToken(t.backend.Slot, d.FirstToken.Sub(t.start))
	}
	return t.settle(d.Outcome, d)
}

// resultSoFar is a copy of the result with this attempt: another attempt may end
// while the copy is read.
func (t *attempt) resultSoFar() *Result {
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	result := *t.result
	result.Attempts = append(slices.Clip(result.Attempts), t.entry)
	return &result
}

// mayCommit reports whether this attempt answers the caller: not when another
// one does, or the deadline has passed.
func (t *attempt) mayCommit() bool { return t.tryWin() && t.meetsDeadline() }

// tryWin reports whether this attempt answers the caller, and cancels the others if
// so. It is called before the first byte is sent, once by each attempt.
func (t *attempt) tryWin() bool {
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	if t.winner != nil {
		return false
	}
	t.winner = t
	for _, other := range t.active {
		if other != t {
			other.cancel(errLost)
		}
	}
	return true
}

// attribute is the outcome that counts for the backend: none when another attempt
// won, the request ran out of time, or the deployment was never configured.
func (t *attempt) attribute(ctx context.Context, o health.Outcome) health.Outcome {
	o = reclassifyMissingDeployment(t.backend, o)
	switch cause := context.Cause(ctx); {
	case o.Class == health.Served, o.Class == health.Throttled:
		return o
	case errors.Is(cause, errLost):
		return health.Outcome{Class: health.Abandoned, Reason: reasonLost, Signals: o.Signals}
	case errors.Is(cause, errFirstToken) && o.Class == health.Abandoned:
		o.Class, o.Reason = health.Failed, reasonFirstToken
	case errors.Is(cause, errSilent) && o.Class == health.Abandoned:
		o.Class, o.Reason = health.Failed, reasonGivenUp
	}
	return t.attributeTimeout(ctx, o)
}

// onCommit reports the first content as soon as it is delivered: the fleet need not
// wait for the end of a long stream.
func (t *attempt) onCommit() {
	t.stopTimers()
	t.endWait(t.served)
	if t.served {
		t.endProbe()
		if !t.request.readsStored() {
			t.answered = true
			t.Health.ReportAnswered(t.permit)
		}
	}
	t.step(Event{Kind: AttemptAnswered, Try: t.try})
}

// settle records the outcome and reports it to the shared state.
func (t *attempt) settle(o health.Outcome, d Delivery) Event {
	t.stopTimers()
	o.Tokens, o.Answered = t.request.Tokens, t.answered
	if o.Class == health.Throttled && t.backend.Deployment == "" {
		o.Model = strings.ToLower(t.request.Model)
	}
	t.reportOnce(func() {
		if t.givenUp(&o) {
			t.Health.ReportSilent(t.permit)
		}
		t.Health.ReportOutcome(t.permit, o)
	})
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	status := t.entry.Status // of a response that was handed on
	t.entry.Outcome, t.entry.Duration, t.entry.Status = o, t.Now().Sub(t.start), cmp.Or(status, o.Status)
	if d.Committed {
		t.result.Delivery, t.result.ServedBy = d, t.backend
	} else {
		t.entry.Wasted = d.Usage
	}
	t.result.Attempts = append(t.result.Attempts, t.entry)
	return Event{Kind: AttemptEnded, Try: t.try, Committed: d.Committed, Status: status, Outcome: o}
}

// release returns a permit that was not reported: its probe was lost, or deliver
// panicked.
func (t *attempt) release() { t.reportOnce(func() { t.Health.Release(t.permit) }) }
