package affinity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

func TestLookupOfAnotherInstancesID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: 10 * time.Millisecond}
		a, stopA := run(t, affinity.Config{Table: store})
		b, stopB := run(t, affinity.Config{Table: store})
		defer stopB()
		before := time.Now()
		a.Remember(at("eu"), "resp_1", "rs_1")
		if waited := time.Since(before); waited != 0 {
			t.Errorf("Remember waited %v for the table", waited)
		}
		wantFound(t, a, "team", "resp_1", "eu")
		wantErr(t, b, "team", "resp_2", affinity.ErrUnknown)
		stopA()
		wantFound(t, b, "team", "resp_1", "eu")
		wantFound(t, b, "team", "rs_1", "eu")
		store.down.Store(true)
		wantFound(t, b, "team", "resp_1", "eu") // from memory
		wantErr(t, b, "team", "resp_3", affinity.ErrUnavailable)
	})
}

func TestLookupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := affinity.New(affinity.Config{Table: &slow{Store: new(memory.Store), delayed: time.Hour}})
		before := time.Now()
		wantErr(t, s, "team", "resp_1", affinity.ErrUnavailable)
		if waited := time.Since(before); waited != time.Second {
			t.Errorf("waited %v, want one second", waited)
		}
	})
}

func TestLookupOfManyIDsHasOneTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: 10 * time.Millisecond}
		s := affinity.New(affinity.Config{Table: store})
		s.Record(t.Context(), at("eu"), "file_1", "file_2")
		ids := []string{"file_1"}
		for i := range 62 {
			ids = append(ids, fmt.Sprint("unknown_", i))
		}
		ids = append(ids, "file_2")
		before := time.Now()
		_, errs := s.LookupAll(t.Context(), "team", ids)
		if waited := time.Since(before); waited > 500*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		if errs[0] != nil || errs[63] != nil || !errors.Is(errs[1], affinity.ErrUnknown) || !errors.Is(errs[62], affinity.ErrUnknown) {
			t.Errorf("errors %v", errs)
		}
		store.delayed = time.Hour
		before = time.Now()
		_, errs = s.LookupAll(t.Context(), "team", ids)
		if waited := time.Since(before); waited != time.Second || errs[0] != nil || !errors.Is(errs[1], affinity.ErrUnavailable) {
			t.Errorf("waited %v, errors %v", waited, errs[:2])
		}
	})
}

// Of hundreds of ids, all are read as long as a slow table answers; one that does not is
// waited for no longer than for one id.
func TestLookupOfHundredsOfIDsInASlowTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: 100 * time.Millisecond}
		s := affinity.New(affinity.Config{Table: store})
		var ids []string
		for i := range 1200 {
			ids = append(ids, fmt.Sprint("unknown_", i))
		}
		if _, errs := s.LookupGiven(t.Context(), "y", ids); slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, affinity.ErrUnknown) }) {
			t.Error("not all are read")
		}
		store.delayed = time.Hour
		time.Sleep(2 * time.Minute)
		before := time.Now()
		if _, errs := s.LookupGiven(t.Context(), "y", ids); time.Since(before) != time.Second || !errors.Is(errs[0], affinity.ErrUnavailable) {
			t.Errorf("%v after %v", errs[0], time.Since(before))
		}
	})
}

// However many ids one owner's requests name, no more than so many are read at once, and
// those of others are read beside them.
func TestFloodOfLookupsOfOneOwnerDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const once = 16
		store := &busy{slow: slow{Store: new(memory.Store), delayed: 100 * time.Millisecond}}
		s := affinity.New(affinity.Config{Table: store})
		var flood sync.WaitGroup
		for n := range 10 {
			var ids []string
			for i := range 200 {
				ids = append(ids, fmt.Sprint("unknown_", n, "_", i))
			}
			lookup := s.LookupGiven
			if n%2 == 1 {
				lookup = s.LookupAll
			}
			flood.Go(func() { lookup(t.Context(), "y", ids) })
		}
		time.Sleep(50 * time.Millisecond)
		before := time.Now()
		if _, errs := s.LookupAll(t.Context(), "x", []string{"other"}); !errors.Is(errs[0], affinity.ErrUnknown) || time.Since(before) > 300*time.Millisecond {
			t.Errorf("x: %v after %v", errs[0], time.Since(before))
		}
		flood.Wait()
		if most := store.most.Load(); most > once+1 {
			t.Errorf("%d reads at once", most)
		}
	})
}

// busy counts how many reads are under way.
type busy struct {
	slow
	now, most atomic.Int64
}

func (b *busy) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	if n := b.now.Add(1); n > b.most.Load() {
		b.most.Store(n)
	}
	defer b.now.Add(-1)
	return b.slow.Get(ctx, partition, key)
}

// Hundreds of ids that nobody made cost one read each, and a minute long no more.
func TestLookupOfIDsThatCallersMadeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: 10 * time.Millisecond}
		other := affinity.New(affinity.Config{Table: store})
		other.Record(t.Context(), at("eu"), "theirs")
		s := affinity.New(affinity.Config{Table: store})
		ids := []string{"theirs"}
		for i := range 600 {
			ids = append(ids, fmt.Sprint("unknown_", i))
		}
		lookup := func() time.Duration {
			before := time.Now()
			_, errs := s.LookupGiven(t.Context(), "y", ids)
			if !errors.Is(errs[0], affinity.ErrOtherOwner) || !errors.Is(errs[1], affinity.ErrUnknown) || !errors.Is(errs[600], affinity.ErrUnknown) {
				t.Errorf("errors %v", errs[:2])
			}
			return time.Since(before)
		}
		if waited := lookup(); waited > 400*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		if waited := lookup(); waited > 10*time.Millisecond {
			t.Errorf("waited %v for what was read before", waited)
		}
		// What is made meanwhile is its maker's, here at once.
		s.Remember(affinity.Location{Backend: "eu", Owner: "x"}, "unknown_1")
		if _, errs := s.LookupGiven(t.Context(), "y", []string{"unknown_1"}); !errors.Is(errs[0], affinity.ErrOtherOwner) {
			t.Errorf("%v", errs)
		}
		time.Sleep(2 * time.Minute)
		if waited := lookup(); waited < 100*time.Millisecond {
			t.Errorf("read again after %v", waited)
		}
		store.delayed = time.Hour
		if _, errs := s.LookupGiven(t.Context(), "y", []string{"new"}); !errors.Is(errs[0], affinity.ErrUnavailable) {
			t.Errorf("%v", errs)
		}
		if _, errs := s.LookupGiven(t.Context(), "y", []string{"unknown_1"}); !errors.Is(errs[0], affinity.ErrOtherOwner) {
			t.Errorf("made here, by another: %v", errs)
		}
	})
}
