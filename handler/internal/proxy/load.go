package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

var _ balancer.Load = (*Load)(nil)

// Load is what this process has seen of the backends lately. It is safe for
// concurrent use.
type Load struct{ slots []slotLoad }

type slotLoad struct {
	inFlight   atomic.Int64
	firstToken atomic.Int64 // moving average, nanoseconds
	_          [48]byte     // a cache line each: neighbours do not disturb one another
}

// NewLoad makes room for n slots.
func NewLoad(n int) *Load { return &Load{slots: make([]slotLoad, n)} }

// InFlight is how many attempts are under way.
func (l *Load) InFlight(slot health.Slot) int64 { return l.slots[slot].inFlight.Load() }

// FirstToken is the moving average of the time to the first token, or to the
// whole answer where there is no stream; 0 = none was seen.
func (l *Load) FirstToken(slot health.Slot) time.Duration {
	return time.Duration(l.slots[slot].firstToken.Load())
}

func (l *Load) begin(slot health.Slot) { l.slots[slot].inFlight.Add(1) }

func (l *Load) end(slot health.Slot) { l.slots[slot].inFlight.Add(-1) }

// recordFirstToken folds in one measurement with weight 1/8. Two at once may lose one:
// an average can bear it.
func (l *Load) recordFirstToken(slot health.Slot, took time.Duration) {
	known := &l.slots[slot].firstToken
	old := known.Load()
	if old == 0 {
		known.Store(int64(took))
		return
	}
	known.Store(old + (int64(took)-old)/8)
}

// RoundRobin counts the requests of each pool, so that round-robin is exact however
// many requests are decided at once. The zero RoundRobin is ready for use.
type RoundRobin struct{ counters sync.Map }

func (t *RoundRobin) next(p *balancer.Pool) uint64 {
	count, ok := t.counters.Load(p)
	if !ok {
		count, _ = t.counters.LoadOrStore(p, new(atomic.Uint64))
	}
	return count.(*atomic.Uint64).Add(1) - 1
}
