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
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/memory"
	"spillway/handler/internal/tablestore/storetest"
)

// slow is a table that delays its answers, and that can be made unavailable.
type slow struct {
	tablestore.Store
	delayed time.Duration
	down    atomic.Bool
	sets    atomic.Int64
}

func (s *slow) delay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return tablestore.ErrUnknown
	case <-time.After(s.delayed):
	}
	if s.down.Load() {
		return tablestore.ErrUnknown
	}
	return nil
}

func (s *slow) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	if err := s.delay(ctx); err != nil {
		return tablestore.Row{}, tablestore.Response{}, err
	}
	return s.Store.Get(ctx, partition, key)
}

func (s *slow) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.sets.Add(1)
	if err := s.delay(ctx); err != nil {
		return "", tablestore.Response{}, err
	}
	return s.Store.Put(ctx, row)
}

func (s *slow) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.sets.Add(1)
	if err := s.delay(ctx); err != nil {
		return "", tablestore.Response{}, err
	}
	return s.Store.Upsert(ctx, row)
}

// run starts a store; stop ends it when it has written its ids.
func run(t *testing.T, cfg affinity.Config) (s *affinity.Store, stop func()) {
	s = affinity.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return s, func() { cancel(); <-done }
}

func at(backend string) affinity.Location {
	now := time.Now().Truncate(time.Millisecond)
	return affinity.Location{Backend: backend, Model: "m", Kind: "response", Owner: "team", CreatedAt: now, Expires: now.Add(30 * 24 * time.Hour)}
}

func wantFound(t *testing.T, s *affinity.Store, owner, id, backend string) {
	t.Helper()
	if l, err := s.Lookup(t.Context(), owner, id); err != nil || l.Backend != backend || l.Model != "m" {
		t.Errorf("%s: %+v, %v, want it at %s", id, l, err, backend)
	}
}

func wantErr(t *testing.T, s *affinity.Store, owner, id string, want error) {
	t.Helper()
	if l, err := s.Lookup(t.Context(), owner, id); !errors.Is(err, want) {
		t.Errorf("%s: %+v, %v, want %v", id, l, err, want)
	}
}

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

func TestIDsBelongToTheirOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store)}
		a, stop := run(t, affinity.Config{Table: store})
		a.Remember(at("eu"), "resp_1")
		wantErr(t, a, "other", "resp_1", affinity.ErrOtherOwner)
		wantErr(t, a, "", "resp_1", affinity.ErrOtherOwner)
		stop()
		b := affinity.New(affinity.Config{Table: store})
		wantErr(t, b, "other", "resp_1", affinity.ErrOtherOwner)
		wantFound(t, b, "team", "resp_1", "eu")
	})
}

func TestClaimOfAnotherOwnersID(t *testing.T) {
	store := new(memory.Store)
	maker, stop := run(t, affinity.Config{Table: store})
	maker.Remember(at("eu"), "resp_1")
	stop()
	claimant := affinity.New(affinity.Config{Table: store})
	claim := at("eu")
	claim.Owner = "claimant"
	if err := claimant.Claim(t.Context(), claim, "resp_1"); !errors.Is(err, affinity.ErrOtherOwner) {
		t.Errorf("claim of another's id: %v, want ErrOtherOwner", err)
	}
	if err := claimant.Claim(t.Context(), claim, "resp_9"); err != nil {
		t.Errorf("claim of an unknown id: %v", err)
	}
	wantFound(t, claimant, "claimant", "resp_9", "eu")
	wantErr(t, maker, "team", "resp_9", affinity.ErrOtherOwner)
	if err := maker.Claim(t.Context(), at("eu"), "resp_1"); err != nil {
		t.Errorf("claim of an own id: %v", err)
	}
	alone := affinity.New(affinity.Config{})
	alone.Remember(at("eu"), "resp_1")
	if err := alone.Claim(t.Context(), claim, "resp_1"); !errors.Is(err, affinity.ErrOtherOwner) {
		t.Errorf("claim of another's id without a table: %v, want ErrOtherOwner", err)
	}
	wantFound(t, alone, "team", "resp_1", "eu")
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

func TestOutageLosesWhatExceedsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: time.Millisecond}
		store.down.Store(true)
		var errorsReported atomic.Int64
		s, stop := run(t, affinity.Config{Table: store, QueueSize: 4, OnError: func(error) { errorsReported.Add(1) }})
		for i := range 100 {
			s.Remember(at("eu"), fmt.Sprint("resp_", i))
			wantFound(t, s, "team", fmt.Sprint("resp_", i), "eu")
			synctest.Wait() // the writers that are free have taken what they can
		}
		if errorsReported.Load() == 0 {
			t.Error("dropped ids were not reported")
		}
		store.down.Store(false)
		stop()
		fresh := affinity.New(affinity.Config{Table: store})
		wantFound(t, fresh, "team", "resp_0", "eu") // waited in the queue until the table had recovered
		wantErr(t, fresh, "team", "resp_99", affinity.ErrUnknown)
	})
}

