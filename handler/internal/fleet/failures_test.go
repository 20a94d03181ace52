package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

func TestSparseFailuresOfManyInstancesTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 200, Config{Store: store})
		before := store.puts.Load()
		began := time.Now()
		for _, replica := range fleet {
			request(replica, 0, failed)
		}
		for countState(fleet, 0, health.Open) < len(fleet) && time.Since(began) < 5*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(began)
		t.Logf("200 instances, one failure each: all open after %v; %d writes, %d conflicts", took, store.puts.Load()-before, store.conflicts.Load())
		if got := countState(fleet, 0, health.Open); got != len(fleet) || took > time.Second {
			t.Errorf("%d of %d instances obey after %v, want all within a second", got, len(fleet), took)
		}
		if got := countState(fleet, 1, health.Closed); got != len(fleet) {
			t.Errorf("the other backend is closed for %d of %d", got, len(fleet))
		}
	})
}

func TestInstanceWithBrokenNetworkDoesNotTripTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 20, Config{Store: store})
		before := store.puts.Load()
		sent := 0
		for range 600 { // a minute: all are served but one, whose attempts all fail
			time.Sleep(100 * time.Millisecond)
			for i, replica := range fleet {
				o := served
				if i == 7 {
					o = failed
				}
				if request(replica, 0, o) && i == 7 {
					sent++
				}
				if i != 7 && replica.Snapshot().Of(0).State != health.Closed {
					t.Fatalf("instance %d, which is served: %+v", i, replica.Snapshot().Of(0))
				}
			}
		}
		writes := store.puts.Load() - before
		t.Logf("one of 20 instances cut off for a minute: it sent %d of 600 requests; %d writes", sent, writes)
		if sent > 20 {
			t.Errorf("the broken instance sent %d requests in a minute, want its own breaker to stop it", sent)
		}
		if writes > 60 {
			t.Errorf("%d writes in a minute about one reporter, want at most one a second", writes)
		}
	})
}

func TestUnopposedInstanceTripsTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		for range 5 {
			request(fleet[1], 0, failed)
		}
		if fleet[1].Snapshot().Of(0).State != health.Open {
			t.Error("the failing instance does not open its own circuit")
		}
		time.Sleep(time.Second)
		snapshotAll(fleet)
		if fleet[0].Snapshot().Of(0).State != health.Closed {
			t.Error("the fleet's circuit opened before the objection period")
		}
		time.Sleep(1500 * time.Millisecond)
		if got := countState(fleet, 0, health.Open); got != len(fleet) {
			t.Errorf("%d of %d instances open after unopposed reports", got, len(fleet))
		}
	})
}

func TestPercentageTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}, Breaker: health.BreakerPolicy{Failures: 1000, Percentage: 50, MinimumRequests: 20}})[0]
		for i := range 19 {
			o := served
			if i%2 == 0 {
				o = failed
			}
			request(replica, 0, o)
		}
		if p := replica.Snapshot().Of(0).State; p != health.Closed {
			t.Fatalf("%v after 19 requests, want closed until 20", p)
		}
		request(replica, 0, failed)
		if p := replica.Snapshot().Of(0).State; p != health.Open {
			t.Errorf("%v after 11 failures in 20 requests", p)
		}
		time.Sleep(3 * time.Second)
		if c := readCircuit(t, replica); c.State != health.Open {
			t.Errorf("the fleet's circuit: %+v, want open", c)
		}
	})
}

func TestMisconfiguredOpensForTheLongestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		request(fleet[0], 0, health.Outcome{Class: health.Misconfigured, Reason: "401", Signals: health.NoSignals()})
		if request(fleet[0], 0, served) {
			t.Error("the instance that got a 401 sent another request")
		}
		time.Sleep(time.Second)
		for i, replica := range fleet {
			h := replica.Snapshot().Of(0)
			if left := time.Until(h.Until); h.State != health.Open || left < 4*time.Minute || h.Reason != "401" {
				t.Errorf("instance %d: %+v, want open for five minutes because of a 401", i, h)
			}
		}
	})
}

// Whatever the refresh: an instance that meets a backend with an open circuit
// applies that after its first failure, one exchange later.
func TestFirstFailureReadsTheTableAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		others := startFleet(t, 5, Config{Store: store})
		slow := startFleet(t, 1, Config{Store: store, Refresh: 20 * time.Second, Instance: "slow"})[0]
		for _, replica := range others {
			request(replica, 0, failed)
		}
		time.Sleep(time.Second)
		if slow.Snapshot().Of(0).State != health.Closed {
			t.Fatal("it has refreshed already: the test proves nothing")
		}
		met := time.Now()
		request(slow, 0, failed)
		for slow.Snapshot().Of(0).State == health.Closed && time.Since(met) < 5*time.Second {
			time.Sleep(time.Millisecond)
		}
		took := time.Since(met)
		t.Logf("open %v after the first failure", took)
		if took > 60*time.Millisecond {
			t.Errorf("open after %v, want two exchanges of 6 ms, and 20 ms to collect failures", took)
		}
	})
}

// Requests in flight when a backend breaks fail one after the other. One instance
// reports a trip's worth of them; more writes would change nothing.
func TestReporterStopsAtATripsWorth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 2, Config{Store: store})
		var permits []health.Permit
		for range 80 {
			permit, _ := fleet[0].Acquire(0)
			permits = append(permits, permit)
		}
		before := store.puts.Load()
		for _, permit := range permits {
			fleet[0].ReportOutcome(permit, failed)
			request(fleet[1], 0, served) // which objects
			time.Sleep(100 * time.Millisecond)
		}
		if got := store.puts.Load() - before; got > 8 {
			t.Errorf("%d writes about 80 failures of one instance in 8 s, want about five and an objection", got)
		}
		if p := fleet[1].Snapshot().Of(0).State; p != health.Closed {
			t.Errorf("the other instance, which is served, has the circuit %v", p)
		}
	})
}
