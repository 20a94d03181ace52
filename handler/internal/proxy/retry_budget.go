package proxy

import (
	"sync"
	"time"
)

// RetryBudget bounds the attempts that follow a failed one to Share of the requests
// of the last ten seconds plus Minimum, so that an outage is not multiplied. Attempts
// after a throttle are free. The zero RetryBudget allows none. It is safe for
// concurrent use.
type RetryBudget struct {
	Share   float64
	Minimum float64

	mu       sync.Mutex
	updated  time.Time
	requests float64
	retries  float64
}

const budgetWindow = 10 * time.Second

// Deposit counts a request.
func (b *RetryBudget) Deposit(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decay(now)
	b.requests++
}

// Withdraw allows one attempt after a failure; false when the budget is used up.
func (b *RetryBudget) Withdraw(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decay(now)
	if b.retries+1 > b.requests*b.Share+b.Minimum {
		return false
	}
	b.retries++
	return true
}

// decay reduces both counts linearly over the window.
func (b *RetryBudget) decay(now time.Time) {
	keep := max(0, 1-now.Sub(b.updated).Seconds()/budgetWindow.Seconds())
	if b.updated.IsZero() || now.Before(b.updated) {
		keep = 1
	}
	b.requests *= keep
	b.retries *= keep
	b.updated = now
}
