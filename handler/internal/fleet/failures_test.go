package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

func TestThinFailuresOfManyInstancesAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 200, Config{Store: store})
		before := store.replaces.Load()
		began := time.Now()
		for _, replica := range fleet {
			request(replica, 0, failed)
		}
		for countState(fleet, 0, health.Open) == 0 && time.Since(began) < 5*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		first := time.Since(began)
		for countState(fleet, 0, health.Open) < len(fleet) && time.Since(began) < 5*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(began)
		t.Logf("200 instances, one failure each: the first is open after %v, all after %v; %d writes, %d conflicts", first, took, store.replaces.Load()-before, store.conflicts.Load())
		if first < time.Second {
			t.Errorf("the first instance left the backend %v after the failures, want two refreshes in which others may object", first)
		}
		if got := countState(fleet, 0, health.Open); got != len(fleet) || took > 2*time.Second {
			t.Errorf("%d of %d instances obey after %v, want all within a second of the grace", got, len(fleet), took)
		}
		if got := countState(fleet, 1, health.Closed); got != len(fleet) {
			t.Errorf("the other backend is closed for %d of %d", got, len(fleet))
		}
	})
}

// A few instances cannot reach a backend that serves all others.
func TestInstancesWithABrokenWayLeaveTheOthersTheirBackend(t *testing.T) {
	for _, c := range []struct{ instances, broken int }{{2, 1}, {5, 2}, {20, 1}, {20, 12}} {
		synctest.Test(t, func(t *testing.T) {
			store := &slowTable{}
			fleet := startFleet(t, c.instances, Config{Store: store})
			before := store.replaces.Load()
			sent := make([]int, c.instances)
			for range 600 { // a minute
				time.Sleep(100 * time.Millisecond)
				for i, replica := range fleet {
					o := served
					if i < c.broken {
						o = failed
					}
					if request(replica, 0, o) {
						sent[i]++
					} else if i >= c.broken {
						t.Fatalf("instance %d, which is served, skips the backend: %+v", i, replica.Snapshot().Of(0))
					}
				}
			}
			writes := store.replaces.Load() - before
			t.Logf("%d of %d instances without a way to the backend for a minute: they sent %v of 600 requests each; %d writes", c.broken, c.instances, sent[:c.broken], writes)
			for i := range c.broken {
				if sent[i] > 15 {
					t.Errorf("broken instance %d sent %d requests in a minute, want its own circuit to stop it", i, sent[i])
				}
			}
			if writes > int64(20+6*c.broken) {
				t.Errorf("%d writes in a minute about %d broken instances", writes, c.broken)
			}
		})
	}
}

// The backend fails for all: the first instance with enough evidence opens the
// circuit for the fleet, and another that was served until now sends one more.
func TestDeadBackendCostsEachInstanceOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 20, Config{Store: &slowTable{}})
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			for i, replica := range fleet {
				if replica.Snapshot(); i != 3 {
					request(replica, 0, served)
				}
			}
		}
		for range 5 { // the one whose traffic begins now sees it first
			request(fleet[3], 0, failed)
		}
		time.Sleep(time.Second)
		for i, replica := range fleet {
			sent := 0
			for range 20 {
				if request(replica, 0, failed) {
					sent++
				}
			}
			if sent > 1 || i == 3 && sent > 0 {
				t.Errorf("instance %d sent %d more requests after the fleet's circuit opened, want one at most", i, sent)
			}
		}
	})
}

// Enough evidence of one instance opens the circuit of all, one refresh later.
func TestOpeningOfOneInstanceBindsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		for range 5 {
			request(fleet[1], 0, failed)
		}
		if fleet[1].Snapshot().Of(0).State != health.Open {
			t.Error("the failing instance does not open its own circuit")
		}
		time.Sleep(700 * time.Millisecond)
		if got := countState(fleet, 0, health.Open); got != len(fleet) {
			t.Errorf("%d of %d instances open one refresh later", got, len(fleet))
		}
		if c := readCircuit(t, fleet[0]); c.State != health.Open || c.Trips != 1 {
			t.Errorf("the fleet's circuit: %+v, want open by a first trip", c)
		}
	})
}

// Thin evidence of several instances is void when another one is served.
func TestServedInstanceObjectsToSuspicions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 6, Config{Store: &slowTable{}})
		for round := range 10 {
			time.Sleep(100 * time.Millisecond)
			for i, replica := range fleet {
				if i < 5 && round == 0 {
					request(replica, 0, failed)
				}
			}
			request(fleet[5], 0, served)
		}
		time.Sleep(5 * time.Second)
		if got := countState(fleet, 0, health.Closed); got != len(fleet) {
			t.Errorf("%d of %d instances closed, though one was served all the time", got, len(fleet))
		}
		if c := readCircuit(t, fleet[0]); c.State != health.Closed || len(c.Suspicions) != 0 {
			t.Errorf("the fleet's circuit: %+v, want closed without suspicions", c)
		}
	})
}

