package quota

import (
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
)

// RateLimit is what a caller is told about one limit, in x-ratelimit-limit,
// -remaining and -reset. The zero RateLimit is no limit.
type RateLimit struct {
	Limit     int64
	Remaining int64         // over the fleet, as far as this instance knows; never negative
	Reset     time.Duration // until the whole limit is there again
}

// RateLimitStatus is what a caller is told about its limits per minute.
type RateLimitStatus struct {
	Tokens   RateLimit
	Requests RateLimit
}

// RateLimits tells how a consumer stands with this model: of the limits that bear
// on it, those with the least left. It never waits.
func (l *Limiter) RateLimits(c *consumer.Consumer, model string) RateLimitStatus {
	var s RateLimitStatus
	if c == nil || l.consumers[c.Name] == nil {
		return s
	}
	b := l.consumers[c.Name]
	for _, of := range [][]*limitState{b.byModel[model], b.all} {
		for _, e := range of {
			if e.period != lease.Minute {
				continue
			}
			into := &s.Tokens
			if e.unit == requests {
				into = &s.Requests
			}
			if m := l.rateLimit(e); into.Limit == 0 || m.Remaining < into.Remaining {
				*into = m
			}
		}
	}
	return s
}

func (l *Limiter) rateLimit(e *limitState) RateLimit {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.account.Status(l.moment(e.period))
	return RateLimit{s.Limit, s.Remaining, l.untilEnd(e.period, s.Window)}
}

// LimitStatus is one limit of one consumer, for the status page and the metrics.
type LimitStatus struct {
	Consumer  string
	Limit     string  // "tokensPerMinute"
	Model     string  // "" = over all models
	Amount    float64 // tokens, requests, or money in the currency of the prices
	Remaining float64 // as far as this instance knows
	Reset     time.Duration
}

// LimitStatuses lists all limits, by consumer.
func (l *Limiter) LimitStatuses() []LimitStatus {
	var lines []LimitStatus
	for who, b := range l.consumers {
		for e := range b.entries() {
			m := l.rateLimit(e)
			line := LimitStatus{Consumer: who, Limit: e.name, Model: e.model, Amount: float64(m.Limit), Remaining: float64(m.Remaining), Reset: m.Reset}
			if e.unit == money {
				line.Amount, line.Remaining = lease.Amount(m.Limit), lease.Amount(m.Remaining)
			}
			lines = append(lines, line)
		}
	}
	slices.SortFunc(lines, func(a, b LimitStatus) int {
		return strings.Compare(a.Consumer+"\x00"+a.Model+"\x00"+a.Limit, b.Consumer+"\x00"+b.Model+"\x00"+b.Limit)
	})
	return lines
}
