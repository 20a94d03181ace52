package proxy

import (
	"sync"
	"sync/atomic"

	"spillway/handler/internal/balancer"
)

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
