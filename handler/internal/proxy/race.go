package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// errOutrun ends the attempt that another one was faster than.
var errOutrun = errors.New("proxy: another attempt won")

// outrunBy is the Why of an attempt that another one was faster than.
const outrunBy = "another attempt won"

// hedge is the books of the pool's second attempts when this request may have
// one: a stream that any backend can begin, with another one in the line.
func (r *run) hedge(line int) *hedging {
	cfg := r.result.Pool.Hedge
	if r.Hedges == nil || cfg.After == 0 && cfg.Percentile == 0 {
		return nil
	}
	if !r.request.Facts.Stream || r.request.Leans != nil || r.request.Tail != nil || line < 2 {
		return nil
	}
	return r.Hedges.pool(r.result.Pool)
}

// race is one or two attempts of which one reaches the caller.
type race struct {
	mu      sync.Mutex
	winner  *attempt
	runners []*runner
}

// runner is an attempt that takes part in a race, in a goroutine of its own.
type runner struct {
	*attempt
	ended   chan struct{}
	stop    context.CancelCauseFunc
	verdict health.Verdict
	done    bool
	panicky any // what its carrying panicked with
}

// race makes an attempt at the head of the line and, when it has nothing to
// say for too long, a second one at the next. Whichever has its first
// meaningful event first is the answer; the other is broken off. Both have
// ended when it returns.
func (r *run) race(ctx context.Context, line []balancer.Candidate, ticket health.Ticket, h *hedging) bool {
	cfg := r.result.Pool.Hedge
	h.earn(cfg.MaxPercent)
	contest := new(race)
	first := r.enterRace(ctx, contest, line[0].Backend, ticket)
	if delay, ok := h.after(cfg); ok && first.silentFor(delay) {
		r.second(ctx, contest, line[1:], h)
	}
	for _, each := range contest.runners {
		<-each.ended
	}
	return r.judge(contest, h)
}

// silentFor reports whether the attempt is still under way after the delay.
func (e *runner) silentFor(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-e.ended:
		return false
	case <-timer.C:
		return true
	}
}

// second lets the first backend of the rest of the line that may be asked join
// the race, if there is leave for it.
func (r *run) second(ctx context.Context, contest *race, rest []balancer.Candidate, h *hedging) {
	if contest.decided() || ctx.Err() != nil || !h.spend() {
		return
	}
	for i := range rest {
		b := rest[i].Backend
		if slices.Contains(r.failed, b.Slot) {
			continue
		}
		if ticket, ok := r.enter(b); ok {
			if r.enterRace(ctx, contest, b, ticket) == nil {
				r.Keeper.Leave(ticket)
				break
			}
			return
		}
	}
	h.refund()
}

// enterRace starts an attempt; nil when the race is decided.
func (r *run) enterRace(ctx context.Context, contest *race, b *balancer.Backend, ticket health.Ticket) *runner {
	story := *r.result // its own: two attempts write at once
	story.Attempts = slices.Clone(r.result.Attempts)
	e := &runner{ended: make(chan struct{}), attempt: &attempt{
		run: r, backend: b, ticket: ticket, story: &story, race: contest, began: r.Now(),
	}}
	ctx, e.stop = context.WithCancelCause(ctx)
	if !contest.join(e) {
		e.stop(nil)
		return nil
	}
	go func() {
		defer close(e.ended)
		defer e.stop(nil)
		defer func() { e.panicky = recover() }()
		e.verdict, e.done = e.make(ctx)
	}()
	return e
}

func (c *race) join(e *runner) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.winner != nil {
		return false
	}
	c.runners = append(c.runners, e)
	return true
}

func (c *race) decided() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.winner != nil
}

// wins is asked right before the first byte leaves: once, by each.
func (t *attempt) wins() bool {
	if t.race == nil {
		return true
	}
	c := t.race
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.winner != nil {
		return false
	}
	c.winner = t
	for _, other := range c.runners {
		if other.attempt != t {
			other.stop(errOutrun)
		}
	}
	return true
}

// outrun is the outcome of an attempt that may have been broken off because
// another one won: that says nothing about its backend.
func (t *attempt) outrun(ctx context.Context, o health.Outcome) health.Outcome {
	if t.race == nil || o.Verdict == health.Served || o.Verdict == health.Throttled || !errors.Is(context.Cause(ctx), errOutrun) {
		return o
	}
	return health.Outcome{Verdict: health.Abandoned, Why: outrunBy, Signals: o.Signals}
}

// judge writes the race down and reports whether the caller has its answer.
func (r *run) judge(contest *race, h *hedging) bool {
	percentile := r.result.Pool.Hedge.Percentile
	done := false
	for i, e := range contest.runners {
		if e.panicky != nil {
			panic(e.panicky) // as it would without a race
		}
		for _, record := range e.story.Attempts[len(e.story.Attempts)-e.made():] {
			record.Hedge = i > 0
			r.result.Attempts = append(r.result.Attempts, record)
		}
		if e.done {
			done = true
			r.result.Delivery, r.result.Served = e.story.Delivery, e.backend
			h.saw(e.story.Delivery.FirstToken.Sub(e.began), percentile)
		} else if e.made() > 0 && e.record.Outcome.Why == outrunBy {
			h.saw(e.record.Took, percentile)
		}
		r.note(e.backend, e.verdict)
	}
	return done
}

// made is how many attempts the runner wrote down: none when it was a probe
// that was lost.
func (e *runner) made() int {
	if e.record == nil {
		return 0
	}
	return 1
}
