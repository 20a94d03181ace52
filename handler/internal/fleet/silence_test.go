package fleet

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// acquire returns that many permits for the slot.
func acquire(t *testing.T, replica *Replica, n health.Slot, count int) (permits []health.Permit) {
	t.Helper()
	for range count {
		permit, ok := replica.Acquire(n, "")
		if !ok {
			t.Fatalf("no permit for slot %d: %+v", n, replica.Snapshot().Of(n))
		}
		permits = append(permits, permit)
	}
	return permits
}

func reportSilent(replica *Replica, permits []health.Permit) {
	for _, permit := range permits {
		replica.ReportSilent(permit)
	}
}

// Attempts without content count as failures once something else is served, and no
// more when they are answered.
func TestSilenceCountsUntilItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		hanging := acquire(t, replica, 0, 5)
		time.Sleep(10 * time.Second)
		request(replica, 1, served)
		reportSilent(replica, hanging)
		if replica.Snapshot().Of(0).State != health.Open {
			t.Fatal("five silent attempts do not open the circuit")
		}
		time.Sleep(time.Second)
		if c := readCircuit(t, replica); c.State != health.Open {
			t.Errorf("the fleet's circuit: %+v", c)
		}
		for _, permit := range hanging {
			replica.ReportAnswered(permit)
			replica.ReportOutcome(permit, health.Outcome{Answered: true, Signals: health.NoSignals()})
		}
		replica.mu.Lock()
		defer replica.mu.Unlock()
		if s := replica.slots[0]; len(s.silent) != 0 || s.own.open || s.evidence.Awaits() {
			t.Errorf("answered after all: %d silent, own circuit %+v", len(s.silent), s.own)
		}
		if n, _ := replica.slots[0].evidence.Since(0); n != 0 {
			t.Errorf("%d failures, though all were answered", n)
		}
	})
}

// The caller leaves after the threshold: the silence stays counted, and nothing of
// the attempt is kept.
func TestAbandonedSilenceStaysCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		for range 4 {
			request(replica, 1, served)
			hanging := acquire(t, replica, 0, 1)
			time.Sleep(2 * time.Second)
			request(replica, 1, served)
			reportSilent(replica, hanging)
			replica.ReportOutcome(hanging[0], health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()})
		}
		replica.mu.Lock()
		defer replica.mu.Unlock()
		s := replica.slots[0]
		if n, _ := s.evidence.Since(0); n != 4 {
			t.Errorf("%d failures of four silent attempts whose callers left", n)
		}
		if len(s.silent) != 0 {
			t.Errorf("%d attempts are waited for that ended", len(s.silent))
		}
	})
}

// Attempts from before a recovery fall silent after it.
func TestSilenceOfAnOlderEpochDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		late := acquire(t, fleet[0], 0, 3)
		trip(t, fleet)
		permit, holder := awaitProbe(t, fleet)
		holder.ReportOutcome(permit, served)
		time.Sleep(time.Second)
		request(fleet[0], 1, served)
		reportSilent(fleet[0], late)
		if got := countState(fleet, 0, health.Closed); got != 2 {
			t.Errorf("%d of 2 instances closed: late silence opened a recovered circuit", got)
		}
	})
}

// This process did not run for a while: what failed or fell silent meanwhile says
// nothing about the backends, and the fleet hears nothing of it.
func TestStallCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := startFleet(t, 1, Config{Store: store})[0]
		replica.Tick()
		hanging := acquire(t, replica, 0, 20)
		request(replica, 1, served)
		time.Sleep(5 * time.Second) // no Tick
		reportSilent(replica, hanging[:10])
		for _, permit := range hanging[10:] {
			replica.ReportOutcome(permit, failed)
		}
		replica.Tick()
		time.Sleep(2 * time.Second)
		if h := replica.Snapshot().Of(0); h.State != health.Closed || store.replaces.Load() != 0 || replica.Counters().Stalls == 0 {
			t.Errorf("after a stall: %+v, %d writes, %d stalls", h, store.replaces.Load(), replica.Counters().Stalls)
		}
		for range 20 { // it goes on
			replica.Tick()
			time.Sleep(200 * time.Millisecond)
		}
		for range 10 { // as many as are under way
			request(replica, 0, failed)
		}
		if h := replica.Snapshot().Of(0); h.State != health.Open {
			t.Errorf("attempts after the stall: %+v, want them counted", h)
		}
	})
}

func TestProbeThatAStallFailedIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		trip(t, fleet)
		trips := readCircuit(t, fleet[0]).Trips
		permit, holder := awaitProbe(t, fleet)
		holder.Tick()
		time.Sleep(3 * time.Second) // no Tick
		holder.ReportOutcome(permit, failed)
		time.Sleep(time.Second)
		if c := readCircuit(t, fleet[0]); c.Trips != trips || c.FailedBy != "" {
			t.Errorf("after a stall in a probe: %+v, want it returned and not failed", c)
		}
	})
}

// One request failed at every backend, five times: its failures are its own as soon
// as somebody is served, and so is an opening that came of them.
func TestPoisonousRequestsCondemnNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		var both [][]health.Permit
		for range 5 {
			both = append(both, append(acquire(t, replica, 0, 1), acquire(t, replica, 1, 1)...))
		}
		time.Sleep(100 * time.Millisecond)
		request(replica, 0, served)
		request(replica, 1, served)
		time.Sleep(100 * time.Millisecond)
		for _, permits := range both {
			for _, permit := range permits {
				replica.ReportOutcome(permit, failed)
			}
		}
		if replica.Snapshot().Of(0).State != health.Open {
			t.Fatal("five failures in a row do not open the circuit: the test proves nothing")
		}
		for _, permits := range both {
			replica.TakeBack(permits)
		}
		for n := range health.Slot(2) {
			if h := replica.Snapshot().Of(n); h.State != health.Closed {
				t.Errorf("slot %d, which served others meanwhile: %+v", n, h)
			}
		}
	})
}

// The same where nobody was served yet: the first success takes the failures back.
func TestPoisonIsTakenBackByTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		for range 5 {
			permit := acquire(t, replica, 0, 1)
			replica.ReportOutcome(permit[0], failed)
			replica.TakeBack(permit)
		}
		if replica.Snapshot().Of(0).State != health.Open {
			t.Fatal("five failures do not open the circuit")
		}
		time.Sleep(time.Second)
		trial, ok := replica.AcquireTrial(0)
		if !ok {
			t.Fatal("no trial")
		}
		replica.ReportOutcome(trial, served)
		if h := replica.Snapshot().Of(0); h.State != health.Closed || h.TrafficPercent != 0 {
			t.Errorf("after a served trial: %+v, want all traffic", h)
		}
		time.Sleep(time.Second)
		if c := readCircuit(t, replica); c.State != health.Closed {
			t.Errorf("the fleet's circuit after a served trial: %+v", c)
		}
	})
}

// Nobody else is left, and a trial is served: the fleet hears of it.
func TestServedTrialClosesTheCircuitForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closedFor atomic.Value
		fleet := startFleet(t, 5, Config{Store: &slowTable{}, OnChange: func(_ health.Slot, before, after health.Record) {
			if before.Circuit.State != health.Closed && after.Circuit.State == health.Closed {
				closedFor.Store(after.LastChange.Reason)
			}
		}})
		trip(t, fleet)
		for _, n := range []health.Slot{0} {
			failing, ok := fleet[2].AcquireTrial(n)
			if !ok {
				t.Fatal("no trial of an open circuit")
			}
			fleet[2].ReportOutcome(failing, failed)
		}
		if fleet[2].Snapshot().Of(0).State != health.Open {
			t.Error("a failed trial closed the circuit")
		}
		trial, _ := fleet[2].AcquireTrial(0)
		time.Sleep(50 * time.Millisecond)
		fleet[2].ReportOutcome(trial, served)
		if h := fleet[2].Snapshot().Of(0); h.State != health.Closed || h.TrafficPercent != 0 {
			t.Errorf("at the instance that was served: %+v, want closed without a ramp", h)
		}
		time.Sleep(800 * time.Millisecond)
		snapshotAll(fleet)
		if got := countState(fleet, 0, health.Closed); got != len(fleet) {
			t.Errorf("%d of %d instances closed one refresh after a served trial: %+v", got, len(fleet), readCircuit(t, fleet[0]))
		}
		if reason := closedFor.Load(); reason != "served" {
			t.Errorf("the circuit closed for the reason %v", reason)
		}
		if err := fleet[0].Drain(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		request(fleet[0], 1, throttled(time.Minute, health.LimitCapacity))
		for n := range health.Slot(2) {
			if _, ok := fleet[0].AcquireTrial(n); ok {
				t.Errorf("a trial of slot %d, which is drained or throttled", n)
			}
		}
	})
}

