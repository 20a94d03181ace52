package keys

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// slowStore is a table with latency that can be taken offline, and counts reads.
type slowStore struct {
	tablestore.Store
	mu      sync.Mutex
	offline bool
	gets    int
	lists   int
}

func (s *slowStore) delay(ctx context.Context, count *int) error {
	s.mu.Lock()
	*count++
	cut := s.offline
	s.mu.Unlock()
	if cut {
		<-ctx.Done()
		return tablestore.ErrUnknown
	}
	time.Sleep(5 * time.Millisecond)
	return nil
}

func (s *slowStore) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	if err := s.delay(ctx, &s.gets); err != nil {
		return tablestore.Row{}, tablestore.Response{}, err
	}
	return s.Store.Get(ctx, partition, key)
}

func (s *slowStore) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	if err := s.delay(ctx, &s.lists); err != nil {
		return nil, tablestore.Response{}, err
	}
	return s.Store.List(ctx, partition, from, to)
}

func (s *slowStore) setOffline(cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offline = cut
}

func (s *slowStore) counts() (gets, lists int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets, s.lists
}

// startInstance runs a cache with its own change feed until ctx is done.
func startInstance(ctx context.Context, g *sync.WaitGroup, store tablestore.Store) *Cache {
	board := &quota.ChangeFeed{Store: store, Rand: rand.Float64}
	r := &Cache{Store: store, Feed: board}
	board.Subscribe(r.OnFeedRead)
	g.Go(func() {
		board.Run(ctx)
		r.Close()
	})
	return r
}

func issuer(store tablestore.Store) *Issuer {
	return &Issuer{Store: store, Feed: &quota.ChangeFeed{Store: store}}
}

// runFleet runs a test with n instances on one table.
func runFleet(t *testing.T, n int, play func(t *testing.T, store *slowStore, caches []*Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		store := &slowStore{Store: new(memory.Store)}
		var caches []*Cache
		for range n {
			caches = append(caches, startInstance(ctx, &g, store))
		}
		defer func() {
			store.setOffline(false)
			cancel()
			g.Wait()
		}()
		play(t, store, caches)
	})
}

func add(t *testing.T, i *Issuer, who string, life time.Duration) (string, Key) {
	t.Helper()
	secret, k, err := i.Add(t.Context(), who, life)
	if err != nil {
		t.Fatal(err)
	}
	return secret, k
}

func (r *Cache) find(t *testing.T, secret string) error {
	t.Helper()
	_, _, err := r.Lookup(t.Context(), auth.DigestOf(secret))
	return err
}
