package proxy

import (
	"slices"
	"time"
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

// mayServe reports whether the pool of this index may serve, as far as was asked.
func (p *Plan) mayServe(pool int) bool { return p.request.Fallback == nil || pool <= p.reached }
