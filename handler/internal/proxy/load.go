package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

var _ balancer.Load = (*Load)(nil)

// Load is what this process measured of the backends lately. It is safe for
// concurrent use.
type Load struct {
	slots []slotLoad
	waits sync.Map // by model, of *waits
}

type slotLoad struct {
	inFlight   atomic.Int64
	firstToken atomic.Int64 // moving average, nanoseconds
	served     atomic.Int64 // when it served last, Unix milliseconds; 0 = never
	_          [40]byte     // one cache line each
}

// NewLoad returns a Load for n slots.
func NewLoad(n int) *Load { return &Load{slots: make([]slotLoad, n)} }

// Assign makes a slot, which no request uses, that of another deployment: of the same
// as the slot from; from < 0 = of one that was not known.
func (l *Load) Assign(slot, from health.Slot) {
	s := &l.slots[slot]
	s.firstToken.Store(0)
	s.served.Store(0)
	if from >= 0 {
		s.firstToken.Store(l.slots[from].firstToken.Load())
		s.served.Store(l.slots[from].served.Load())
	}
}

// InFlight is how many attempts are under way.
func (l *Load) InFlight(slot health.Slot) int64 { return l.slots[slot].inFlight.Load() }

// FirstToken is the moving average of the time to first token, or to the whole
// response where there is no stream; 0 = unknown.
func (l *Load) FirstToken(slot health.Slot) time.Duration {
	return time.Duration(l.slots[slot].firstToken.Load())
}

// Begin counts an attempt, until End.
func (l *Load) Begin(slot health.Slot) { l.slots[slot].inFlight.Add(1) }

// End is called once for each Begin.
func (l *Load) End(slot health.Slot) { l.slots[slot].inFlight.Add(-1) }

// recordFirstToken adds a measurement with weight 1/8. Of two concurrent ones, one
// may be lost, which an average tolerates.
func (l *Load) recordFirstToken(slot health.Slot, took time.Duration) {
	known := &l.slots[slot].firstToken
	old := known.Load()
	if old == 0 {
		known.Store(int64(took))
		return
	}
	known.Store(old + (int64(took)-old)/8)
}

// recordServed records that the backend served at now.
func (l *Load) recordServed(slot health.Slot, now time.Time) {
	served := &l.slots[slot].served
	if at := now.UnixMilli(); at > served.Load()+servedTick {
		served.Store(at)
	}
}

// servedTick is the precision of servedAt, so that requests do not contend for one
// cache line.
const servedTick = 100

// servedAt is when the backend last served, in Unix milliseconds; 0 = never.
func (l *Load) servedAt(slot health.Slot) int64 { return l.slots[slot].served.Load() }

// RoundRobin counts the decisions of each pool, so that concurrent requests start at
// different backends. The zero RoundRobin is ready for use.
type RoundRobin struct {
	Start    uint64 // number of a pool's first decision: random, else instances of few requests all use the first backend
	counters sync.Map
}

func (r *RoundRobin) next(p *balancer.Pool) uint64 {
	count, ok := r.counters.Load(p)
	if !ok {
		count, _ = r.counters.LoadOrStore(p, new(atomic.Uint64))
	}
	return r.Start + count.(*atomic.Uint64).Add(1) - 1
}
