package quota

import (
	"slices"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
)

// Kept is what a request that goes on after its answer is charged of limits per
// month. It is stored until its usage is known.
type Kept struct {
	Caller string           `json:"caller,omitempty"` // as in reports
	Month  int64            `json:"month,omitempty"`
	Limits map[string]int64 `json:"limits,omitempty"` // by [limit.id]
}

// Promise returns what [Reservation.Keep] will charge of limits per month for a
// request that is expected to use so much.
func (r *Reservation) Promise(expected Usage) Kept {
	k := Kept{Caller: r.Caller(), Limits: map[string]int64{}}
	if r == nil {
		return k
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	used := []Usage{expected}
	reserved := slices.DeleteFunc(slices.Clone(r.allocations), func(a allocation) bool { return a.amount == 0 })
	for _, a := range append(reserved, r.othersOf(used)...) {
		if a.limit.period == lease.Month && a.limit.of(used) {
			k.Month, k.Limits[a.limit.id()] = a.window, a.kept(used)
		}
	}
	return k
}

// Keep ends the reservation of a request that goes on, and is expected to use so
// much. What it reserved of a month is kept until [Limiter.Correct]: an expectation
// can be trained to be wrong.
func (r *Reservation) Keep(expected ...Usage) {
	r.settleAll(expected, func(a *allocation, used int64, m lease.Moment) {
		charged := a.kept(expected)
		r.settle(a, charged, m)
		if charged > used {
			a.limit.correct(a.window, charged, charged, used-charged, m)
		}
	})
}

// kept is what Keep charges of the limit.
func (a *allocation) kept(expected []Usage) int64 {
	used := a.limit.sum(expected)
	if a.limit.period == lease.Month && a.limit.of(expected) {
		return max(used, a.amount)
	}
	return used
}

// of reports whether the limit is over all models, or of one of these.
func (l limit) of(used []Usage) bool {
	return l.model == "" || slices.ContainsFunc(used, func(u Usage) bool { return u.Model == l.model })
}

// Correct replaces what was kept of limits per month by what the request used. What
// it used beyond the expectation also counts in the minute in which it is known.
func (l *Limiter) Correct(c *consumer.Consumer, k Kept, expected, used Usage) {
	if c == nil {
		return
	}
	b := l.limitsFor(c.Name)
	if b == nil {
		return
	}
	var caller []*limitState
	if b.callers != nil && k.Caller != "" {
		x := l.callerByKey(c, b, k.Caller)
		x.use(1)
		defer x.use(-1)
		caller = x.limits
	}
	for e := range b.limits(used.Model, caller) {
		charged, kept := k.Limits[e.id()]
		was, is := e.sum([]Usage{expected}), e.sum([]Usage{used})
		switch m := l.moment(e.period); {
		case kept && e.period == lease.Month:
			e.correct(k.Month, charged, is, is-was, m)
		case e.period == lease.Minute && e.unit == tokens && is > was:
			e.settle(e.currentWindow(l), 0, is-was, m)
		default:
			continue
		}
		l.wake(e)
	}
}

// correct is [lease.Account.Correct].
func (e *limitState) correct(window, charged, used, spent int64, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account.Correct(window, charged, used, spent, m)
	e.deliverDecisions(m)
}
