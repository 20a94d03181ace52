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

// Chore is something to be done now and then. It must not matter when it is
// left out, or done twice.
type Chore struct {
	Name string
	Do   func(ctx context.Context) (removed int, err error)
}

// Janitor does the chores when it is this instance's turn. Store, Busy and Chores
// are needed; the zero value of any other field is its default.
type Janitor struct {
	Store    tablestore.Store
	Busy     func() bool // whether there was traffic since it was last asked
	Chores   []Chore
	Instance string                                   // for people
	Every    time.Duration                            // between two rounds of the fleet; 0 = 1 h
	Look     time.Duration                            // between two looks at whose turn it is; 0 = 5 min
	Patience time.Duration                            // with one chore; 0 = 1 min
	Done     func(chore string, removed int, e error) // told of each chore; nil = nobody is
	Now      func() time.Time                         // for stores without a clock; nil = time.Now
}

// The row of the claim.
const (
	partition = "housekeeping"
	key       = "turn"
	columnAt  = "at" // Unix seconds, of the table service's clock
	columnBy  = "by"
)

// exchangeLimit is how long one exchange with the table may take.
const exchangeLimit = 10 * time.Second

// Run looks whose turn it is until ctx is done. The first look is not at once:
// a process that has just begun has better things to do.
func (k *Janitor) Run(ctx context.Context) {
	look := cmp.Or(k.Look, 5*time.Minute)
	for {
		timer := time.NewTimer(look/2 + rand.N(look)) //nolint:gosec // instances that began together part here; no secret depends on it
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if !k.Busy() {
			continue
		}
		if mine, _ := k.Claim(ctx); mine { // without the table there is nothing to tidy either
			k.work(ctx)
		}
	}
}

// Claim takes this round's duty, and reports whether it is this instance's.
func (k *Janitor) Claim(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	row, reply, err := k.Store.Get(ctx, partition, key)
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		return false, fmt.Errorf("read whose turn it is: %w", err)
	}
	now := k.now(reply)
	last, _ := strconv.ParseInt(row.Columns[columnAt], 10, 64)
	if since := now.Sub(time.Unix(last, 0)); last > 0 && since >= 0 && since < cmp.Or(k.Every, time.Hour) {
		return false, nil
	}
	_, _, err = k.Store.Put(ctx, tablestore.Row{
		Partition: partition, Key: key, Version: row.Version,
		Columns: map[string]string{columnAt: strconv.FormatInt(now.Unix(), 10), columnBy: k.Instance},
	})
	if err != nil {
		return false, fmt.Errorf("claim the turn: %w", err)
	}
	return true, nil
}

// now is the table service's clock.
func (k *Janitor) now(reply tablestore.Reply) time.Time {
	switch {
	case !reply.Date.IsZero():
		return reply.Date
	case k.Now != nil:
		return k.Now()
	}
	return time.Now()
}

func (k *Janitor) work(ctx context.Context) {
	for _, c := range k.Chores {
		if ctx.Err() != nil {
			return
		}
		removed, err := k.do(ctx, c)
		if k.Done != nil {
			k.Done(c.Name, removed, err)
		}
	}
}

func (k *Janitor) do(ctx context.Context, c Chore) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(k.Patience, time.Minute))
	defer cancel()
	return c.Do(ctx)
}