// A number of failures opens the circuit only if it is a share of the outcomes.
func TestPercentageQualifiesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}, Breakers: []health.BreakerPolicy{{Failures: 10, Percentage: 50}}})[0]
		for range 11 {
			request(replica, 0, served)
			request(replica, 0, failed)
			request(replica, 0, served)
		}
		if p := replica.Snapshot().Of(0).State; p != health.Closed {
			t.Fatalf("%v after 11 failures in 33 requests", p)
		}
		for i := range 11 { // 22 are served, and as many must fail
			if p := replica.Snapshot().Of(0).State; p != health.Closed {
				t.Fatalf("%v after %d failures in %d requests", p, 11+i, 33+i)
			}
			request(replica, 0, failed)
			if i == 5 {
				request(replica, 0, served) // no unbroken run
				request(replica, 0, failed)
			}
		}
		if p := replica.Snapshot().Of(0).State; p != health.Open {
			t.Errorf("%v though half of all failed", p)
		}
		time.Sleep(time.Second)
		if c := readCircuit(t, replica); c.State != health.Open {
			t.Errorf("the fleet's circuit: %+v, want open", c)
		}
	})
}

// Among very many requests, the last outcomes all fail by chance now and then. The
// circuit is then open for a second only, and closes without a ramp; if the backend is
// dead, the probe shows it.
func TestOpeningAgainstTheShareIsShort(t *testing.T) {
	for name, c := range map[string]struct {
		after health.Outcome
		want  health.CircuitState
	}{"by chance": {served, health.Closed}, "dead": {failed, health.Open}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
				for range 50 {
					request(replica, 0, served)
				}
				time.Sleep(time.Millisecond)
				for range 5 {
					request(replica, 0, failed)
				}
				if h := replica.Snapshot().Of(0); h.State != health.Open || time.Until(h.Until) > 1100*time.Millisecond {
					t.Errorf("five failures after fifty successes: %+v, want open for a second", h)
				}
				began, probes := time.Now(), 0
				for time.Since(began) < 3*time.Second {
					time.Sleep(50 * time.Millisecond)
					if replica.RequestProbe(0); request(replica, 0, c.after) {
						probes++
					}
				}
				if h := replica.Snapshot().Of(0); h.State != c.want || h.TrafficPercent != 0 || c.want == health.Open && probes != 1 {
					t.Errorf("three seconds later: %+v after %d requests", h, probes)
				}
			})
		})
	}
}

func TestMisconfiguredIsNeverCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 3, Config{Store: store})
		for range 50 {
			if !request(fleet[0], 0, health.Outcome{Class: health.Misconfigured, Reason: "401", Signals: health.NoSignals()}) {
				t.Fatal("skipped after a 401")
			}
		}
		time.Sleep(time.Second)
		if got := countState(fleet, 0, health.Closed); got != 3 || store.replaces.Load() != 0 {
			t.Errorf("%d of 3 instances closed after 401s, %d writes; want all and none", got, store.replaces.Load())
		}
	})
}

// Whatever the refresh: an instance that meets a backend with an open circuit
// applies that after its first failure, a few exchanges later.
func TestFirstFailureReadsTheTableAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		others := startFleet(t, 5, Config{Store: store})
		slow := startFleet(t, 1, Config{Store: store, Refresh: 20 * time.Second, Instance: "slow"})[0]
		for range 5 {
			request(others[0], 0, failed)
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
		if took > 90*time.Millisecond {
			t.Errorf("open after %v, want an exchange or two, and 20 ms to collect failures", took)
		}
	})
}

// Requests in flight when a backend breaks fail one after the other. More writes
// about them than an opening and an objection would change nothing.
func TestLateFailuresAreNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 2, Config{Store: store})
		var permits []health.Permit
		for range 80 {
			permit, _ := fleet[0].Acquire(0, "")
			permits = append(permits, permit)
		}
		before := store.replaces.Load()
		for _, permit := range permits {
			fleet[0].ReportOutcome(permit, failed)
			request(fleet[1], 0, served) // which objects
			time.Sleep(100 * time.Millisecond)
		}
		if got := store.replaces.Load() - before; got > 12 {
			t.Errorf("%d writes about 80 failures of one instance in 8 s, want few more than a circuit needs to open, and the objections", got)
		}
		if p := fleet[1].Snapshot().Of(0).State; p != health.Closed {
			t.Errorf("the other instance, which is served, has the circuit %v", p)
		}
	})
}

// A few failures at each of a few instances, and no traffic after them.
func TestFewFailuresAtFewInstancesAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		for round := range 3 {
			for _, replica := range fleet {
				request(replica, 0, served)
			}
			if err := fleet[0].Reset(t.Context(), "ptu", "ada"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			for i := range 5 {
				time.Sleep(5 * time.Millisecond)
				request(fleet[i%3], 0, failed)
				request(fleet[i%3], 1, served)
			}
			time.Sleep(2 * time.Second)
			if got := countState(fleet, 0, health.Open); got != 3 {
				t.Errorf("round %d: %d of 3 instances have it open", round, got)
			}
		}
	})
}

// Where requests are rarer than the breaker's window, an instance's failures are a run
// as long as nobody is served, and the runs of all instances add up.
func TestRareFailuresOfTwoInstancesAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		for i := range 5 {
			if !request(fleet[i%2], 0, failed) {
				t.Fatalf("failure %d was not sent", i+1)
			}
			time.Sleep(15 * time.Second)
			fleet[(i+1)%2].Snapshot()
		}
		if got := countState(fleet, 0, health.Closed); got != 0 {
			t.Errorf("after five failures at two instances, a quarter of a minute apart, %d of 2 still use the backend", got)
		}
	})
}
