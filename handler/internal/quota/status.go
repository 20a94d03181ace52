package quota

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
)

// RateLimit is what a caller sees of one limit, in x-ratelimit-limit,
// -remaining and -reset. The zero RateLimit is no limit.
type RateLimit struct {
	Limit     int64
	Remaining int64         // over the fleet, as far as this instance knows; never negative
	Used      int64         // of a month, by requests that ended; of a minute all that is not left
	Reset     time.Duration // until the window ends
}

// RateLimitStatus is what a caller sees of its limits per minute.
type RateLimitStatus struct {
	Tokens   RateLimit
	Requests RateLimit

	month *int64 // tokens that are left of the month; nil = not limited
}

// RateLimits returns the status of a consumer and its caller for this model: of the limits per
// minute that apply, those with the least left, which is never more than what is
// left of the month; with nothing left of it no request is. A token of the price costs
// at least its cheapest part. It does not block.
func (l *Limiter) RateLimits(c *consumer.Consumer, caller, model string, price usage.Price) RateLimitStatus {
	var s RateLimitStatus
	if c == nil || l.limitsFor(c.Name) == nil {
		return s
	}
	b, now := l.limitsFor(c.Name), l.moments()
	for e := range b.limits(model, l.known(b, c.Name, caller)) {
		m := e.rateLimit(now[e.period])
		into := &s.Tokens
		switch {
		case e.ceiling:
			continue
		case e.period == lease.Month:
			s.monthTokens(e.unit, m.Remaining, price)
			continue
		case e.unit == requests:
			into = &s.Requests
		}
		if into.Limit == 0 || m.Remaining < into.Remaining {
			*into = m
		}
	}
	if s.month != nil {
		s.Tokens.Remaining = min(s.Tokens.Remaining, *s.month)
		if *s.month <= 0 {
			s.Requests.Remaining = 0
		}
	}
	return s
}

// Exhausted reports whether one of the consumer's limits for the demanded model
// alone is known to have less left than is expected to be used. It does not block.
func (l *Limiter) Exhausted(c *consumer.Consumer, d *Demand) bool {
	b := l.limitsFor(c.Name)
	if b == nil {
		return false
	}
	now := l.moments()
	return slices.ContainsFunc(b.byModel[d.Model], func(e *limitState) bool { return e.rateLimit(now[e.period]).Remaining < e.expected(d) })
}

// monthTokens takes account of what is left of a month.
func (s *RateLimitStatus) monthTokens(u unit, left int64, price usage.Price) {
	if u == money && left > 0 {
		cheapest := price.Cost(usage.Tokens{Prompt: 1_000_000, Cached: 1_000_000})
		if cheapest <= 0 {
			return
		}
		left = lease.Clamp(int64(lease.Amount(left) / cheapest * 1e6))
	}
	if s.month == nil || left < *s.month {
		s.month = &left
	}
}

func (e *limitState) rateLimit(m lease.Moment) RateLimit {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.account.Status(m)
	used := s.Spent
	if e.period == lease.Minute {
		used = s.Limit - s.Remaining
	}
	return RateLimit{Limit: s.Limit, Remaining: s.Remaining, Used: used, Reset: untilEnd(e.period, s.Window, m)}
}

// LimitStatus is one limit of one consumer, for the status page and the
// metrics.
type LimitStatus struct {
	Consumer  string
	Limit     string  // "tokensPerMinute"
	Model     string  // "" = over all models
	Amount    float64 // tokens, requests, or money in the currency of the prices
	Used      float64 // by requests that ended; of a minute all that is not left
	Remaining float64 // as far as this instance knows
	Reset     time.Duration
	UsedUp    bool // of a month: it refuses requests, since what is left of it is smaller than they are
}

// refuses reports whether the limit has refused a request in its present window because
// what is left of it is smaller.
func (e *limitState) refuses(m lease.Moment) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.usedUp == e.account.Status(m).Window
}

