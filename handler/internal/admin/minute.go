package admin

import (
	"math"
	"sync"
	"time"
)

// A minute is kept in slices, of which the oldest is dropped as a new one
// begins: sums are of the last 55 to 60 seconds.
const (
	sliceCount = 12
	sliceLen   = 5 * time.Second
)

// Times to the first token are counted in buckets of a quarter octave, from a
// millisecond to a quarter of an hour: a percentile is within 9 %, and the sums
// of several instances are as good as those of one.
const (
	buckets   = 80
	perOctave = 4
)

// minute is what was seen of one thing in the last minute. The zero minute has
// seen nothing. It is safe for concurrent use.
type minute struct {
	mu sync.Mutex
	by [sliceCount]slice
}

type slice struct {
	number int64 // of the slice, since the epoch
	counts counts
	first  [buckets]uint32
}

// counts only grow, within a slice.
type counts struct {
	Attempts, Served, Throttled, Failed, Tokens int64
}

func (c *counts) add(o *counts) {
	c.Attempts += o.Attempts
	c.Served += o.Served
	c.Throttled += o.Throttled
	c.Failed += o.Failed
	c.Tokens += o.Tokens
}

// add notes what happened at an instant; first is the time to the first token,
// or noToken.
func (m *minute) add(at time.Time, c counts, first time.Duration) {
	number := at.UnixNano() / int64(sliceLen)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.by[number%sliceCount]
	if late := s.number - number; late > 0 && late <= sliceCount {
		return // a word on a slice that was dropped
	}
	if s.number != number { // also after a clock that was set back
		*s = slice{number: number}
	}
	s.counts.add(&c)
	if first >= 0 {
		s.first[bucketOf(first)]++
	}
}

// sum is what the last minute holds.
func (m *minute) sum(now time.Time) (counts, histogram) {
	var c counts
	var h histogram
	number := now.UnixNano() / int64(sliceLen)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.by {
		if s := &m.by[i]; s.number > number-sliceCount && s.number <= number {
			c.add(&s.counts)
			for b, n := range s.first {
				h[b] += n
			}
		}
	}
	return c, h
}

// histogram counts durations by bucket.
type histogram [buckets]uint32

func bucketOf(d time.Duration) int {
	ms := d.Seconds() * 1000
	if ms <= 1 {
		return 0
	}
	return min(int(perOctave*math.Log2(ms)), buckets-1)
}

// middle is the geometric middle of a bucket, in milliseconds.
func middle(bucket int) float64 {
	return math.Exp2((float64(bucket) + 0.5) / perOctave)
}

// quantile is in milliseconds; 0 when nothing was counted.
func (h *histogram) quantile(q float64) float64 {
	total := h.total()
	want, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for b, n := range h {
		if seen += uint64(n); n > 0 && seen >= want {
			return math.Round(middle(b)*10) / 10
		}
	}
	return 0
}

func (h *histogram) total() uint64 {
	var total uint64
	for _, n := range h {
		total += uint64(n)
	}
	return total
}

// sparse is the buckets that hold something, as pairs of bucket and count.
func (h *histogram) sparse() [][2]uint32 {
	pairs := [][2]uint32{}
	for b, n := range h {
		if n > 0 {
			pairs = append(pairs, [2]uint32{uint32(b), n})
		}
	}
	return pairs
}