// A request waits for a read only if the view is old, and a tenth of a second at
// most.
func TestAwaitRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingTable{}
		replica := start(t, Config{Store: store, Instance: "i"})
		waits := func() time.Duration {
			began := time.Now()
			replica.Snapshot()
			replica.AwaitRefresh(t.Context())
			return time.Since(began)
		}
		replica.Snapshot()
		time.Sleep(3 * time.Second)
		if took := waits(); took != 0 {
			t.Errorf("a request waited %v for a younger view than one of a second ago", took)
		}
		time.Sleep(10 * time.Minute)
		if took := waits(); took == 0 || took > 30*time.Millisecond {
			t.Errorf("after ten idle minutes it waited %v, want one exchange", took)
		}
		if took := waits(); took != 0 {
			t.Errorf("the next one waited %v", took)
		}
		time.Sleep(10 * time.Minute)
		store.reads.Store(&refusal{err: tablestore.ErrUnknown})
		store.writes.Store(&refusal{err: tablestore.ErrUnknown})
		if took := waits(); took != refreshWait {
			t.Errorf("without the table it waited %v, want %v", took, refreshWait)
		}
		for range 20 {
			time.Sleep(time.Second)
			replica.Snapshot()
		}
		if took := waits(); took != 0 {
			t.Errorf("an instance that is cut off waits %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		replica.AwaitRefresh(ctx)
		if n := len(replica.readers); n > 3 {
			t.Errorf("%d waiting requests are remembered", n)
		}
	})
}

// The probe goes to another consumer and to another instance than those that failed
// the last one, when they ask.
func TestNextProbeGoesToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}, MaxInstances: 2, Breakers: []health.BreakerPolicy{{MaxTripDuration: 10 * time.Second}}})
		trip(t, fleet)
		probe := func(consumers ...string) (health.Permit, *Replica) {
			for range 1200 {
				time.Sleep(50 * time.Millisecond)
				for _, replica := range fleet {
					for _, consumer := range consumers {
						if replica.Snapshot().Of(0).SkipReason(time.Now(), 1) != health.NotSkipped {
							replica.RequestProbe(0)
						} else if permit, ok := replica.Acquire(0, consumer); ok && permit.Probe {
							return permit, replica
						}
					}
				}
			}
			t.Fatal("no probe in a minute")
			return health.Permit{}, nil
		}
		first, holder := probe("poison", "other")
		if first.Consumer != "poison" {
			t.Fatalf("the first probe is of %q", first.Consumer)
		}
		holder.ReportOutcome(first, failed)
		for range 6 {
			permit, next := probe("poison", "other")
			if next == holder {
				t.Error("the instance that failed the last probe has the next, though the other one asks")
			}
			next.ReportOutcome(permit, failed)
			holder = next
		}
		// The consumer that failed at both instances comes first to each.
		holder.slots[0].lastFailer = "poison"
		for _, replica := range fleet {
			replica.slots[0].lastFailer = "poison"
		}
		permit, last := probe("poison", "other")
		if permit.Consumer != "other" {
			t.Errorf("the probe is of %q, who failed the last", permit.Consumer)
		}
		last.ReportOutcome(permit, failed)
		for _, replica := range fleet {
			replica.slots[0].lastFailer = "poison"
		}
		permit, last = probe("poison") // nobody else asks
		last.ReportOutcome(permit, served)
	})
}

// In thin traffic the only success since a silent attempt began is that of its own
// hedge, which ends it: the silence counts all the same.
func TestSilenceThatLostToItsHedgeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		for range 5 {
			replica.Snapshot()
			hanging := acquire(t, replica, 0, 1)
			time.Sleep(2 * time.Second)
			reportSilent(replica, hanging)
			request(replica, 1, served)
			replica.ReportOutcome(hanging[0], health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()})
			time.Sleep(20 * time.Second)
		}
		if replica.Snapshot().Of(0).State == health.Closed {
			t.Error("five requests in a row were silent, and the backend is still used")
		}
	})
}
