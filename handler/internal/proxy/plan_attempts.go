package proxy

import (
	"net/http"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
)

// acquire asks for an attempt. Reading stored data uses no capacity, and needs no
// permission.
func (p *Plan) acquire(b *balancer.Backend) (health.Permit, bool) {
	if p.request.readsStored() {
		return health.Permit{Slot: b.Slot}, true
	}
	return p.env.Health.Acquire(b.Slot, p.request.consumerName())
}

func (p *Plan) send(now time.Time, b *balancer.Backend, permit health.Permit, as SendKind) Action {
	from := p.pools[p.at]
	a := Action{
		Kind: Send, Try: len(p.tries), As: as, Pool: from, Backend: b, Permit: permit,
		Silence: p.silenceAfter(now, b.Slot),
	}
	a.LookAfter = a.Silence
	if p.underWay() > 0 || !p.env.Latency.Known(b.Slot, p.kind) {
		a.LookAfter = min(a.Silence, latency.LeastSilence)
	}
	if p.request.readsStored() {
		a.LookAfter, a.Silence = 0, 0 // how long that takes says nothing about the model
	}
	p.env.Operations.claim(b.Slot, operationOf(p.request), p.request.consumerName(), now)
	p.tries = append(p.tries, try{backend: b, pool: from, permit: permit, as: as, start: now, lookAt: now.Add(a.LookAfter), second: p.underWay() > 0})
	p.sent = true
	if h := p.hedging(); as == InOrder && h != nil && p.decision.Eligible-p.next > 0 {
		h.deposit(from.Hedge.MaxPercent)
		if after, ok := h.threshold(from.Hedge); ok && !p.hedged {
			a.HedgeAfter = after
		}
	}
	return a
}

// silenceAfter is how long an attempt may wait for its first content. Who waits for
// less than twice as long is to have an answer from another backend in time.
func (p *Plan) silenceAfter(now time.Time, slot health.Slot) time.Duration {
	at := p.firstByteBy()
	if at.IsZero() {
		return p.env.Latency.Threshold(slot, p.kind)
	}
	return p.env.Latency.ThresholdWithin(slot, p.kind, at.Sub(now))
}

// firstByteBy is when the first byte must be there: the caller's deadline or the end
// of the response timeout, whichever is sooner; zero = whenever it comes.
func (p *Plan) firstByteBy() time.Time {
	if p.env.ResponseTimeout == 0 || p.request.Received.IsZero() {
		return p.request.Deadline
	}
	return soonest(p.request.Deadline, p.request.Received.Add(p.env.ResponseTimeout))
}

// answer records the first content of an attempt.
func (p *Plan) answer(now time.Time, i int) {
	t := &p.tries[i]
	p.answered, t.answered = true, true
	took := now.Sub(t.start)
	p.endOverdue(t)
	p.settleSeat(true)
	if t.as == AsTrial {
		t.exclusive = false
		p.env.Trials.served(t.backend.Slot)
	}
	if h := p.hedging(); h != nil {
		h.recordFirstToken(took, t.pool.Hedge.Percentile)
	}
	if t.status < http.StatusOK || t.status >= http.StatusMultipleChoices || p.request.readsStored() {
		return
	}
	p.env.Latency.Record(t.backend.Slot, p.kind, took)
	p.env.Load.recordServed(t.backend.Slot, now)
	p.recordServedOperation(now, t)
}

// recordServedOperation records that one backend serves the operation: those that
// refused it are at fault.
func (p *Plan) recordServedOperation(now time.Time, served *try) {
	key := operationOf(p.request)
	p.env.Operations.recordServed(served.backend.Slot, key, p.request.consumerName(), now)
	p.env.Operations.mended(key, p.pools[0].Model)
	for i := range p.tries {
		if t := &p.tries[i]; p.refusedOperation(t) {
			p.env.Operations.refuse(t.backend.Slot, key, p.boundBy(t), t.outcome.Reason, now)
		}
	}
	if p.refused >= 0 {
		p.env.Operations.notRefused(p.request, p.pools[0].Model)
	}
}

// imageDeployment names a second deployment of the same resource.
const imageDeployment = "X-Ms-Oai-Image-Generation-Deployment"

// refusedOperation reports whether an attempt ended because the backend refuses the
// operation. A 404 under an id, or of a second deployment, is about those; of a
// backend to which any name is passed on, about that model.
func (p *Plan) refusedOperation(t *try) bool {
	if !t.ended || t.outcome.Class != health.Misconfigured {
		return false
	}
	if unauthorized(t.status) {
		return true
	}
	named := p.request.Subpath != "" || p.request.Header.Get(imageDeployment) != ""
	return t.backend.Deployment != "" && (!named || t.status != http.StatusNotFound && t.status != http.StatusGone)
}

// unauthorized reports whether a status says that the backend does not accept our
// credential.
func unauthorized(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusPaymentRequired || status == http.StatusForbidden
}

// boundBy is whose requests the refusal binds; "" = all. What a request holds may be
// the reason, unless it is our credential or the deployment: then no caller can make
// a backend look unfit to others.
func (p *Plan) boundBy(t *try) string {
	if atFault(t.status, t.outcome.Reason) {
		return ""
	}
	return p.request.consumerName()
}

