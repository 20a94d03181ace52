package proxy

import (
	"sync"
	"sync/atomic"

	"spillway/handler/internal/balancer"
)

// Turns counts the requests of each pool, so that round-robin is exact however
// many requests are decided at once. The zero Turns is ready for use.
type Turns struct{ of sync.Map }

func (t *Turns) next(p *balancer.Pool) uint64 {
	count, ok := t.of.Load(p)
	if !ok {
		count, _ = t.of.LoadOrStore(p, new(atomic.Uint64))
	}
	return count.(*atomic.Uint64).Add(1) - 1
}
