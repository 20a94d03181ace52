package quota

import (
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
)

// Settle replaces what was reserved by what was used: of limits over all models
// by all of it, of those of one model by what that one served, whether it was
// demanded or not. The request counts as one, at the model of the last Usage.
// Without any Usage everything is returned: nothing was sent.
func (r *Reservation) Settle(used ...Usage) {
	r.settleAll(used, r.settle)
}

// settleAll ends the reservation, and has each limit that the request is charged to
// settled.
func (r *Reservation) settleAll(used []Usage, settle func(a *allocation, used int64, m lease.Moment)) {
	if r == nil {
		return
	}
	allocations, ok := r.end()
	if !ok {
		return
	}
	now := r.limiter.moments()
	for i := range allocations {
		a := &allocations[i]
		a.limit.endShortfall(a.shortfall)
		if a.amount > 0 {
			settle(a, a.limit.sum(used), now[a.limit.period])
		}
	}
	for _, a := range r.othersOf(used) {
		settle(&a, a.limit.sum(used), now[a.limit.period])
	}
}

func (r *Reservation) settle(a *allocation, used int64, m lease.Moment) {
	a.limit.settle(a.window, a.amount, used, m)
	if a.limit.period == lease.Minute && used < a.amount/muchSpare {
		a.limit.giveBack(a.window, a.amount-used, m)
	}
	r.limiter.wakeAt(a.limit, m)
}

// muchSpare: a request that used less than 1/muchSpare of what it reserved gives the
// rest back at once. It may have been all that was left.
const muchSpare = 4

// end marks the reservation as ended, and returns what it reserved, once.
func (r *Reservation) end() ([]allocation, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, false
	}
	r.ended = true
	r.caller.use(-1)
	return r.allocations, true
}

// sum is what these use of the limit.
func (l limit) sum(used []Usage) int64 {
	var sum int64
	for i := range used {
		u := &used[i]
		switch {
		case l.model != "" && l.model != u.Model:
		case l.unit == money:
			sum = lease.Clamp(sum + lease.Money(u.Cost))
		case l.unit == tokens:
			sum = lease.Clamp(sum + l.unit.used(u.Tokens, usage.Price{}))
		case i == len(used)-1:
			sum = 1
		}
	}
	return sum
}

// Refund returns everything: no backend was sent the request.
func (r *Reservation) Refund() { r.Settle() }
