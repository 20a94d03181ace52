package overload

import (
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// Guard watches the memory that the process really uses, of which that of requests is
// only a part. It is safe for concurrent use.
type Guard struct {
	Limit int64            // of the process, in bytes
	Live  func() int64     // what is in use; nil = liveBytes
	Now   func() time.Time // nil = time.Now

	next    atomic.Int64 // no look before, Unix nanoseconds
	short   atomic.Bool
	cleaned atomic.Int64 // when garbage was last collected for it, Unix nanoseconds
}

const (
	guardInterval = 100 * time.Millisecond
	cleanInterval = time.Second
	// guardPercent of the limit in use is more than the collector leaves while it has
	// anything to collect.
	guardPercent = 95
)

// Short reports whether memory is short, by a look that is at most a tenth of a
// second old.
func (g *Guard) Short() bool {
	now := time.Now
	if g.Now != nil {
		now = g.Now
	}
	t := now().UnixNano()
	if at := g.next.Load(); t >= at && g.next.CompareAndSwap(at, t+int64(guardInterval)) {
		g.look(t)
	}
	return g.short.Load()
}

// look compares what is in use with the limit. Above it little is let in, so that
// nothing might start the collection that finds out that it is over: look does.
func (g *Guard) look(now int64) {
	live := liveBytes
	if g.Live != nil {
		live = g.Live
	}
	over := live() > g.Limit/100*guardPercent
	g.short.Store(over)
	if over && now-g.cleaned.Load() >= int64(cleanInterval) {
		g.cleaned.Store(now)
		go runtime.GC()
	}
}

// liveBytes is what the last garbage collection found in use, and the stacks.
func liveBytes() int64 {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	sum := uint64(0)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return int64(sum)
}
