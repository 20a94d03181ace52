package affinity_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// forgetful is a table whose answers to some writes are lost.
type forgetful struct {
	tablestore.Store
	lost atomic.Int64 // of the next writes
}

func (f *forgetful) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	v, res, err := f.Store.Put(ctx, row)
	if err == nil && f.lost.Add(-1) >= 0 {
		return "", res, tablestore.ErrUnknown
	}
	return v, res, err
}

// Of all instances that ask at the same time, one gets what is due of an object.
func TestDueIsTakenOnce(t *testing.T) {
	for name, c := range map[string]struct {
		table bool
		lost  int64
	}{"in memory": {}, "in the table": {table: true}, "whose answers are lost": {table: true, lost: 1}} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { dueIsTakenOnce(t, c.table, c.lost) }) })
	}
}

func dueIsTakenOnce(t *testing.T, table bool, lost int64) {
	f := &forgetful{Store: new(memory.Store)}
	made := affinity.Location{Backend: "a", Model: "m", Kind: "response", Owner: "team", CreatedAt: time.Now()}
	stores := []*affinity.Store{affinity.New(affinity.Config{})}
	if table {
		stores = nil
		for range 5 {
			s := affinity.New(affinity.Config{Table: &slow{Store: f, delayed: 10 * time.Millisecond}})
			stores = append(stores, s)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { s.Run(ctx) })
			t.Cleanup(func() { cancel(); running.Wait() })
		}
	}
	first, last := stores[0], stores[len(stores)-1]
	first.Remember(made, "resp_1", "resp_2")
	due := made
	due.Due = "48"
	first.RecordDue(t.Context(), due, "resp_1")
	due.Owner = "other"
	first.RecordDue(t.Context(), due, "resp_2")
	if l, err := last.Lookup(t.Context(), "team", "resp_1"); err != nil || l.Backend != "a" {
		t.Errorf("located at %+v, %v", l, err)
	}
	for owner, id := range map[string]string{"other": "resp_1", "team": "resp_2", "": "resp_1"} {
		if got, err := last.TakeDue(t.Context(), owner, id); got != "" || err != nil {
			t.Errorf("%s of %q: %q %v, want nothing", id, owner, got, err)
		}
	}
	f.lost.Store(lost)
	var taken atomic.Int64
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			switch got, err := stores[n%len(stores)].TakeDue(t.Context(), "team", "resp_1"); {
			case err != nil:
				t.Error(err)
			case got == "48":
				taken.Add(1)
			case got != "":
				t.Errorf("%q is due", got)
			}
		})
	}
	all.Wait()
	first.RecordDue(t.Context(), affinity.Location{Backend: "a", Owner: "team", Due: "7", CreatedAt: made.CreatedAt}, "resp_1") // late
	if got, err := last.TakeDue(t.Context(), "team", "resp_1"); taken.Load() != 1 || got != "" || err != nil {
		t.Errorf("taken %d times, then %q %v; want once", taken.Load(), got, err)
	}
}

func TestDueWaitsForATableThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &slow{Store: new(memory.Store)}
		one, two := affinity.New(affinity.Config{Table: table}), affinity.New(affinity.Config{Table: table})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { one.Run(ctx) })
		defer running.Wait()
		defer cancel()
		table.down.Store(true)
		one.RecordDue(t.Context(), affinity.Location{Backend: "a", Owner: "team", Due: "48", CreatedAt: time.Now()}, "resp_1")
		if got, err := two.TakeDue(t.Context(), "team", "resp_1"); got != "" || err == nil {
			t.Errorf("%q %v, want that the table is away", got, err)
		}
		table.down.Store(false)
		time.Sleep(time.Minute)
		if got, err := two.TakeDue(t.Context(), "team", "resp_1"); got != "48" || err != nil {
			t.Errorf("%q %v, want 48", got, err)
		}
	})
}
