// Package housekeeping has the chores of a fleet done by one of its instances,
// at most once an hour, while there is traffic. A timer of the Functions host
// would do them too, and would keep an instance awake for it.
//
// The duty is claimed ahead of the work, by swapping the instant of the claim
// into a row: whoever comes second finds it taken. An instance that is killed at
// its chores leaves the rest of them for the next hour.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"spillway/handler/internal/tablestore"
)

// Task is something to be done now and then. It must not matter when it is
// left out, or done twice.
type Task struct {
	Name string
	Run  func(ctx context.Context) (removed int, err error)
}

// Janitor does the chores when it is this instance's turn. Store, Busy and Chores
// are needed; the zero value of any other field is its default.
type Janitor struct {
	Store         tablestore.Store
	Busy          func() bool // whether there was traffic since it was last asked
	Tasks         []Task
	Instance      string                                   // for people
	Interval      time.Duration                            // between two rounds of the fleet; 0 = 1 h
	CheckInterval time.Duration                            // between two looks at whose turn it is; 0 = 5 min
	TaskTimeout   time.Duration                            // with one chore; 0 = 1 min
	OnDone        func(chore string, removed int, e error) // told of each chore; nil = nobody is
	Now           func() time.Time                         // for stores without a clock; nil = time.Now
}

// The row of the claim.
const (
	janitorPartition = "housekeeping"
	janitorKey       = "turn"
	claimedAtColumn  = "at" // Unix seconds, of the table service's clock
	claimedByColumn  = "by"
)

// claimTimeout is how long one exchange with the table may take.
const claimTimeout = 10 * time.Second

// Run looks whose turn it is until ctx is done. The first look is not at once:
// a process that has just begun has better things to do.
func (j *Janitor) Run(ctx context.Context) {
	look := cmp.Or(j.CheckInterval, 5*time.Minute)
	for {
		timer := time.NewTimer(look/2 + rand.N(look)) //nolint:gosec // instances that began together part here; no secret depends on it
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if !j.Busy() {
			continue
		}
		if mine, _ := j.Claim(ctx); mine { // without the table there is nothing to tidy either
			j.runTasks(ctx)
		}
	}
}

// Claim takes this round's duty, and reports whether it is this instance's.
func (j *Janitor) Claim(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	row, reply, err := j.Store.Get(ctx, janitorPartition, janitorKey)
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		return false, fmt.Errorf("read whose turn it is: %w", err)
	}
	now := j.now(reply)
	last, _ := strconv.ParseInt(row.Columns[claimedAtColumn], 10, 64)
	if since := now.Sub(time.Unix(last, 0)); last > 0 && since >= 0 && since < cmp.Or(j.Interval, time.Hour) {
		return false, nil
	}
	_, _, err = j.Store.Put(ctx, tablestore.Row{
		Partition: janitorPartition, Key: janitorKey, Version: row.Version,
		Columns: map[string]string{claimedAtColumn: strconv.FormatInt(now.Unix(), 10), claimedByColumn: j.Instance},
	})
	if err != nil {
		return false, fmt.Errorf("claim the turn: %w", err)
	}
	return true, nil
}

// now is the table service's clock.
func (j *Janitor) now(reply tablestore.Response) time.Time {
	switch {
	case !reply.Date.IsZero():
		return reply.Date
	case j.Now != nil:
		return j.Now()
	}
	return time.Now()
}

func (j *Janitor) runTasks(ctx context.Context) {
	for _, c := range j.Tasks {
		if ctx.Err() != nil {
			return
		}
		removed, err := j.runTask(ctx, c)
		if j.OnDone != nil {
			j.OnDone(c.Name, removed, err)
		}
	}
}

func (j *Janitor) runTask(ctx context.Context, c Task) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(j.TaskTimeout, time.Minute))
	defer cancel()
	return c.Run(ctx)
}
