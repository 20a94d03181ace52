package fleet

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// runOnlyStore panics when a request speaks with the table.
type runOnlyStore struct {
	tablestore.Store
	allowed *atomic.Bool
}

func (s runOnlyStore) check() {
	if !s.allowed.Load() {
		panic("a request spoke with the table")
	}
}

func (s runOnlyStore) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	s.check()
	return s.Store.Get(ctx, partition, key)
}

func (s runOnlyStore) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.check()
	return s.Store.Put(ctx, row)
}

func (s runOnlyStore) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.check()
	return s.Store.Upsert(ctx, row)
}

func (s runOnlyStore) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	s.check()
	return s.Store.List(ctx, partition, from, to)
}

func (s runOnlyStore) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	s.check()
	return s.Store.Delete(ctx, row)
}

// Every method of the request path, in every state of a slot, with the turns of
// the keeper's own goroutine made by hand in between: what a request does must
// not reach the table.
func TestRequestPathMakesNoExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Bool
		k := New(Config{Store: runOnlyStore{&memory.Store{}, &allowed}, Slots: []string{"a/m"}, Instance: "i", Breaker: health.BreakerPolicy{Failures: 2, TripDuration: time.Second, MaxTripDuration: 3 * time.Second}})
		turn := func(after time.Duration) {
			time.Sleep(after)
			allowed.Store(true)
			k.runOnce(t.Context(), 0, false)
			allowed.Store(false)
		}
		outcomes := []health.Outcome{served, throttled(time.Second, health.LimitTokens), failed, failed, {Class: health.Abandoned}, served, failed, {Class: health.Misconfigured}}
		tickets := 0
		for i := range 400 {
			turn(300 * time.Millisecond)
			k.Snapshot()
			k.RequestProbe(0)
			k.ReportSignals(0, health.Signals{Utilization: 99})
			if ticket, ok := k.Acquire(0); ok {
				tickets++
				k.RenewProbe(ticket)
				if i%7 == 0 {
					k.Release(ticket)
					continue
				}
				k.ReportOutcome(ticket, outcomes[i%len(outcomes)])
			}
			k.Counters()
		}
		if c := k.Counters(); tickets < 20 || c.Trips == 0 || c.Probes == 0 {
			t.Errorf("%d tickets, %d trips, %d probes: the test went nowhere", tickets, c.Trips, c.Probes)
		}
	})
}

func TestAcquireRefusesWhereTheSnapshotDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		if err := k.Drain(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		request(k, 1, throttled(time.Minute, health.LimitCapacity))
		for n, why := range []string{"drained", "throttled"} {
			if _, ok := k.Acquire(health.Slot(n)); ok {
				t.Errorf("a request that did not look was let in where it is %s", why)
			}
		}
		if _, ok := k.Acquire(7); !ok {
			t.Error("a slot that was never heard of is not healthy")
		}
	})
}

// Late news: attempts that began before the trip fail after the recovery.
func TestFailuresOfAnOlderEpochDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		var late []health.Permit
		for range 10 {
			ticket, _ := fleet[0].Acquire(0)
			late = append(late, ticket)
		}
		trip(t, fleet)
		ticket, holder := awaitProbe(t, fleet)
		holder.ReportOutcome(ticket, served)
		time.Sleep(time.Second)
		for _, ticket := range late {
			fleet[0].ReportOutcome(ticket, failed)
		}
		fleet[0].ReportOutcome(late[0], health.Outcome{Class: health.Misconfigured, Signals: health.NoSignals()})
		for range 5 {
			time.Sleep(time.Second)
			if got := countState(fleet, 0, health.Closed); got != 2 {
				t.Fatalf("%d of 2 instances closed: late failures tripped a healed circuit", got)
			}
		}
	})
}
