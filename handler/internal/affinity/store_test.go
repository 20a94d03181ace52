package affinity_test

import (
	"context"
	"errors"
	"fmt"
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
