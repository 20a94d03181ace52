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

// Task is periodic maintenance. It must be harmless to leave out or to run twice.
type Task struct {
	Name string
	Run  func(ctx context.Context) (removed int, err error)
}

// Janitor has the maintenance of a fleet done by one of its instances, at most once
// an hour, while there is traffic. A timer trigger of the Functions host would
// keep an instance awake for it.
//
// The duty is claimed ahead of the work, by a compare-and-swap of the claim's
// instant: a second instance finds it taken. An instance that is killed at work
// leaves the rest to the next hour.
//
// Store, Busy and Tasks are required; the zero value of any other field is its
// default.
type Janitor struct {
	Store         tablestore.Store
	Busy          func() bool // whether there was traffic since the last call
	Tasks         []Task
	Instance      string                                  // for people
	Interval      time.Duration                           // between two rounds in the fleet; 0 = 1 h
	CheckInterval time.Duration                           // between two attempts to claim; 0 = 5 min
	TaskTimeout   time.Duration                           // of one task; 0 = 1 min
	OnDone        func(task string, removed int, e error) // called after each task; nil = it is not
	Now           func() time.Time                        // for stores without a clock; nil = time.Now
}

// The row of the claim.
const (
	janitorPartition = "housekeeping"
	janitorKey       = "turn"
	claimedAtColumn  = "at" // Unix seconds, of the table service's clock
	claimedByColumn  = "by"
)

// claimTimeout bounds the exchanges of one claim.
const claimTimeout = 10 * time.Second

// Run claims and does the maintenance until ctx is done. The first check is not
// immediate: a process that has just started has more urgent work.
func (j *Janitor) Run(ctx context.Context) {
	interval := cmp.Or(j.CheckInterval, 5*time.Minute)
	for {
		timer := time.NewTimer(interval/2 + rand.N(interval)) //nolint:gosec // spreads instances that started together; not a secret
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if !j.Busy() {
			continue
		}
		if mine, _ := j.Claim(ctx); mine { // without the table there is nothing to do either
			j.runTasks(ctx)
		}
	}
}

// Claim takes this interval's maintenance, and reports whether this instance has
// it.
func (j *Janitor) Claim(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	row, response, err := j.Store.Get(ctx, janitorPartition, janitorKey)
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		return false, fmt.Errorf("read the claim of maintenance: %w", err)
	}
	now := j.now(response)
	last, _ := strconv.ParseInt(row.Columns[claimedAtColumn], 10, 64)
	if since := now.Sub(time.Unix(last, 0)); last > 0 && since >= 0 && since < cmp.Or(j.Interval, time.Hour) {
		return false, nil
	}
	_, _, err = j.Store.Put(ctx, tablestore.Row{
		Partition: janitorPartition, Key: janitorKey, Version: row.Version,
		Columns: map[string]string{claimedAtColumn: strconv.FormatInt(now.Unix(), 10), claimedByColumn: j.Instance},
	})
	if err != nil {
		return false, fmt.Errorf("claim maintenance: %w", err)
	}
	return true, nil
}

// now is the table service's clock, else the local one.
func (j *Janitor) now(response tablestore.Response) time.Time {
	switch {
	case !response.Date.IsZero():
		return response.Date
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