// Its maker finds at any instance what it made in a long outage.
func TestIDsOfAnOutageAreWrittenAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: time.Millisecond}
		store.down.Store(true)
		s, stop := run(t, affinity.Config{Table: store})
		defer stop()
		for i := range 100 {
			s.Record(t.Context(), at("eu"), fmt.Sprint("resp_", i))
			time.Sleep(time.Second)
		}
		store.down.Store(false)
		time.Sleep(10 * time.Second)
		fresh := affinity.New(affinity.Config{Table: store})
		for i := range 100 {
			wantFound(t, fresh, "team", fmt.Sprint("resp_", i), "eu")
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	s := affinity.New(affinity.Config{MemorySize: 10})
	for i := range 20 {
		s.Remember(at("eu"), fmt.Sprint("resp_", i))
		wantFound(t, s, "team", "resp_0", "eu") // used all the time
	}
	wantErr(t, s, "team", "resp_5", affinity.ErrUnknown)
	wantFound(t, s, "team", "resp_19", "eu")
}

func TestExpiredIDsAreUnknownAndSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		s, stop := run(t, affinity.Config{Table: store})
		for i := range 300 {
			s.Remember(at("eu"), fmt.Sprint("old_", i))
		}
		time.Sleep(20 * 24 * time.Hour)
		s.Remember(at("eu"), "young")
		time.Sleep(11 * 24 * time.Hour)
		wantErr(t, s, "team", "old_0", affinity.ErrUnknown)
		wantFound(t, s, "team", "young", "eu")
		other := affinity.New(affinity.Config{Table: store})
		for range 257 {
			for _, instance := range []*affinity.Store{other, s} {
				if err := instance.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Hour)
		}
		rows, _, err := store.List(t.Context(), "", "", "")
		if err != nil || len(rows) != 3 { // the young one, the sweep's lease and the secret
			t.Errorf("%d rows are left, %v, want 3", len(rows), err)
		}
		stop()
	})
}

func TestLocationsInAzurite(t *testing.T) {
	open := func() tablestore.Store {
		store, err := azure.Connect(storetest.Azurite(t), "affinity", azure.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	store := open()
	s, stop := run(t, affinity.Config{Table: store})
	s.Remember(at("eu"), "resp_1")
	stop()
	fresh := affinity.New(affinity.Config{Table: store})
	wantFound(t, fresh, "team", "resp_1", "eu")
	wantErr(t, fresh, "other", "resp_1", affinity.ErrOtherOwner)
	wantErr(t, fresh, "team", "resp_2", affinity.ErrUnknown)
	if err := fresh.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnOwnerIsNeverReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store)}
		a, stopA := run(t, affinity.Config{Table: store})
		a.Record(t.Context(), at("eu"), "item_1")
		echo := at("us")
		echo.Owner = "other"
		a.Remember(echo, "item_1") // of an answer to another consumer
		wantErr(t, a, "other", "item_1", affinity.ErrOtherOwner)
		b, stopB := run(t, affinity.Config{Table: store})
		b.Remember(echo, "item_1") // by an instance that does not know the id
		wantErr(t, b, "other", "item_1", affinity.ErrOtherOwner)
		b.Record(t.Context(), echo, "item_1")
		stopA()
		stopB()
		for _, s := range []*affinity.Store{a, b, affinity.New(affinity.Config{Table: store})} {
			wantErr(t, s, "other", "item_1", affinity.ErrOtherOwner)
			wantFound(t, s, "team", "item_1", "eu")
		}
	})
}

func TestRecordedIDsAreInTheTableBeforeTheCallerSeesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: 20 * time.Millisecond}
		s := affinity.New(affinity.Config{Table: store}) // killed before its writers run
		s.Record(t.Context(), at("eu"), "resp_1")
		wantFound(t, affinity.New(affinity.Config{Table: store}), "team", "resp_1", "eu")
	})
}

func TestRecordWaitsForNoTableThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: time.Hour}
		s, stop := run(t, affinity.Config{Table: store})
		before := time.Now()
		s.Record(t.Context(), at("eu"), "resp_1")
		if waited := time.Since(before); waited != 500*time.Millisecond {
			t.Errorf("the first one waited %v", waited)
		}
		before = time.Now()
		s.Record(t.Context(), at("eu"), "resp_2")
		if waited := time.Since(before); waited != 0 {
			t.Errorf("the second one waited %v", waited)
		}
		wantFound(t, s, "team", "resp_2", "eu") // its maker uses it here as before
		wantErr(t, s, "other", "resp_3", affinity.ErrUnavailable)
		stop()
	})
}

// One consumer makes more ids than the table takes: another's are written, and
// stay in memory.
func TestFloodOfOneOwnerDisplacesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), delayed: 10 * time.Millisecond}
		s, stop := run(t, affinity.Config{Table: store, QueueSize: 64, MemorySize: 64})
		flood := at("eu")
		flood.Owner = "flood"
		for i := range 2000 {
			s.Remember(flood, fmt.Sprint("rs_", i))
			if i%200 == 100 {
				s.Remember(at("eu"), fmt.Sprint("mine_", i))
			}
		}
		for i := 100; i < 2000; i += 200 {
			wantFound(t, s, "team", fmt.Sprint("mine_", i), "eu")
		}
		stop()
		fresh := affinity.New(affinity.Config{Table: store})
		for i := 100; i < 2000; i += 200 {
			wantFound(t, fresh, "team", fmt.Sprint("mine_", i), "eu")
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

func TestObjectsWithoutExpiryStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		l := at("eu")
		l.Kind, l.Expires = "file", time.Time{}
		affinity.New(affinity.Config{Table: store}).Record(t.Context(), l, "file_1")
		time.Sleep(400 * 24 * time.Hour)
		s := affinity.New(affinity.Config{Table: store})
		got, err := s.Lookup(t.Context(), "team", "file_1")
		if err != nil || got.Kind != "file" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
