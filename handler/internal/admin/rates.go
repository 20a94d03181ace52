package admin

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// A minute is kept in slices, of which the oldest is dropped as a new one
// begins: sums are of the last 55 to 60 seconds.
const (
	intervalCount  = 12
	intervalLength = 5 * time.Second
)

// Times to the first token are counted in buckets of a quarter octave, from a
// millisecond to a quarter of an hour: a percentile is within 9 %, and the sums
// of several instances are as good as those of one.
const (
	buckets   = 80
	perOctave = 4
)

// rates is what was seen of one thing in the last rates. The zero rates has
// seen nothing. It is safe for concurrent use.
type rates struct {
	mu sync.Mutex
	by [intervalCount]interval
}

type interval struct {
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
func (m *rates) add(at time.Time, c counts, first time.Duration) {
	number := at.UnixNano() / int64(intervalLength)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.by[number%intervalCount]
	if late := s.number - number; late > 0 && late <= intervalCount {
		return // a word on a slice that was dropped
	}
	if s.number != number { // also after a clock that was set back
		*s = interval{number: number}
	}
	s.counts.add(&c)
	if first >= 0 {
		s.first[bucketOf(first)]++
	}
}

// sum is what the last minute holds.
func (m *rates) sum(now time.Time) (counts, histogram) {
	var c counts
	var h histogram
	number := now.UnixNano() / int64(intervalLength)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.by {
		if s := &m.by[i]; s.number > number-intervalCount && s.number <= number {
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

// midpoint is the geometric midpoint of a bucket, in milliseconds.
func midpoint(bucket int) float64 {
	return math.Exp2((float64(bucket) + 0.5) / perOctave)
}

// quantile is in milliseconds; 0 when nothing was counted.
func (h *histogram) quantile(q float64) float64 {
	total := h.total()
	want, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for b, n := range h {
		if seen += uint64(n); n > 0 && seen >= want {
			return math.Round(midpoint(b)*10) / 10
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

// maxConsumers bounds how many consumers are counted apart.
const maxConsumers = 1000

// consumerRates is the last minute by consumer. The zero consumerRates has seen nobody.
type consumerRates struct {
	mu sync.RWMutex
	by map[string]*rates
}

func (c *consumerRates) add(name string, at time.Time, n counts) {
	if m := c.ratesOf(name); m != nil {
		m.add(at, n, noFirstToken)
	}
}

// ratesOf is the consumer's minute, made when it is new; nil when there are too many.
func (c *consumerRates) ratesOf(name string) *rates {
	c.mu.RLock()
	m := c.by[name]
	c.mu.RUnlock()
	if m != nil {
		return m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m = c.by[name]; m == nil && len(c.by) < maxConsumers {
		if c.by == nil {
			c.by = map[string]*rates{}
		}
		m = new(rates)
		c.by[name] = m
	}
	return m
}

func (c *consumerRates) sum(name string, now time.Time) counts {
	c.mu.RLock()
	m := c.by[name]
	c.mu.RUnlock()
	if m == nil {
		return counts{}
	}
	n, _ := m.sum(now)
	return n
}

// utilizationMaxAge is for how long a backend's word on how full it is is worth showing:
// a counter is reset each minute (facts/azure-openai.md §3.5).
const utilizationMaxAge = time.Minute

// utilization is how full a backend last said it was: the utilization of a
// provisioned deployment, or the part of its tokens per minute that is used.
// The zero utilization is unknown. Two at once may lose one.
type utilization struct {
	at      atomic.Int64  // Unix nanoseconds; 0 = never
	percent atomic.Uint64 // bits of a float64
}

func (f *utilization) record(at time.Time, s health.Signals) {
	percent := s.Utilization
	if percent < 0 && s.LimitTokens > 0 && s.RemainingTokens >= 0 {
		percent = 100 * (1 - min(float64(s.RemainingTokens)/float64(s.LimitTokens), 1))
	}
	if percent < 0 || s == (health.Signals{}) || math.IsNaN(percent) {
		return
	}
	f.percent.Store(math.Float64bits(percent))
	f.at.Store(at.UnixNano())
}

// current is the percentage, and whether it is known and fresh.
func (f *utilization) current(now time.Time) (float64, bool) {
	at := f.at.Load()
	if at == 0 || now.UnixNano()-at > int64(utilizationMaxAge) {
		return 0, false
	}
	return math.Float64frombits(f.percent.Load()), true
}
