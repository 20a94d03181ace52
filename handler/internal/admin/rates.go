package admin

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// The last minute is kept in intervals, of which the oldest is dropped when a new
// one begins: sums are of the last 55 to 60 seconds.
const (
	intervalCount  = 12
	intervalLength = 5 * time.Second
)

// Times to the first token are counted in buckets of a quarter octave, from 1 ms
// to 15 min: a percentile is within 9 %, and the counts of several instances can
// be added.
const (
	buckets   = 80
	perOctave = 4
)

// rates counts the last minute of a backend or a consumer. The zero rates is
// empty. It is safe for concurrent use.
type rates struct {
	mu sync.Mutex
	by [intervalCount]interval
}

type interval struct {
	number int64 // of the interval, since the epoch
	counts counts
	first  [buckets]uint32
}

// counts only grow, within an interval.
type counts struct {
	Attempts  int64 `json:"a,omitempty"`
	Served    int64 `json:"s,omitempty"`
	Throttled int64 `json:"q,omitempty"`
	Failed    int64 `json:"f,omitempty"`
	Silent    int64 `json:"n,omitempty"`
	Hedges    int64 `json:"g,omitempty"`
	Tokens    int64 `json:"t,omitempty"`
}

func (c *counts) add(o *counts) {
	c.Attempts += o.Attempts
	c.Served += o.Served
	c.Throttled += o.Throttled
	c.Failed += o.Failed
	c.Silent += o.Silent
	c.Hedges += o.Hedges
	c.Tokens += o.Tokens
}

// add counts what happened at an instant. first is the time to the first token, or
// noFirstToken.
func (m *rates) add(at time.Time, c counts, first time.Duration) {
	number := at.UnixNano() / int64(intervalLength)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.by[number%intervalCount]
	if late := s.number - number; late > 0 && late <= intervalCount {
		return // its interval was dropped
	}
	if s.number != number { // also when the clock was set back
		*s = interval{number: number}
	}
	s.counts.add(&c)
	if first >= 0 {
		s.first[bucketOf(first)]++
	}
}

// sum is the last minute.
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

// midpoint is the geometric middle of a bucket, in milliseconds.
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

// sparse is the buckets that are not empty, as pairs of bucket and count.
type sparse [][2]uint32

func (h *histogram) sparse() sparse {
	var pairs sparse
	for b, n := range h {
		if n > 0 {
			pairs = append(pairs, [2]uint32{uint32(b), n})
		}
	}
	return pairs
}

func (h *histogram) addSparse(pairs sparse) {
	for _, p := range pairs {
		if p[0] < buckets {
			h[p[0]] += p[1]
		}
	}
}

// maxConsumers bounds the consumers that are counted.
const maxConsumers = 1000

// consumerRates is rates by consumer. The zero consumerRates is empty.
type consumerRates struct {
	mu sync.RWMutex
	by map[string]*rates
}

func (c *consumerRates) add(name string, at time.Time, n counts) {
	if m := c.ratesOf(name); m != nil {
		m.add(at, n, noFirstToken)
	}
}

// ratesOf is the rates of a consumer, added when it is new; nil = there are too
// many.
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

// utilizationMaxAge is how long a reported utilization is shown: the service
// counts per minute, see docs/azure-openai.md#how-limits-count.
const utilizationMaxAge = time.Minute

// utilization is what a backend last reported: the utilization of a provisioned
// deployment, or the used part of its tokens per minute. The zero utilization is
// unknown. Of two concurrent updates one may be lost.
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
