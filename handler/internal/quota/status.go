package quota

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
)

// RateLimit is what a caller sees of one limit, in x-ratelimit-limit,
// -remaining and -reset. The zero RateLimit is no limit.
type RateLimit struct {
	Limit     int64
	Remaining int64         // over the fleet, as far as this instance knows; never negative
	Reset     time.Duration // until the window ends
}

// RateLimitStatus is what a caller sees of its limits per minute.
type RateLimitStatus struct {
	Tokens   RateLimit
	Requests RateLimit
}

// RateLimits returns the status of a consumer for this model: of the limits
// that apply, those with the least left. It does not block.
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

// LimitStatus is one limit of one consumer, for the status page and the
// metrics.
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
	var statuses []LimitStatus
	for name, b := range l.consumers {
		for e := range b.entries() {
			m := l.rateLimit(e)
			status := LimitStatus{Consumer: name, Limit: e.name, Model: e.model, Amount: float64(m.Limit), Remaining: float64(m.Remaining), Reset: m.Reset}
			if e.unit == money {
				status.Amount, status.Remaining = lease.Amount(m.Limit), lease.Amount(m.Remaining)
			}
			statuses = append(statuses, status)
		}
	}
	slices.SortFunc(statuses, func(a, b LimitStatus) int {
		return strings.Compare(a.Consumer+"\x00"+a.Model+"\x00"+a.Limit, b.Consumer+"\x00"+b.Model+"\x00"+b.Limit)
	})
	return statuses
}

// ExceededError is why a request was refused: a limit of its consumer has not
// enough left. Its text is for the caller.
type ExceededError struct {
	Limit     string        // as in the configuration: "tokensPerMinute", "budgetPerMonth of model gpt-4o"
	Amount    int64         // the limit, in its unit; 0 = money
	Wait      time.Duration // until the limit may have enough left; 0 = a wait does not help
	Retryable bool          // whether the same request can succeed within about a minute
}

// maxRetryAfterSeconds is the longest wait that every SDK honours
// (docs/azure-openai.md#sdk-retries).
const maxRetryAfterSeconds = 59

func (e *ExceededError) Error() string {
	switch {
	case e.Retryable:
		return fmt.Sprintf("quota exceeded: %s. Please retry after %d seconds", e.Limit, min(maxRetryAfterSeconds, int64((e.Wait+time.Second-1)/time.Second)))
	case e.Wait > 0:
		return fmt.Sprintf("quota exceeded: %s has not enough left for this request until the month ends, in %d hours; ask the operator for more", e.Limit, int64((e.Wait+time.Hour-1)/time.Hour))
	}
	return fmt.Sprintf("quota exceeded: the request alone is larger than %s (%d) allows; make it smaller or ask the operator for more", e.Limit, e.Amount)
}

// unconfirmedWait is the wait when the table did not decision in time.
const unconfirmedWait = time.Second

// exceeded returns the error for n units of this limit.
func (l *Limiter) exceeded(e *limitState, decision lease.Decision, n int64) *ExceededError {
	exceeded := &ExceededError{Limit: e.label()}
	if e.unit != money {
		exceeded.Amount = e.amount
	}
	if decision == lease.TooLarge {
		return exceeded
	}
	e.mu.Lock()
	s := e.account.Status(l.moment(e.period))
	e.mu.Unlock()
	exceeded.Retryable = e.period == lease.Minute
	exceeded.Wait = l.untilEnd(e.period, s.Window)
	if s.Remaining >= n && e.period == lease.Minute {
		exceeded.Wait = min(exceeded.Wait, unconfirmedWait)
	}
	return exceeded
}

// untilEnd is the time until the window has ended for certain, by this
// instance's clock.
func (l *Limiter) untilEnd(p lease.Period, window int64) time.Duration {
	earliest, _, _ := l.clock.bounds(l.now())
	wait := p.Ends(window).Sub(earliest)
	return max(time.Millisecond, wait+wait/(maxDrift/2)+time.Millisecond)
}
