package proxy

import (
	"sync"
	"time"
)

// Budget bounds how many attempts failures may add, so that an outage is not
// doubled by us: Share of the requests of the last ten seconds, plus Floor.
// Leaving a throttled backend costs nothing. The zero Budget allows none.
type Budget struct {
	Share float64
	Floor float64

	mu       sync.Mutex
	at       time.Time
	requests float64
	retries  float64
}

const budgetWindow = 10 * time.Second

// Earn counts a request.
func (b *Budget) Earn(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fade(now)
	b.requests++
}

// Spend takes leave for one more attempt after a failure; false when the
// budget is used up.
func (b *Budget) Spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fade(now)
	if b.retries+1 > b.requests*b.Share+b.Floor {
		return false
	}
	b.retries++
	return true
}

// fade lets both counts leak away over the window.
func (b *Budget) fade(now time.Time) {
	keep := max(0, 1-now.Sub(b.at).Seconds()/budgetWindow.Seconds())
	if b.at.IsZero() || now.Before(b.at) {
		keep = 1
	}
	b.requests *= keep
	b.retries *= keep
	b.at = now
}
