package proxy

import (
	"math"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
)

// Hedges is the hedging state of each pool. The zero Hedges is ready for use; it is
// safe for concurrent use.
type Hedges struct{ pools sync.Map }

// hedgeStats is the hedging state of one pool.
type hedgeStats struct {
	mu     sync.Mutex
	budget float64 // hedges allowed now
	recent [256]time.Duration
	count  int           // of times to first token recorded
	delay  time.Duration // the percentile of recent; 0 = too few samples
}

const (
	maxHedgeBudget = 10.0 // however many requests were not hedged
	minSamples     = 20   // for a percentile
	recomputeEvery = 16   // samples
)

func (h *Hedges) pool(p *balancer.Pool) *hedgeStats {
	kept, ok := h.pools.Load(p)
	if !ok {
		kept, _ = h.pools.LoadOrStore(p, new(hedgeStats))
	}
	return kept.(*hedgeStats)
}

// deposit counts a request: maxPercent of them may be hedged.
func (h *hedgeStats) deposit(maxPercent float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget = min(h.budget+maxPercent/100, maxHedgeBudget)
}

// withdraw takes one hedge from the budget.
func (h *hedgeStats) withdraw() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.budget < 1 {
		return false
	}
	h.budget--
	return true
}

// refund returns a hedge that was not made.
func (h *hedgeStats) refund() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget++
}

// recordFirstToken records a time to first token. A cancelled attempt counts with how
// long it lasted, which is a lower bound.
func (h *hedgeStats) recordFirstToken(took time.Duration, percentile float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent[h.count%len(h.recent)] = took
	h.count++
	if percentile == 0 || h.count < minSamples || h.count%recomputeEvery != 0 && h.delay > 0 {
		return
	}
	seen := slices.Clone(h.recent[:min(h.count, len(h.recent))])
	slices.Sort(seen)
	h.delay = seen[min(int(math.Ceil(percentile*float64(len(seen)))), len(seen)-1)]
}

// threshold is after what time an attempt is hedged; false while samples are too few.
func (h *hedgeStats) threshold(cfg balancer.Hedge) (time.Duration, bool) {
	if cfg.After > 0 {
		return cfg.After, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.delay, h.delay > 0
}
