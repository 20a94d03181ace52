package quota

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// instanceCount is how many instances run. To count them takes a read of as
// many rows, so one instance counts for all, in turn, and publishes the number
// in the change feed, which every instance reads. An instance that has just
// started knows it from its first read.
type instanceCount struct {
	count     func(ctx context.Context) (int, error) // nil = not counted
	jitter    float64                                // in [0,1), spreads the instances
	instances atomic.Int64                           // 0 = not known
	firstRead atomic.Pointer[time.Time]              // of the feed; nil = not read yet

	mu        sync.Mutex
	lastEntry string    // as last read
	since     time.Time // when it was first read
	counting  bool      // this instance is counting
	sequence  int       // of this instance
}

const (
	instancesColumn  = "fleet"
	firstCountAfter  = 2 * time.Second  // instances register at their first exchange with the table
	recountAfter     = 15 * time.Second // the least age at which a number is counted again
	maxInstanceCount = 100_000

	coldFor = 5 * time.Second // of traffic: until then those that start at once have counted each other
)

// cold reports whether this instance does not know yet which others have started.
func (c *instanceCount) cold(now time.Time) bool {
	first := c.firstRead.Load()
	return first == nil || now.Sub(*first) < coldFor
}

// countEntry is the entry of the feed.
type countEntry struct {
	Instances int    `json:"n"`
	Turn      string `json:"t"` // new with every count, so that every instance sees its age
}

// observe takes over the feed's entry, and reports whether this instance should
// count: no other has for as long as its jitter makes it wait.
func (c *instanceCount) observe(entry string, now time.Time) bool {
	c.firstRead.CompareAndSwap(nil, &now)
	var n countEntry
	if json.Unmarshal([]byte(entry), &n) == nil && n.Instances > 0 && n.Instances <= maxInstanceCount {
		c.instances.Store(int64(n.Instances))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() || entry != c.lastEntry {
		c.lastEntry, c.since = entry, now
	}
	round := recountAfter
	if entry == "" {
		round = firstCountAfter
	}
	if c.count == nil || c.counting || now.Sub(c.since) < time.Duration((1+c.jitter)*float64(round)) {
		return false
	}
	c.counting = true
	c.sequence++
	return true
}

// recount counts, and publishes the number. After an error it is tried again in
// the next round.
func (c *instanceCount) recount(ctx context.Context, l *Limiter) {
	n, err := c.count(ctx)
	if err == nil && n > 0 {
		text, _ := json.Marshal(countEntry{Instances: n, Turn: l.id + "-" + strconv.Itoa(c.nextSequence())})
		err = l.feed.Publish(ctx, instancesColumn, string(text))
	}
	if err == nil && n > 0 {
		c.instances.Store(int64(n))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counting, c.since = false, l.now()
}

func (c *instanceCount) nextSequence() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sequence
}
