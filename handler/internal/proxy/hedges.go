package proxy

import (
	"math"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
)

// Hedges keeps, for each pool that has second attempts, when they begin and
// how many there may be. The zero Hedges is ready for use.
type Hedges struct{ pools sync.Map }

// hedgeStats is the books of one pool.
type hedgeStats struct {
	mu     sync.Mutex
	budget  float64 // second attempts that may be made now
	recent [256]time.Duration
	count  int           // of times to the first token ever seen
	delay  time.Duration // by percentile; 0 = too little was seen
}

const (
	maxHedgeBudget  = 10.0 // a quiet hour does not pay for a storm
	minSamples  = 20   // times to the first token that a percentile needs
	recomputeEvery = 16   // of them
)

func (h *Hedges) pool(p *balancer.Pool) *hedgeStats {
	kept, ok := h.pools.Load(p)
	if !ok {
		kept, _ = h.pools.LoadOrStore(p, new(hedgeStats))
	}
	return kept.(*hedgeStats)
}

// deposit counts a request: maxPercent of them may have a second attempt.
func (h *hedgeStats) deposit(maxPercent float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget = min(h.budget+maxPercent/100, maxHedgeBudget)
}

// withdraw takes leave for one second attempt.
func (h *hedgeStats) withdraw() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.budget < 1 {
		return false
	}
	h.budget--
	return true
}

// refund gives back the leave for a second attempt that was not made.
func (h *hedgeStats) refund() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget++
}

// recordFirstToken folds in a time to the first token. One that was broken off counts with
// what it had lasted: it was at least that.
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

// threshold is when a second attempt begins; false when nobody can tell yet.
func (h *hedgeStats) threshold(cfg balancer.Hedge) (time.Duration, bool) {
	if cfg.After > 0 {
		return cfg.After, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.delay, h.delay > 0
}
