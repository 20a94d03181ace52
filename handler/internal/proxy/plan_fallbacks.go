package proxy

import (
	"slices"
	"time"

	"spillway/handler/internal/health"
)

// fallBack goes on with the next pool, once that may serve.
func (p *Plan) fallBack(now time.Time) Action {
	if p.request.Fallback != nil {
		return Action{Kind: AskFallback, Pool: p.pools[p.at+1]}
	}
	return p.fallbackDecided(now, false)
}

// fallbackDecided goes on with the next pool or, where that may not serve, without it.
func (p *Plan) fallbackDecided(now time.Time, refused bool) Action {
	if refused {
		p.pools = slices.Delete(slices.Clone(p.pools), p.at+1, p.at+2)
	} else {
		p.enter(now, p.at+1)
		p.reached = max(p.reached, p.at)
	}
	return p.advance(now)
}

// fallbackEligible reports whether a backend of the next pool is eligible.
func (p *Plan) fallbackEligible(now time.Time) bool {
	if p.at+1 >= len(p.pools) {
		return false
	}
	next := p.pools[p.at+1]
	return next.Decide(p.query(next, now), p.env.Health.Snapshot(), nil).Eligible > 0
}

// circuitOpen reports whether the circuit of a backend has opened.
func (p *Plan) circuitOpen(now time.Time, slot health.Slot) bool {
	h := p.env.Health.Snapshot().Of(slot)
	reason := h.SkipReason(now, p.request.Tokens)
	return reason == health.SkipOpen || reason == health.SkipProbing
}

// mayServe reports whether the pool of this index may serve, as far as was asked.
func (p *Plan) mayServe(pool int) bool { return p.request.Fallback == nil || pool <= p.reached }