// LimitStatuses lists all limits, by consumer.
func (l *Limiter) LimitStatuses() []LimitStatus {
	var statuses []LimitStatus
	now := l.moments()
	for name, b := range l.current.Load().limits {
		for e := range b.entries() {
			if e.ceiling {
				continue
			}
			m := e.rateLimit(now[e.period])
			status := LimitStatus{Consumer: name, Limit: e.name, Model: e.model, Amount: e.unit.amount(m.Limit), Used: e.unit.amount(m.Used), Remaining: e.unit.amount(m.Remaining), Reset: m.Reset, UsedUp: e.refuses(now[e.period])}
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
	Amount    float64       // the limit: tokens, requests, or money in the currency of the prices
	Wait      time.Duration // until the limit may have enough left; 0 = a wait does not help
	Resets    time.Time     // when a month's limit is renewed, UTC; zero for any other
	Retryable bool          // whether the same request can succeed within about a minute
	Reserved  bool          // it is not used up, but reserved by requests under way on this instance
	Unknown   bool          // nothing says that it has not enough left: the table did not answer in time
}

// maxRetryAfterSeconds is the longest wait that every SDK honours
// (docs/azure-openai.md#sdk-retries).
const maxRetryAfterSeconds = 59

func (e *ExceededError) Error() string {
	amount := strconv.FormatFloat(e.Amount, 'f', -1, 64)
	switch {
	case e.Unknown:
		return fmt.Sprintf("quota unknown: what is left of %s (%s) could not be read from the table in time. Please retry after a second", e.Limit, amount)
	case e.Reserved:
		return fmt.Sprintf("quota exceeded: what is left of %s (%s) is reserved for what requests under way may use. Please retry after %d seconds, or ask for fewer tokens", e.Limit, amount, e.Wait/time.Second)
	case e.Retryable:
		return fmt.Sprintf("quota exceeded: %s (%s) has not enough left. Please retry after %d seconds", e.Limit, amount, min(maxRetryAfterSeconds, int64((e.Wait+time.Second-1)/time.Second)))
	case !e.Resets.IsZero():
		return fmt.Sprintf("quota exceeded: %s (%s) has not enough left for this request. It resets at %s; ask the operator for more", e.Limit, amount, e.Resets.UTC().Format("2006-01-02T15:04Z"))
	}
	return fmt.Sprintf("quota exceeded: the request alone is larger than %s (%s) allows; make it smaller or ask the operator for more", e.Limit, amount)
}

// unconfirmedWait is the wait of who was refused without the table.
const unconfirmedWait = time.Second

// reservedWait is the wait for requests under way to end.
const reservedWait = 2 * time.Second

// exceeded returns the error for n units of this limit, as many as are expected to be
// used.
func (l *Limiter) exceeded(e *limitState, decision lease.Decision, n int64) *ExceededError {
	exceeded := &ExceededError{Limit: e.label(), Amount: e.unit.amount(e.amount)}
	if decision == lease.TooLarge {
		return exceeded
	}
	m := l.moment(e.period)
	e.mu.Lock()
	s := e.account.Status(m)
	if decision == lease.Denied && 100*float64(s.Spent) >= nearlyUsed*float64(s.Limit) {
		e.usedUp = s.Window
	}
	e.mu.Unlock()
	exceeded.Wait = untilEnd(e.period, s.Window, m)
	exceeded.Unknown = decision == lease.Undecided
	if e.ceiling {
		exceeded.Amount, exceeded.Reserved = e.unit.amount(e.amount/2), !exceeded.Unknown
	}
	if e.period == lease.Month {
		exceeded.Resets = e.period.Ends(s.Window)
		exceeded.Reserved = !exceeded.Unknown && s.UnderWay > 0 && s.Remaining+s.UnderWay >= n
	}
	exceeded.Retryable = exceeded.Unknown || exceeded.Reserved || e.period == lease.Minute
	if exceeded.Reserved {
		exceeded.Wait = min(exceeded.Wait, reservedWait)
	}
	if exceeded.Unknown || e.period == lease.Minute && !e.ceiling && s.Remaining >= n {
		exceeded.Wait = min(exceeded.Wait, unconfirmedWait)
	}
	return exceeded
}

// amount is so many units, in the unit of the configuration.
func (u unit) amount(n int64) float64 {
	if u == money {
		return lease.Amount(n)
	}
	return float64(n)
}

// untilEnd is the time until the window has ended for certain, by this
// instance's clock.
func untilEnd(p lease.Period, window int64, m lease.Moment) time.Duration {
	wait := m.UntilEnd(p, window)
	return max(time.Millisecond, wait+wait/(maxDrift/2)+time.Millisecond)
}