// end handles the end of an attempt.
func (p *Plan) end(now time.Time, e *Event) Action {
	t := &p.tries[e.Try]
	t.ended, t.endedAt, t.notSent, t.outcome = true, now, e.NotSent, e.Outcome
	if e.Status != 0 {
		t.status = e.Status
	}
	if e.NotSent && t.as == AsRepeat {
		p.repeats--
	}
	p.committed = p.committed || e.Committed
	p.sent = true // the decision is older than what is known now
	p.endOverdue(t)
	p.settleTry(now, t)
	if p.underWay() < 2 {
		p.endAnother()
	}
	if p.committed || p.answered || p.over {
		if p.underWay() > 0 {
			return Action{}
		}
		return p.finish(now)
	}
	p.stop = p.stop || p.mayHaveActed(t)
	p.spare(now, t)
	if p.again == e.Try {
		p.wait = pendingWait{kind: waitVisible, began: now}
		return p.pause(now)
	}
	if p.underWay() > 0 {
		return p.replace(now)
	}
	return p.advance(now)
}

// settleTry settles what an attempt held: its trial, its seat, its hedge.
func (p *Plan) settleTry(now time.Time, t *try) {
	served := t.outcome.Class == health.Served && !t.notSent
	if t.as == AsTrial && !t.answered {
		switch {
		case served:
			t.exclusive = false
			p.env.Trials.served(t.backend.Slot)
		case t.outcome.Class == health.Abandoned:
			p.passOnTrial(t)
		default:
			p.trialFailed = p.trialFailed || !t.notSent
			p.endTrial(t)
		}
	}
	p.settleSeat(served)
	if !served && t.outcome.Class != health.Misconfigured {
		p.env.Operations.unclaim(t.backend.Slot, operationOf(p.request), p.request.consumerName(), now)
	}
	if h := p.hedging(); h != nil && t.outcome.Reason == reasonLost {
		h.recordFirstToken(now.Sub(t.start), t.pool.Hedge.Percentile) // a lower bound
	}
}

func (p *Plan) endOverdue(t *try) {
	if t.overdue {
		t.overdue = false
		p.env.Latency.EndOverdue(t.backend.Slot, t.since)
	}
}

// endTrial ends the exclusivity of a trial.
func (p *Plan) endTrial(t *try) {
	if t.exclusive {
		t.exclusive = false
		p.env.Trials.end(t.backend.Slot, p.request.consumerName())
	}
}

// passOnTrial lets the next request try while this one's answer is late. Nothing has
// failed yet: nobody is refused for it.
func (p *Plan) passOnTrial(t *try) {
	if t.exclusive {
		t.exclusive = false
		p.env.Trials.passOn(t.backend.Slot, p.request.consumerName())
	}
}

// mayHaveActed reports whether no other backend may be asked after this attempt: the
// request has effects and may have been received.
func (p *Plan) mayHaveActed(t *try) bool {
	return !t.notSent && t.outcome.Class == health.Failed && p.request.Acts() && !surelyNotReceived(t.outcome, t.status)
}

func (t *try) refusal() refusal { return refusal{t.backend.Slot, t.status, t.outcome.Reason} }

// spare follows a refusal: who lately said the same to such a request, as all did, is
// not asked.
func (p *Plan) spare(now time.Time, t *try) {
	if t.notSent || t.outcome.Class != health.Misconfigured {
		return
	}
	if !p.recalled {
		p.recalled, p.recall = true, p.env.Operations.wasRefused(p.request, p.pools[0].Model, now)
	}
	p.spared = p.env.Operations.spared(p.recall, t.refusal(), operationOf(p.request), now)
}

// Judge decides about a response before it is delivered.
func (p *Plan) Judge(now time.Time, i int, o health.Outcome, status int) Judgment {
	t := &p.tries[i]
	t.status = status
	switch {
	case o.Class == health.Misconfigured:
		if p.refused < 0 || refusalRank(status, o.Reason) > refusalRank(p.tries[p.refused].status, p.tries[p.refused].outcome.Reason) {
			p.refused = i
			return Keep
		}
		return Discard
	case o.Class == health.Abandoned:
		return Discard
	case p.asksAgain(now, o, status):
		p.again, p.askedAgain = i, true
		return Discard
	}
	return p.judgeDeferral(t.backend, i, o)
}

// refusalRank orders refusals by what they say to the caller: most of all one that may be
// about the request; then that our credential is wrong, which is mended sooner than a
// deployment that is not there.
func refusalRank(status int, reason string) int {
	switch {
	case !atFault(status, reason):
		return 2
	case unauthorized(status):
		return 1
	}
	return 0
}

// judgeDeferral keeps a response to which another backend may answer differently:
// once when the prompt is too long for a provisioned backend, when the content filter
// refuses it and another model is to be asked then, and always while the backend that
// holds what the request refers to is unknown.
func (p *Plan) judgeDeferral(b *balancer.Backend, i int, o health.Outcome) Judgment {
	tooLong := b.Provisioned && o.Reason == ContextLength && p.deferred < 0
	searching := o.Reason == NotHeld && p.request.PinnedTo != nil && p.request.pinnedBackend() == ""
	filtered := o.Reason == ContentFilter && p.pools[0].FilteredFallBack && len(p.pools) > 1
	p.filtered = p.filtered || filtered
	switch {
	case !tooLong && !searching && !filtered:
		return DeliverNow
	case p.deferred >= 0:
		return Discard
	}
	p.deferred, p.wholeGroup = i, tooLong
	return Keep
}

// asksAgain reports whether the same backend is to be asked again, because it may not
// yet find what it just created.
func (p *Plan) asksAgain(now time.Time, o health.Outcome, status int) bool {
	unknown := o.Reason == NotHeld || status == http.StatusNotFound && p.request.readsStored()
	pin := p.request.PinnedTo
	return !p.askedAgain && unknown && pin != nil && pin.Backend != "" && now.Sub(pin.CreatedAt) <= recentlyCreated
}
