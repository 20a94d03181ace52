package affinity_test

import (
	"context"
	"errors"
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
	made.Due = "48"
	first.Record(t.Context(), made, "resp_1")
	made.Due = ""
	first.Record(t.Context(), made, "resp_2")
	if l, err := last.Lookup(t.Context(), "team", "resp_1"); err != nil || l.Backend != "a" {
		t.Errorf("located at %+v, %v", l, err)
	}
	if got, err := last.TakeDue("team", "resp_2")(t.Context()); got != "" || table != errors.Is(err, affinity.ErrUnknown) {
		t.Errorf("%q %v, want that nothing is due so far", got, err)
	}
	for owner, id := range map[string]string{"other": "resp_1", "": "resp_1"} {
		if got, err := last.TakeDue(owner, id)(t.Context()); got != "" || err != nil {
			t.Errorf("%s of %q: %q %v, want nothing", id, owner, got, err)
		}
	}
	if ok, err := last.ReplaceDue(t.Context(), "team", "resp_2", "1"); ok || err != nil {
		t.Errorf("what is not due was replaced: %v", err)
	}
	if ok, err := last.ReplaceDue(t.Context(), "team", "resp_1", "50"); !ok || err != nil {
		t.Errorf("what is due was not replaced: %v", err)
	}
	f.lost.Store(lost)
	var taken atomic.Int64
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			switch got, err := stores[n%len(stores)].TakeDue("team", "resp_1")(t.Context()); {
			case err != nil:
				t.Error(err)
			case got == "50":
				taken.Add(1)
			case got != "":
				t.Errorf("%q is due", got)
			}
		})
	}
	all.Wait()
	if ok, err := first.ReplaceDue(t.Context(), "team", "resp_1", "7"); ok || err != nil {
		t.Errorf("what was taken was replaced: %v", err)
	}
	if got, err := last.TakeDue("team", "resp_1")(t.Context()); taken.Load() != 1 || got != "" || err != nil {
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
		one.Record(t.Context(), affinity.Location{Backend: "a", Owner: "team", Due: "48", CreatedAt: time.Now()}, "resp_1")
		if got, err := two.TakeDue("team", "resp_1")(t.Context()); got != "" || err == nil {
			t.Errorf("%q %v, want that the table is away", got, err)
		}
		table.down.Store(false)
		time.Sleep(time.Minute)
		if got, err := two.TakeDue("team", "resp_1")(t.Context()); got != "48" || err != nil {
			t.Errorf("%q %v, want 48", got, err)
		}
	})
}

// Who takes what is due before the table has the object inserts it, so that the late
// write changes nothing. What another instance claimed meanwhile gets what is due.
func TestDueOfWhatIsNotYetWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &slow{Store: new(memory.Store)}
		one, two := affinity.New(affinity.Config{Table: table}), affinity.New(affinity.Config{Table: table})
		made := affinity.Location{Backend: "a", Owner: "team", Due: "48", CreatedAt: time.Now()}
		table.down.Store(true)
		one.Record(t.Context(), made, "resp_1")
		one.Record(t.Context(), made, "resp_2")
		table.down.Store(false)
		for _, want := range []string{"48", ""} {
			if got, err := one.TakeDue("team", "resp_1")(t.Context()); got != want || err != nil {
				t.Errorf("%q %v is due, want %q", got, err, want)
			}
		}
		claimed := made
		claimed.Due = ""
		if err := two.Claim(t.Context(), claimed, "resp_2"); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { one.Run(ctx) })
		defer running.Wait()
		defer cancel()
		time.Sleep(time.Minute)
		for id, want := range map[string]string{"resp_1": "", "resp_2": "48"} {
			if got, err := two.TakeDue("team", id)(t.Context()); got != want || err != nil {
				t.Errorf("%q %v is due of %s once it is written, want %q", got, err, id, want)
			}
		}
	})
}

// A write that landed, though the table did not say so until the time was over, is known
// when it is tried again.
func TestTakingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &slow{Store: new(memory.Store)}
		answers := &forgetful{Store: table}
		one, two := affinity.New(affinity.Config{Table: answers}), affinity.New(affinity.Config{Table: table})
		two.Record(t.Context(), affinity.Location{Backend: "a", Owner: "team", Due: "48", CreatedAt: time.Now()}, "resp_1")
		answers.lost.Store(1)
		take := one.TakeDue("team", "resp_1")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := take(ctx); got != "" || !errors.Is(err, affinity.ErrUnavailable) {
			t.Errorf("%q %v, want that the table did not answer", got, err)
		}
		if got, err := take(t.Context()); got != "48" || err != nil {
			t.Errorf("%q %v, want 48", got, err)
		}
		if got, err := two.TakeDue("team", "resp_1")(t.Context()); got != "" || err != nil {
			t.Errorf("%q %v is due of what was taken", got, err)
		}
	})
}
