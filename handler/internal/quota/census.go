package quota

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// census is how many instances run. To count them takes a reading of as many
// rows, so one instance counts for all, in turn, and puts the number on the
// notice board, which everybody reads anyway. An instance that has just started
// knows it with its first look.
type census struct {
	count func(ctx context.Context) (int, error) // nil = nobody counts
	luck  float64                                // spreads the turns; in [0,1)
	fleet atomic.Int64                           // 0 = not known

	mu     sync.Mutex
	notice string    // as last read
	since  time.Time // when it was first read so
	under  bool      // this instance is counting
	turns  int       // of this instance
}

const (
	censusColumn = "fleet"
	firstCount   = 2 * time.Second  // instances tell of themselves at their first contact with the table
	recount      = 15 * time.Second // how old a number gets at least
	mostFleet    = 100_000
)

// counted is the notice of a census.
type counted struct {
	Instances int    `json:"n"`
	Turn      string `json:"t"` // new with every count, so that all can see how old it is
}

// hear takes in what the board says, and reports whether it is this instance's
// turn to count: nobody has for as long as its luck has it wait.
func (c *census) hear(notice string, now time.Time) bool {
	var n counted
	if json.Unmarshal([]byte(notice), &n) == nil && n.Instances > 0 && n.Instances <= mostFleet {
		c.fleet.Store(int64(n.Instances))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() || notice != c.notice {
		c.notice, c.since = notice, now
	}
	round := recount
	if notice == "" {
		round = firstCount
	}
	if c.count == nil || c.under || now.Sub(c.since) < time.Duration((1+c.luck)*float64(round)) {
		return false
	}
	c.under = true
	c.turns++
	return true
}

// take counts, and posts the number. What cannot be counted now is counted in
// the next round.
func (c *census) take(ctx context.Context, l *Ledger) {
	n, err := c.count(ctx)
	if err == nil && n > 0 {
		text, _ := json.Marshal(counted{Instances: n, Turn: l.id + "-" + strconv.Itoa(c.turn())}) // numbers and letters
		err = l.board.Post(ctx, censusColumn, string(text))
	}
	if err == nil && n > 0 {
		c.fleet.Store(int64(n))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under, c.since = false, l.now()
}

func (c *census) turn() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns
}
