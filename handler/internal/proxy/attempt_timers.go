package proxy

import (
	"cmp"
	"context"
	"time"

	"spillway/handler/internal/health"
)

// The timers of an attempt.
const (
	lateTimer = iota
	hedgeTimer
	firstTokenTimer
)

// watch starts the timers that run until the first content.
func (t *attempt) watch(a *Action) {
	t.setTimer(lateTimer, a.LookAfter, t.onLate)
	if a.Silence > 0 {
		t.awaitAnswer(a.Silence)
	}
	if a.HedgeAfter > 0 {
		t.setTimer(hedgeTimer, a.HedgeAfter, func() { t.onSlow(Event{Kind: HedgeDue, Try: t.try}) })
	}
	if limit := t.firstTokenLimit(); limit > 0 {
		t.setTimer(firstTokenTimer, limit, func() { t.cancel(errFirstToken) })
	}
}

// firstTokenLimit is how long the attempt of a stream may take to its first content;
// 0 = no limit. Reasoning may take longer than any fixed time.
func (t *attempt) firstTokenLimit() time.Duration {
	limit := cmp.Or(t.pool.FirstToken, t.FirstTokenTimeout)
	if !t.request.Parsed.Stream || limit <= 0 {
		return 0
	}
	return max(limit, t.silence)
}

func (t *attempt) setTimer(which int, after time.Duration, f func()) {
	if after <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.timers[which] = time.AfterFunc(after, f)
	}
}

// stopTimers is called at the first content, and at the end.
func (t *attempt) stopTimers() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	for _, timer := range t.timers {
		if timer != nil {
			timer.Stop()
		}
	}
}

// onLate handles an attempt that may be past its threshold.
func (t *attempt) onLate() {
	t.onSlow(Event{Kind: AttemptLate, Try: t.try})
}

// givenUp reports whether the caller left an attempt after much more than the usual
// time: it was silent, to one who does not wait for the threshold.
func (t *attempt) givenUp(o *health.Outcome) bool {
	return o.Class == health.Abandoned && o.Reason != reasonLost && !o.Answered && !t.entry.Silent && t.entry.Status == 0 &&
		t.Now().Sub(t.start) > t.environment.Latency.Patience(t.backend.Slot, t.plan.kind)
}

// onSlow gives the plan an event of a timer, and runs the hedge that it asks for in
// this goroutine, which is the timer's.
func (t *attempt) onSlow(e Event) {
	r := t.run
	r.mu.Lock()
	if r.winner != nil {
		r.mu.Unlock()
		return
	}
	a := r.stepLocked(e)
	if r.plan.tries[t.try].silent && !t.entry.Silent {
		t.entry.Silent, t.entry.SilentAfter = true, t.silence
		t.endProbe()
	}
	var l *line
	ctx := r.ctx
	if a.Kind == Send {
		l = &line{ended: make(chan struct{})}
		ctx, l.cancel = context.WithCancel(ctx)
		r.second = l
	}
	if a.Kind == GiveUp {
		r.giveUpLocked(a.Try)
	}
	r.mu.Unlock()
	if e.Kind == AttemptLate {
		t.setTimer(lateTimer, LookAgain, t.onLate)
	}
	if l != nil {
		r.startSecond(ctx, l, a)
	}
}

// giveUpLocked ends an attempt that is silent.
func (r *run) giveUpLocked(try int) {
	for _, t := range r.active {
		if t.try == try {
			t.cancel(errSilent)
		}
	}
}
