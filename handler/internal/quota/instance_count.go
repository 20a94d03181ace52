package quota

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// instanceCount is how many instances run. To count them takes a reading of as many
// rows, so one instance counts for all, in turn, and puts the number on the
// notice board, which everybody reads anyway. An instance that has just started
// knows it with its first look.
type instanceCount struct {
	count     func(ctx context.Context) (int, error) // nil = nobody counts
	jitter    float64                                // spreads the turns; in [0,1)
	instances atomic.Int64                           // 0 = not known

	mu        sync.Mutex
	lastEntry string    // as last read
	since     time.Time // when it was first read so
	counting  bool      // this instance is counting
	sequence  int       // of this instance
}

const (
	instancesColumn  = "fleet"
	firstCountAfter  = 2 * time.Second  // instances tell of themselves at their first contact with the table
	recountAfter     = 15 * time.Second // how old a number gets at least
	maxInstanceCount = 100_000
)

// countEntry is the notice of a census.
type countEntry struct {
	Instances int    `json:"n"`
	Turn      string `json:"t"` // new with every count, so that all can see how old it is
}

// observe takes in what the board says, and reports whether it is this instance's
// turn to count: nobody has for as long as its luck has it wait.
func (c *instanceCount) observe(notice string, now time.Time) bool {
	var n countEntry
	if json.Unmarshal([]byte(notice), &n) == nil && n.Instances > 0 && n.Instances <= maxInstanceCount {
		c.instances.Store(int64(n.Instances))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() || notice != c.lastEntry {
		c.lastEntry, c.since = notice, now
	}
	round := recountAfter
	if notice == "" {
		round = firstCountAfter
	}
	if c.count == nil || c.counting || now.Sub(c.since) < time.Duration((1+c.jitter)*float64(round)) {
		return false
	}
	c.counting = true
	c.sequence++
	return true
}

// recount counts, and posts the number. What cannot be counted now is counted in
// the next round.
func (c *instanceCount) recount(ctx context.Context, l *Limiter) {
	n, err := c.count(ctx)
	if err == nil && n > 0 {
		text, _ := json.Marshal(countEntry{Instances: n, Turn: l.id + "-" + strconv.Itoa(c.nextSequence())}) // numbers and letters
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
