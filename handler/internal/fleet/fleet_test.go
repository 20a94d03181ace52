package fleet

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// slowTable is a table a few milliseconds away, so that writers race.
type slowTable struct {
	memory.Store
	gets, replaces, sets, lists, conflicts atomic.Int64
}

func (s *slowTable) exchanges() int64 {
	return s.gets.Load() + s.replaces.Load() + s.sets.Load() + s.lists.Load()
}

func (s *slowTable) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	s.lists.Add(1)
	time.Sleep(6 * time.Millisecond)
	return s.Store.List(ctx, partition, from, to)
}

func (s *slowTable) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	s.gets.Add(1)
	time.Sleep(2 * time.Millisecond)
	row, response, err := s.Store.Get(ctx, partition, key)
	time.Sleep(3 * time.Millisecond)
	return row, response, err
}

func (s *slowTable) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.replaces.Add(1)
	time.Sleep(3 * time.Millisecond)
	version, response, err := s.Store.Replace(ctx, row)
	if err != nil {
		s.conflicts.Add(1)
	}
	time.Sleep(3 * time.Millisecond)
	return version, response, err
}

func (s *slowTable) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.sets.Add(1)
	time.Sleep(6 * time.Millisecond)
	return s.Store.Upsert(ctx, row)
}

// start runs a replica until the test ends. For synctest bubbles.
func start(t *testing.T, cfg Config) *Replica {
	t.Helper()
	if cfg.Slots == nil {
		cfg.Slots = []string{"ptu/gpt", "payg/gpt"}
	}
	replica := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); replica.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; replica.Close() })
	return replica
}

// startFleet runs n replicas with traffic, and waits until they know the service's
// clock.
func startFleet(t *testing.T, n int, cfg Config) []*Replica {
	t.Helper()
	var fleet []*Replica
	for i := range n {
		cfg.Instance = fmt.Sprintf("i%03d", i)
		replica := start(t, cfg)
		replica.Snapshot()
		fleet = append(fleet, replica)
		time.Sleep(time.Duration(7*i) * time.Millisecond) // instances do not start together
	}
	time.Sleep(5 * time.Second)
	snapshotAll(fleet)
	return fleet
}

// startAtOnce starts a large fleet within ten seconds, as a scale-out under load.
func startAtOnce(t *testing.T, n int, cfg Config) []*Replica {
	t.Helper()
	var fleet []*Replica
	for i := range n {
		cfg.Instance = fmt.Sprintf("i%03d", i)
		replica := start(t, cfg)
		replica.Snapshot()
		fleet = append(fleet, replica)
		time.Sleep(10 * time.Second / time.Duration(n))
	}
	return fleet
}

func snapshotAll(fleet []*Replica) {
	for _, replica := range fleet {
		replica.Snapshot()
	}
}

// countState counts the instances that have the slot's circuit in that state.
func countState(fleet []*Replica, n health.Slot, p health.CircuitState) (count int) {
	for _, replica := range fleet {
		if replica.Snapshot().Of(n).State == p {
			count++
		}
	}
	return count
}
