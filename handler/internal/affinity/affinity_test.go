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

// slow is a table whose answers take a while, and which may be out of reach.
type slow struct {
	tablestore.Store
	takes time.Duration
	gone  atomic.Bool
	sets  atomic.Int64
}

func (s *slow) delay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return tablestore.ErrUnknown
	case <-time.After(s.takes):
	}
	if s.gone.Load() {
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

func (s *slow) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.sets.Add(1)
	if err := s.delay(ctx); err != nil {
		return "", tablestore.Response{}, err
	}
	return s.Store.Upsert(ctx, row)
}

// run starts a keeper that is stopped, with all it had to write, by stop.
func run(t *testing.T, cfg affinity.Config) (k *affinity.Store, stop func()) {
	k = affinity.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	return k, func() { cancel(); <-done }
}

func at(backend string) affinity.Location {
	return affinity.Location{Backend: backend, Model: "m", Owner: "team", CreatedAt: time.Now().Truncate(time.Millisecond)}
}

func wantFound(t *testing.T, k *affinity.Store, owner, id, backend string) {
	t.Helper()
	if p, err := k.Lookup(t.Context(), owner, id); err != nil || p.Backend != backend || p.Model != "m" {
		t.Errorf("%s: %+v, %v, want it at %s", id, p, err, backend)
	}
}

func wantErr(t *testing.T, k *affinity.Store, owner, id string, want error) {
	t.Helper()
	if p, err := k.Lookup(t.Context(), owner, id); !errors.Is(err, want) {
		t.Errorf("%s: %+v, %v, want %v", id, p, err, want)
	}
}

func TestWhatOneInstanceMadeAnotherFinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), takes: 10 * time.Millisecond}
		a, stopA := run(t, affinity.Config{Table: store})
		b, stopB := run(t, affinity.Config{Table: store})
		defer stopB()
		before := time.Now()
		a.Remember(at("eu"), "resp_1", "rs_1")
		if waited := time.Since(before); waited != 0 {
			t.Errorf("keeping waited %v for the table", waited)
		}
		wantFound(t, a, "team", "resp_1", "eu")
		wantErr(t, b, "team", "resp_2", affinity.ErrUnknown)
		stopA()
		wantFound(t, b, "team", "resp_1", "eu")
		wantFound(t, b, "team", "rs_1", "eu")
		store.gone.Store(true)
		wantFound(t, b, "team", "resp_1", "eu") // from memory now
		wantErr(t, b, "team", "resp_3", affinity.ErrUnavailable)
	})
}

func TestAnIDBelongsToItsMaker(t *testing.T) {
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

func TestAClaimYieldsToTheMaker(t *testing.T) {
	store := new(memory.Store)
	maker, stop := run(t, affinity.Config{Table: store})
	maker.Remember(at("eu"), "resp_1")
	stop()
	thief := affinity.New(affinity.Config{Table: store})
	claim := at("eu")
	claim.Owner = "thief"
	if err := thief.Claim(t.Context(), claim, "resp_1"); !errors.Is(err, affinity.ErrOtherOwner) {
		t.Errorf("claim of another's id: %v, want foreign", err)
	}
	if err := thief.Claim(t.Context(), claim, "resp_9"); err != nil {
		t.Errorf("claim of an unknown id: %v", err)
	}
	wantFound(t, thief, "thief", "resp_9", "eu")
	wantErr(t, maker, "team", "resp_9", affinity.ErrOtherOwner)
	if err := maker.Claim(t.Context(), at("eu"), "resp_1"); err != nil {
		t.Errorf("claim of one's own id: %v", err)
	}
}

func TestALookIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := affinity.New(affinity.Config{Table: &slow{Store: new(memory.Store), takes: time.Hour}})
		before := time.Now()
		wantErr(t, k, "team", "resp_1", affinity.ErrUnavailable)
		if waited := time.Since(before); waited != time.Second {
			t.Errorf("waited %v, want one second", waited)
		}
	})
}

func TestOutageOfTheTableCostsWhatDoesNotFitIntoTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store), takes: time.Millisecond}
		store.gone.Store(true)
		var troubles atomic.Int64
		k, stop := run(t, affinity.Config{Table: store, QueueSize: 4, OnError: func(error) { troubles.Add(1) }})
		for i := range 100 {
			k.Remember(at("eu"), fmt.Sprint("resp_", i))
			wantFound(t, k, "team", fmt.Sprint("resp_", i), "eu")
		}
		if troubles.Load() == 0 {
			t.Error("nobody was told that ids were dropped")
		}
		store.gone.Store(false)
		stop()
		fresh := affinity.New(affinity.Config{Table: store})
		wantFound(t, fresh, "team", "resp_0", "eu") // waited in the queue until the table was back
		wantErr(t, fresh, "team", "resp_99", affinity.ErrUnknown)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	k := affinity.New(affinity.Config{MemorySize: 10})
	for i := range 20 {
		k.Remember(at("eu"), fmt.Sprint("resp_", i))
		wantFound(t, k, "team", "resp_0", "eu") // asked for all the time
	}
	wantErr(t, k, "team", "resp_5", affinity.ErrUnknown)
	wantFound(t, k, "team", "resp_19", "eu")
}

func TestWhatRanOutIsUnknownAndSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		k, stop := run(t, affinity.Config{Table: store})
		for i := range 300 {
			k.Remember(at("eu"), fmt.Sprint("old_", i))
		}
		time.Sleep(20 * 24 * time.Hour)
		k.Remember(at("eu"), "young")
		time.Sleep(11 * 24 * time.Hour)
		wantErr(t, k, "team", "old_0", affinity.ErrUnknown)
		wantFound(t, k, "team", "young", "eu")
		other := affinity.New(affinity.Config{Table: store})
		for range 257 {
			for _, instance := range []*affinity.Store{other, k} {
				if err := instance.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Hour)
		}
		rows, _, err := store.List(t.Context(), "", "", "")
		if err != nil || len(rows) != 2 { // the young one and the sweepers' lease
			t.Errorf("%d rows are left, %v, want 2", len(rows), err)
		}
		stop()
	})
}

func TestPlacesAreKeptInAzuresTable(t *testing.T) {
	open := func() tablestore.Store {
		store, err := azure.Connect(storetest.Azurite(t), "affinity", azure.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	store := open()
	k, stop := run(t, affinity.Config{Table: store})
	k.Remember(at("eu"), "resp_1")
	stop()
	fresh := affinity.New(affinity.Config{Table: store})
	wantFound(t, fresh, "team", "resp_1", "eu")
	wantErr(t, fresh, "other", "resp_1", affinity.ErrOtherOwner)
	wantErr(t, fresh, "team", "resp_2", affinity.ErrUnknown)
	if err := fresh.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}
