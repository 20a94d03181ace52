package fleet

import (
	"sync/atomic"
	"time"
)

// windowCounter counts events by the time slice they fell into, over the last slices.
// It is for the request path: no lock, no allocation. Two events that open one
// slice at the same moment may count once; nothing rests on a single event.
type windowCounter struct {
	slice time.Duration
	cells []cell
}

type cell struct {
	slice atomic.Int64 // which one it counts; one more than its number, so that the zero cell counts none
	count atomic.Int64
}

// newWindowCounter counts over the given time, in so many slices.
func newWindowCounter(over time.Duration, slices int) windowCounter {
	return windowCounter{slice: max(over/time.Duration(slices), 1), cells: make([]cell, slices+1)}
}

func (t *windowCounter) add(now time.Duration) {
	n := int64(max(now, 0)/t.slice) + 1
	c := &t.cells[n%int64(len(t.cells))]
	if had := c.slice.Load(); had != n && c.slice.CompareAndSwap(had, n) {
		c.count.Store(0)
	}
	c.count.Add(1)
}

// since sums the slices that end after the instant from.
func (t *windowCounter) since(from, now time.Duration) (sum int64) {
	first, last := int64(max(from, 0)/t.slice)+1, int64(max(now, 0)/t.slice)+1
	for i := range t.cells {
		if n := t.cells[i].slice.Load(); n >= first && n <= last {
			sum += t.cells[i].count.Load()
		}
	}
	return sum
}

func (t *windowCounter) clear() {
	for i := range t.cells {
		t.cells[i].slice.Store(0)
	}
}
