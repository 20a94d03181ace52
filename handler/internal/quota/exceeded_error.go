package quota

import (
	"fmt"
	"time"

	"spillway/handler/internal/quota/lease"
)

// ExceededError is the refusal of a request that a limit of its consumer has no
// room for. Its text is fit for the caller.
type ExceededError struct {
	Limit     string        // as the pool document names it: "tokensPerMinute", "budgetPerMonth of model gpt-4o"
	Amount    int64         // the limit itself, in its unit; 0 = money
	Wait      time.Duration // until the limit has room again, or may have; 0 = no wait helps
	Retryable bool          // whether the same request can succeed within a minute or so
}

// maxRetryAfterSeconds is the longest wait that every SDK takes seriously (design.md §4).
const maxRetryAfterSeconds = 59

func (e *ExceededError) Error() string {
	switch {
	case e.Retryable:
		return fmt.Sprintf("quota exceeded: %s. Please retry after %d seconds", e.Limit, min(maxRetryAfterSeconds, int64((e.Wait+time.Second-1)/time.Second)))
	case e.Wait > 0:
		return fmt.Sprintf("quota exceeded: %s has no room for this request until the month ends, in %d hours; ask the operator for more", e.Limit, int64((e.Wait+time.Hour-1)/time.Hour))
	}
	return fmt.Sprintf("quota exceeded: the request alone is larger than %s (%d) allows; make it smaller or ask the operator for more", e.Limit, e.Amount)
}

// unconfirmedWait is the wait when the table did not say in time whether there is room.
const unconfirmedWait = time.Second

// exceeded is the refusal of n units by this limit.
func (l *Limiter) exceeded(e *limitState, answer lease.Decision, n int64) *ExceededError {
	refusal := &ExceededError{Limit: e.label()}
	if e.unit != money {
		refusal.Amount = e.amount
	}
	if answer == lease.TooLarge {
		return refusal
	}
	e.mu.Lock()
	s := e.account.Status(l.moment(e.period))
	e.mu.Unlock()
	refusal.Retryable = e.period == lease.Minute
	refusal.Wait = l.untilEnd(e.period, s.Window)
	if s.Remaining >= n && e.period == lease.Minute {
		refusal.Wait = min(refusal.Wait, unconfirmedWait)
	}
	return refusal
}

// untilEnd is how long it takes until the window has ended for certain, by this
// instance's clock.
func (l *Limiter) untilEnd(p lease.Period, window int64) time.Duration {
	earliest, _, _ := l.clock.bounds(l.now())
	wait := p.Ends(window).Sub(earliest)
	return max(time.Millisecond, wait+wait/(maxDrift/2)+time.Millisecond)
}
