package fleet

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

func TestLeaseOfALongProbeIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 4, Config{Store: &slowTable{}})
		trip(t, fleet)
		permit, holder := awaitProbe(t, fleet)
		left, ok := holder.RenewProbe(permit)
		if !ok || left > 10*time.Second || left < 8*time.Second {
			t.Fatalf("the lease holds for %v, %v", left, ok)
		}
		for range 350 { // 35 s, more than three leases
			time.Sleep(100 * time.Millisecond)
			if left, ok := holder.RenewProbe(permit); !ok || left < 4*time.Second {
				t.Fatalf("the lease of a probe in flight holds for only %v, %v", left, ok)
			}
			for i, replica := range fleet {
				if replica.Snapshot().Of(0).SkipReason(time.Now(), 1) == health.NotSkipped {
					t.Fatalf("instance %d may send during the probe", i)
				}
				replica.RequestProbe(0)
			}
		}
		holder.ReportOutcome(permit, served)
		time.Sleep(time.Second)
		if got := countState(fleet, 0, health.Closed); got != len(fleet) {
			t.Errorf("%d of %d instances closed after the long probe was served", got, len(fleet))
		}
	})
}

// trip opens slot 0 for the whole fleet.
func trip(t *testing.T, fleet []*Replica) {
	t.Helper()
	for i := range 6 {
		request(fleet[i%len(fleet)], 0, failed)
	}
	time.Sleep(2500 * time.Millisecond)
	if got := countState(fleet, 0, health.Open); got != len(fleet) {
		t.Fatalf("%d of %d instances open after the failures", got, len(fleet))
	}
}

// awaitProbe makes requests until one gets the probe.
func awaitProbe(t *testing.T, fleet []*Replica) (health.Permit, *Replica) {
	t.Helper()
	for range 400 {
		time.Sleep(50 * time.Millisecond)
		for _, replica := range fleet {
			if replica.Snapshot().Of(0).SkipReason(time.Now(), 1) != health.NotSkipped {
				replica.RequestProbe(0)
				continue
			}
			if permit, ok := replica.Acquire(0, ""); ok && permit.Probe {
				return permit, replica
			}
		}
	}
	t.Fatal("no probe in 20 s")
	return health.Permit{}, nil
}

func TestUnusedProbeIsReturnedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		trip(t, fleet)
		var held time.Time
		for range 400 { // only the first instance has requests, and they stop when it has the probe
			time.Sleep(50 * time.Millisecond)
			fleet[1].Snapshot()
			if fleet[0].Snapshot().Of(0).Probe {
				held = time.Now()
				break
			}
			fleet[0].RequestProbe(0)
		}
		if held.IsZero() {
			t.Fatal("no probe in 20 s")
		}
		for fleet[0].Snapshot().Of(0).Probe {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		if c := readCircuit(t, fleet[1]); c.State != health.Open || time.Since(held) > time.Second {
			t.Errorf("%v after the claim: %+v, want it returned", time.Since(held), c)
		}
		permit, holder := awaitProbe(t, fleet[1:])
		holder.ReportOutcome(permit, served)
		time.Sleep(time.Second)
		if got := countState(fleet, 0, health.Closed); got != 2 {
			t.Errorf("after the other instance's probe %d of 2 are closed", got)
		}
	})
}

// readCircuit reads the stored circuit of slot 0.
func readCircuit(t *testing.T, replica *Replica) health.Circuit {
	t.Helper()
	fleet, err := replica.ReadState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fleet.Slots[0].Record.Circuit
}

func TestAbandonedProbeIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		trip(t, fleet)
		for _, end := range []func(*Replica, health.Permit){
			func(replica *Replica, permit health.Permit) { replica.Release(permit) },
			func(replica *Replica, permit health.Permit) {
				replica.ReportOutcome(permit, health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()})
			},
		} {
			permit, holder := awaitProbe(t, fleet)
			end(holder, permit)
		}
		permit, holder := awaitProbe(t, fleet)
		holder.ReportOutcome(permit, throttled(3*time.Second, health.LimitProvisioned))
		time.Sleep(time.Second)
		for i, replica := range fleet {
			if h := replica.Snapshot().Of(0); h.State != health.Closed || h.SkipReason(time.Now(), 1) != health.SkipThrottled {
				t.Errorf("instance %d after a probe with a 429: %+v, want closed and throttled", i, h)
			}
		}
	})
}

func TestThinTrafficClosesTheCircuitUnprobed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		trip(t, fleet)
		began := time.Now()
		for i := 0; ; i++ { // a request each 3 s, never twice in a row at one instance
			time.Sleep(3 * time.Second)
			snapshotAll(fleet)
			if request(fleet[i%3], 0, served) {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("no request was sent in a minute: %+v", readCircuit(t, fleet[0]))
			}
		}
		t.Logf("with a request each 3 s the circuit is closed %v after the trip", time.Since(began))
	})
}

func TestCircuitWithoutDemandIsNotProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		trip(t, fleet)
		before := readCircuit(t, fleet[0])
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			snapshotAll(fleet)
		}
		if c := readCircuit(t, fleet[0]); !c.Equal(before) {
			t.Errorf("half a minute without a request for it: %+v, want %+v", c, before)
		}
	})
}

// A process that was suspended while it held a probe must not send it, because it
// does not know whether the lease still holds.
func TestSuspendedProcessDoesNotSendItsProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64 // the monotonic clock stood still, the wall clock did not
		store := &slowTable{}
		fleet := startFleet(t, 1, Config{Store: store, Environment: Environment{
			Now:  time.Now,
			Wall: func() time.Time { return time.Now().Add(time.Duration(slept.Load())) },
		}})
		trip(t, fleet)
		permit, holder := awaitProbe(t, fleet)
		if left, ok := holder.RenewProbe(permit); !ok || left < 8*time.Second {
			t.Fatalf("before: %v, %v", left, ok)
		}
		slept.Store(int64(3 * time.Second))
		if left, ok := holder.RenewProbe(permit); ok {
			t.Errorf("suspended for 3 s, and the lease holds for %v", left)
		}
	})
}

func TestProbeClaimsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 20, Config{Store: store})
		trip(t, fleet)
		puts := store.replaces.Load()
		for range 400 { // all instances want it all the time
			time.Sleep(50 * time.Millisecond)
			for _, replica := range fleet {
				replica.Snapshot()
				replica.RequestProbe(0)
			}
			if readCircuit(t, fleet[0]).State == health.HalfOpen {
				break
			}
		}
		if c := readCircuit(t, fleet[0]); c.State != health.HalfOpen {
			t.Fatalf("no probe in 20 s: %+v", c)
		}
		time.Sleep(100 * time.Millisecond)
		if tried := store.replaces.Load() - puts; tried > 5 {
			t.Errorf("%d of 20 instances tried to claim the probe at once, want a few", tried)
		}
	})
}

func TestDrainedBackendIsNotProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		trip(t, fleet)
		before := readCircuit(t, fleet[0])
		if err := fleet[0].Drain(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			for _, replica := range fleet {
				replica.Snapshot()
				replica.RequestProbe(0)
			}
		}
		if c := readCircuit(t, fleet[0]); !c.Equal(before) {
			t.Errorf("half a minute of demand for a drained backend: %+v, want %+v", c, before)
		}
		if err := fleet[0].Restore(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		permit, holder := awaitProbe(t, fleet)
		holder.ReportOutcome(permit, served)
	})
}
