package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/memory"
)

// runJanitors runs n janitors on one table for a while, and returns when they
// worked.
func runJanitors(t *testing.T, store tablestore.Store, n int, duration time.Duration, busy func(i int) bool) (rounds []time.Time) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var mu sync.Mutex
	var running sync.WaitGroup
	for i := range n {
		replica := &Janitor{Store: store, Busy: func() bool { return busy(i) }, Instance: fmt.Sprint("i-", i), Tasks: []Task{
			{"fails", func(context.Context) (int, error) { return 0, errors.New("no") }},
			{"counts", func(context.Context) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				rounds = append(rounds, time.Now())
				return 1, nil
			}},
		}}
		running.Go(func() { replica.Run(ctx) })
	}
	running.Wait()
	return rounds
}

func TestOneInstanceDoesMaintenanceAtMostHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rounds := runJanitors(t, new(memory.Store), 20, 10*time.Hour, func(int) bool { return true })
		if len(rounds) < 9 || len(rounds) > 10 {
			t.Errorf("%d rounds in ten hours", len(rounds))
		}
		for i := 1; i < len(rounds); i++ {
			if gap := rounds[i].Sub(rounds[i-1]); gap < time.Hour-time.Second { // the row has whole seconds
				t.Errorf("rounds %v apart", gap)
			}
		}
	})
}

func TestIdleInstanceDoesNoMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		if rounds := runJanitors(t, store, 5, 10*time.Hour, func(int) bool { return false }); len(rounds) > 0 {
			t.Errorf("%d rounds without traffic", len(rounds))
		}
		if rows, _, err := store.List(t.Context(), "", "", ""); err != nil || len(rows) > 0 {
			t.Errorf("%d rows written without traffic, %v", len(rows), err)
		}
	})
}

func TestFaultyTableCausesNoSecondRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &chaos.Store{Inner: new(memory.Store), Faults: chaos.TypicalFaults().Scale(3)}
		rounds := runJanitors(t, store, 10, 20*time.Hour, func(int) bool { return true })
		store.Wait()
		for i := 1; i < len(rounds); i++ {
			if gap := rounds[i].Sub(rounds[i-1]); gap < time.Hour-40*time.Second { // a claim may be applied 30 s late
				t.Errorf("rounds %v apart", gap)
			}
		}
		if len(rounds) < 10 {
			t.Errorf("%d rounds in twenty hours", len(rounds))
		}
	})
}

func TestClaimInTheFutureIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		for _, at := range []string{"99999999999", "nonsense", ""} {
			row := tablestore.Row{Partition: janitorPartition, Key: janitorKey, Columns: map[string]string{claimedAtColumn: at}}
			if _, _, err := store.Upsert(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			replica := &Janitor{Store: store}
			if mine, err := replica.Claim(t.Context()); !mine || err != nil {
				t.Errorf("%q: %t, %v", at, mine, err)
			}
			if mine, err := replica.Claim(t.Context()); mine || err != nil {
				t.Errorf("%q, again: %t, %v", at, mine, err)
			}
		}
	})
}
