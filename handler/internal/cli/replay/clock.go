package replay

import (
	"sync/atomic"
	"time"
)

// clock is virtual time: one event at a time, in order of their instants, those of one
// instant in the order in which they were made.
type clock struct {
	now    atomic.Int64 // Unix nanoseconds; the limits read it from their goroutines
	queue  []event      // a heap
	number uint64
}

type event struct {
	at     int64
	number uint64
	do     func()
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.number < o.number
}

// time is the present instant.
func (c *clock) time() time.Time { return time.Unix(0, c.now.Load()).UTC() }

// after has something done when d has passed.
func (c *clock) after(d time.Duration, do func()) { c.at(c.now.Load()+int64(max(d, 0)), do) }

func (c *clock) at(instant int64, do func()) {
	c.number++
	c.queue = append(c.queue, event{max(instant, c.now.Load()), c.number, do})
	for i := len(c.queue) - 1; i > 0; {
		parent := (i - 1) / 2
		if !c.queue[i].before(&c.queue[parent]) {
			break
		}
		c.queue[i], c.queue[parent] = c.queue[parent], c.queue[i]
		i = parent
	}
}

// pop takes the next event.
func (c *clock) pop() event {
	first := c.queue[0]
	last := len(c.queue) - 1
	c.queue[0] = c.queue[last]
	c.queue[last] = event{}
	c.queue = c.queue[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && c.queue[child+1].before(&c.queue[child]) {
			child++
		}
		if !c.queue[child].before(&c.queue[i]) {
			return first
		}
		c.queue[i], c.queue[child] = c.queue[child], c.queue[i]
		i = child
	}
}
