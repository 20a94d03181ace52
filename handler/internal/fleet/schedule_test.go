package fleet

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

func TestHealthyTrafficWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 5, Config{Store: store, Throttles: []health.ThrottlePolicy{{LeaveAt: health.LeaveAt{Utilization: 95, RemainingTokens: .02}}}})
		sets := store.sets.Load()
		unsaturated := health.Outcome{Signals: health.Signals{Utilization: 40, RemainingTokens: 20_000, LimitTokens: 30_000}}
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			for _, replica := range fleet {
				if !request(replica, 0, unsaturated) {
					t.Fatal("refused")
				}
			}
		}
		if store.replaces.Load() != 0 {
			t.Errorf("%d writes of the shared row for 3,000 served requests", store.replaces.Load())
		}
		if heartbeats := store.sets.Load() - sets; heartbeats != 4*5 {
			t.Errorf("%d heartbeats of 5 instances in a minute, want one each 15 s", heartbeats)
		}
	})
}

func TestIdleFleetMakesNoExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 3, Config{Store: store})
		time.Sleep(62 * time.Second)
		before := store.exchanges()
		for range 59 * 60 {
			time.Sleep(time.Second)
			for _, replica := range fleet {
				replica.PeekSnapshot() // a load balancer's readiness check
			}
		}
		if after := store.exchanges(); after != before {
			t.Errorf("%d exchanges in an hour without a request", after-before)
		}
		// Another instance writes a change; an idle one reads it right after its first request.
		other := startFleet(t, 1, Config{Store: store})[0]
		request(other, 0, throttled(time.Minute, health.LimitCapacity))
		time.Sleep(time.Second)
		fleet[0].Snapshot()
		time.Sleep(50 * time.Millisecond)
		if got := fleet[0].Snapshot().Of(0).SkipReason(time.Now(), 1); got != health.SkipThrottled {
			t.Errorf("50 ms after its first request: %q, want throttled", got)
		}
	})
}

func TestLargeFleetStaysWithinPartitionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := startFleet(t, 1, Config{Store: store, MaxInstances: 2000})[0]
		before := store.gets.Load()
		for range 60 {
			time.Sleep(time.Second)
			replica.Snapshot()
		}
		if got := store.gets.Load() - before; got < 25 || got > 36 {
			t.Errorf("%d reads in a minute by one of 2,000 instances, want one each 2 s", got)
		}
	})
}

// The exchanges of an active fleet, and their cost in a month of 730 hours without
// a pause, at $0.036 per million (docs/shared-state.md#limits-and-cost).
func TestExchangesByFleetSize(t *testing.T) {
	sizes := []int{1, 20, 200}
	if _, long := soakTime(t); long {
		sizes = append(sizes, 1000)
	}
	for _, n := range sizes {
		synctest.Test(t, func(t *testing.T) {
			store := &slowTable{}
			fleet := startAtOnce(t, n, Config{Store: store})
			traffic := func(seconds int) {
				for range seconds {
					time.Sleep(time.Second)
					snapshotAll(fleet)
				}
			}
			traffic(25)
			before, counts := store.exchanges(), store.lists.Load()
			const minutes = 1
			traffic(minutes * 60)
			counts = store.lists.Load() - counts
			perSecond := float64(store.exchanges()-before) / (minutes * 60)
			t.Logf("%d active instances: %.1f exchanges/s, $%.2f a month; %.2f counts/s", n, perSecond, perSecond*730*3600*0.036e-6, float64(counts)/(minutes*60))
			if rows := counts * int64(n); rows > 2000*minutes*60 {
				t.Errorf("%d instances read %d heartbeats in %d minutes to count themselves, more than a partition serves", n, rows, minutes)
			}
			refresh := max(500*time.Millisecond, time.Duration(n)*time.Millisecond)
			if limit := float64(n) * (1/refresh.Seconds() + .2); perSecond > limit {
				t.Errorf("%d instances: %.1f exchanges/s, want at most %.1f", n, perSecond, limit)
			}
		})
	}
}

// The published bound: 1.2 refreshes and one exchange with the table, here of 5
// ms, in virtual time. (docs/shared-state.md#bounds; on a live table:
// TestSoakLiveTablePropagation.)
func TestPropagationBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 100
		var slots []string
		for i := range rounds {
			slots = append(slots, fmt.Sprintf("b%d/gpt", i))
		}
		fleet := startFleet(t, 20, Config{Store: &slowTable{}, Slots: slots})
		var one, last []time.Duration
		for n := range health.Slot(rounds) {
			time.Sleep(time.Duration(rand.Int64N(int64(500 * time.Millisecond))))
			began := time.Now()
			fleet[rand.IntN(len(fleet))].ReportOutcome(health.Permit{Slot: n}, throttled(time.Minute, health.LimitCapacity))
			for obeying := map[int]bool{}; len(obeying) < len(fleet); time.Sleep(time.Millisecond) {
				for i, replica := range fleet {
					if !obeying[i] && replica.Snapshot().Of(n).SkipReason(time.Now(), 1) == health.SkipThrottled {
						obeying[i] = true
						one = append(one, time.Since(began))
					}
				}
				if time.Since(began) > 5*time.Second {
					t.Fatalf("%d of %d instances obey after 5 s", len(obeying), len(fleet))
				}
			}
			last = append(last, time.Since(began))
		}
		t.Logf("20 instances at a refresh of 500 ms: an instance obeys after p50 %v p99 %v, the last of the fleet after p50 %v p99 %v max %v",
			at(one, .5), at(one, .99), at(last, .5), at(last, .99), at(last, 1))
		if at(last, .99) > 650*time.Millisecond {
			t.Errorf("the last of the fleet obeys after p99 %v, want 650 ms", at(last, .99))
		}
	})
}
