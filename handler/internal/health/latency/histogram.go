package latency

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Times are counted in buckets whose bounds grow by a quarter of a power of two,
// from a millisecond to about 35 minutes: an error of at most 25 %.
const (
	perDoubling = 4
	buckets     = 21 * perDoubling
)

// perGeneration is how many answers a generation holds. The present and the one
// before it are "lately".
const perGeneration = 256

// recomputeEvery is after how many answers the percentile is computed again, once
// there are more than a few.
const recomputeEvery = 16

// histogram counts recent times. It is lock-free: an answer that is recorded while
// a generation ends may be lost, which a percentile tolerates. The zero histogram
// is empty.
type histogram struct {
	current     atomic.Uint32 // index of the present generation
	total       atomic.Int64  // answers in both generations, at least minAnswers once that was reached
	p95         atomic.Int64  // nanoseconds
	generations [2]generation
}

type generation struct {
	count  atomic.Uint32
	counts [buckets]atomic.Uint32
}

// record counts one time.
func (h *histogram) record(took time.Duration) {
	at := h.current.Load() & 1
	g := &h.generations[at]
	g.counts[bucketOf(took)].Add(1)
	n := g.count.Add(1)
	total := h.total.Add(1)
	if n == perGeneration {
		next := &h.generations[at^1]
		total = h.total.Add(-int64(next.count.Load()))
		next.clear()
		h.current.Store(at ^ 1)
	}
	if total <= 2*minAnswers || n%recomputeEvery == 0 {
		h.p95.Store(int64(h.percentile(0.95)))
	}
}

func (g *generation) clear() {
	for i := range g.counts {
		g.counts[i].Store(0)
	}
	g.count.Store(0)
}

// percentile is the upper bound of the bucket that holds it; 0 when there is none.
// It counts from above: what is asked for is near the top.
func (h *histogram) percentile(q float64) time.Duration {
	all := uint64(h.generations[0].count.Load()) + uint64(h.generations[1].count.Load())
	above := all - min(all, uint64(math.Ceil(q*float64(all))))
	for i := buckets - 1; i >= 0; i-- {
		n := h.bucket(i)
		if n > above {
			return upperBound(i)
		}
		above -= n
	}
	return 0
}

func (h *histogram) bucket(i int) uint64 {
	return uint64(h.generations[0].counts[i].Load()) + uint64(h.generations[1].counts[i].Load())
}

// bucketOf is the bucket of a time: the position of its highest bit, and the two
// bits below it.
func bucketOf(took time.Duration) int {
	micros := uint64(max(took, time.Millisecond).Microseconds())
	high := bits.Len64(micros) - 1
	i := (high-lowestBit)*perDoubling + int(micros>>(high-2)&3)
	return min(max(i, 0), buckets-1)
}

// lowestBit is the highest bit of a millisecond in microseconds.
const lowestBit = 9

// upperBound is the largest time of a bucket.
func upperBound(i int) time.Duration {
	high := i/perDoubling + lowestBit
	return time.Duration(uint64(5+i%perDoubling)<<(high-2)) * time.Microsecond
}
