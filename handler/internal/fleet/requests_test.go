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

// runOnlyStore panics on an exchange outside of Run.
type runOnlyStore struct {
	tablestore.Store
	allowed *atomic.Bool
}

func (s runOnlyStore) check() {
	if !s.allowed.Load() {
		panic("a request made an exchange with the table")
	}
}

func (s runOnlyStore) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	s.check()
	return s.Store.Get(ctx, partition, key)
}

func (s runOnlyStore) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.check()
	return s.Store.Replace(ctx, row)
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

// Every method of the request path, in every state of a slot, with iterations of
// Run in between.
func TestRequestPathMakesNoExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Bool
		replica := New(Config{Store: runOnlyStore{&memory.Store{}, &allowed}, Slots: []string{"a/m"}, Instance: "i", Breakers: []health.BreakerPolicy{{Failures: 2, TripDuration: time.Second, MaxTripDuration: 3 * time.Second}}})
		iterate := func(after time.Duration) {
			time.Sleep(after)
			allowed.Store(true)
			replica.runOnce(t.Context(), 0, false)
			allowed.Store(false)
		}
		outcomes := []health.Outcome{served, throttled(time.Second, health.LimitTokens), failed, failed, {Class: health.Abandoned}, served, failed, {Class: health.Misconfigured}}
		permits := 0
		for i := range 400 {
			iterate(300 * time.Millisecond)
			replica.Snapshot()
			replica.RequestProbe(0)
			replica.ReportSignals(0, health.Signals{Utilization: 99})
			if permit, ok := replica.Acquire(0, ""); ok {
				permits++
				replica.RenewProbe(permit)
				if i%7 == 0 {
					replica.Release(permit)
					continue
				}
				replica.ReportOutcome(permit, outcomes[i%len(outcomes)])
			}
			replica.Counters()
		}
		if c := replica.Counters(); permits < 20 || c.Trips == 0 || c.Probes == 0 {
			t.Errorf("%d permits, %d trips, %d probes: too few to prove anything", permits, c.Trips, c.Probes)
		}
	})
}

func TestAcquireRefusesWhereTheSnapshotDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		if err := replica.Drain(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		request(replica, 1, throttled(time.Minute, health.LimitCapacity))
		for n, reason := range []string{"drained", "throttled"} {
			if _, ok := replica.Acquire(health.Slot(n), ""); ok {
				t.Errorf("a permit for a backend that is %s", reason)
			}
		}
		if _, ok := replica.Acquire(7, ""); !ok {
			t.Error("no permit for an unknown slot")
		}
	})
}

// Attempts that began before the trip fail after the recovery.
func TestFailuresOfAnOlderEpochDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		var late []health.Permit
		for range 3 {
			permit, _ := fleet[0].Acquire(0, "")
			late = append(late, permit)
		}
		trip(t, fleet)
		permit, holder := awaitProbe(t, fleet)
		holder.ReportOutcome(permit, served)
		time.Sleep(time.Second)
		for _, permit := range late {
			fleet[0].ReportOutcome(permit, failed)
		}
		for range 5 {
			time.Sleep(time.Second)
			if got := countState(fleet, 0, health.Closed); got != 2 {
				t.Fatalf("%d of 2 instances closed: late failures tripped a recovered circuit", got)
			}
		}
	})
}
