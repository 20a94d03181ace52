package state

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/breaker"
	"spillway/handler/health"
	"spillway/handler/table"
	"spillway/handler/table/chaos"
	"spillway/handler/table/memory"
	"spillway/handler/throttle"
)

// slowTable is a table a few milliseconds away, so that writers race.
type slowTable struct {
	memory.Store
	gets, puts, sets, conflicts atomic.Int64
}

func (s *slowTable) Get(ctx context.Context, partition, key string) (table.Row, table.Reply, error) {
	s.gets.Add(1)
	time.Sleep(2 * time.Millisecond)
	row, reply, err := s.Store.Get(ctx, partition, key)
	time.Sleep(3 * time.Millisecond)
	return row, reply, err
}

func (s *slowTable) Put(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	s.puts.Add(1)
	time.Sleep(3 * time.Millisecond)
	version, reply, err := s.Store.Put(ctx, row)
	if err != nil {
		s.conflicts.Add(1)
	}
	time.Sleep(3 * time.Millisecond)
	return version, reply, err
}

func (s *slowTable) Set(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	s.sets.Add(1)
	time.Sleep(6 * time.Millisecond)
	return s.Store.Set(ctx, row)
}

// start runs a keeper until the test ends. For synctest bubbles.
func start(t *testing.T, cfg Config) *Keeper {
	t.Helper()
	if cfg.Slots == nil {
		cfg.Slots = []string{"ptu/gpt", "payg/gpt"}
	}
	k := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; k.Close() })
	return k
}

// startFleet runs n of them with traffic, and waits until they know the clock.
func startFleet(t *testing.T, n int, cfg Config) []*Keeper {
	t.Helper()
	var fleet []*Keeper
	for i := range n {
		cfg.Instance = fmt.Sprintf("i%03d", i)
		k := start(t, cfg)
		k.Look()
		fleet = append(fleet, k)
		time.Sleep(time.Duration(7*i) * time.Millisecond) // no fleet starts at once
	}
	time.Sleep(5 * time.Second)
	lookAll(fleet)
	return fleet
}

func lookAll(fleet []*Keeper) {
	for _, k := range fleet {
		k.Look()
	}
}

// phases counts the instances that have the slot in the phase.
func phases(fleet []*Keeper, n health.Slot, p breaker.Phase) (count int) {
	for _, k := range fleet {
		if k.Look().Of(n).Phase == p {
			count++
		}
	}
	return count
}

func TestTwoHundredInstancesThatEachSeeOneFailureTripTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 200, Config{Store: store})
		before := store.puts.Load()
		began := time.Now()
		for _, k := range fleet {
			request(k, 0, failed)
		}
		for phases(fleet, 0, breaker.Open) < len(fleet) && time.Since(began) < 5*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(began)
		t.Logf("200 instances, one failure each: all open after %v; %d writes tried, %d lost to others", took, store.puts.Load()-before, store.conflicts.Load())
		if got := phases(fleet, 0, breaker.Open); got != len(fleet) || took > time.Second {
			t.Errorf("%d of %d instances obey after %v, want all within a second", got, len(fleet), took)
		}
		if got := phases(fleet, 1, breaker.Closed); got != len(fleet) {
			t.Errorf("the other backend is closed for %d of %d", got, len(fleet))
		}
	})
}

func TestALoneInstanceWithABrokenNetworkDoesNotTripTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 20, Config{Store: store})
		before := store.puts.Load()
		sent := 0
		for range 600 { // a minute: everybody is served, one sees every attempt fail
			time.Sleep(100 * time.Millisecond)
			for i, k := range fleet {
				o := served
				if i == 7 {
					o = failed
				}
				if request(k, 0, o) && i == 7 {
					sent++
				}
				if i != 7 && k.Look().Of(0).Phase != breaker.Closed {
					t.Fatalf("instance %d has lost a backend that serves it: %+v", i, k.Look().Of(0))
				}
			}
		}
		writes := store.puts.Load() - before
		t.Logf("one of 20 instances cut off for a minute: it sent %d of 600 requests into the void; %d writes", sent, writes)
		if sent > 20 {
			t.Errorf("the broken instance went on: %d requests in a minute, want its own breaker to hold", sent)
		}
		if writes > 60 {
			t.Errorf("%d writes in a minute about one accuser, want at most one a second", writes)
		}
	})
}

func TestALoneInstanceIsBelievedWhenNobodyElseIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		for range 5 {
			request(fleet[1], 0, failed)
		}
		if fleet[1].Look().Of(0).Phase != breaker.Open {
			t.Error("the instance itself goes on")
		}
		time.Sleep(time.Second)
		lookAll(fleet)
		if fleet[0].Look().Of(0).Phase != breaker.Closed {
			t.Error("believed before anybody could contradict")
		}
		time.Sleep(1500 * time.Millisecond)
		if got := phases(fleet, 0, breaker.Open); got != len(fleet) {
			t.Errorf("%d of %d instances obey an accuser whom nobody contradicted", got, len(fleet))
		}
	})
}

func TestAPercentageTripsWhereFailuresAreMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := startFleet(t, 1, Config{Store: &slowTable{}, Breaker: breaker.Policy{Failures: 1000, Percentage: 50, MinimumRequests: 20}})[0]
		for i := range 19 {
			o := served
			if i%2 == 0 {
				o = failed
			}
			request(k, 0, o)
		}
		if p := k.Look().Of(0).Phase; p != breaker.Closed {
			t.Fatalf("%v after 19 requests, and it takes 20 to judge", p)
		}
		request(k, 0, failed)
		if p := k.Look().Of(0).Phase; p != breaker.Open {
			t.Errorf("%v after 11 failures in 20 requests", p)
		}
		time.Sleep(3 * time.Second)
		if c := tableSays(t, k); c.Phase != breaker.Open {
			t.Errorf("the fleet's circuit: %+v, want open", c)
		}
	})
}

func TestMisconfiguredOpensForLongAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		request(fleet[0], 0, health.Outcome{Verdict: health.Misconfigured, Why: "401", Signals: health.NoSignals()})
		if request(fleet[0], 0, served) {
			t.Error("the instance that got a 401 asked again")
		}
		time.Sleep(time.Second)
		for i, k := range fleet {
			h := k.Look().Of(0)
			if left := time.Until(h.Until); h.Phase != breaker.Open || left < 4*time.Minute || h.Why != "401" {
				t.Errorf("instance %d: %+v, want open for five minutes because of a 401", i, h)
			}
		}
	})
}

func TestHealthyTrafficWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 5, Config{Store: store, Throttle: throttle.Policy{LeaveAt: throttle.LeaveAt{Utilization: 95, RemainingTokens: .02}}})
		sets := store.sets.Load()
		roomy := health.Outcome{Signals: health.Signals{Utilization: 40, RemainingTokens: 20_000, LimitTokens: 30_000}}
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			for _, k := range fleet {
				if !request(k, 0, roomy) {
					t.Fatal("refused")
				}
			}
		}
		if store.puts.Load() != 0 {
			t.Errorf("%d writes of the shared row for 3,000 requests that were served", store.puts.Load())
		}
		if stamps := store.sets.Load() - sets; stamps != 4*5 {
			t.Errorf("%d stamps of 5 instances in a minute, want one each 15 s", stamps)
		}
	})
}

func TestAnIdleFleetLeavesTheTableAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 3, Config{Store: store})
		time.Sleep(62 * time.Second)
		before := store.gets.Load() + store.puts.Load() + store.sets.Load()
		time.Sleep(time.Hour - time.Minute)
		if after := store.gets.Load() + store.puts.Load() + store.sets.Load(); after != before {
			t.Errorf("%d exchanges in an hour without a request", after-before)
		}
		// One instance learns something meanwhile; a sleeper learns it right after its first request.
		other := startFleet(t, 1, Config{Store: store})[0]
		request(other, 0, throttled(time.Minute, throttle.Capacity))
		time.Sleep(time.Second)
		fleet[0].Look()
		time.Sleep(50 * time.Millisecond)
		if got := fleet[0].Look().Of(0).Refuses(time.Now(), 1); got != health.RefusedThrottled {
			t.Errorf("50 ms after it woke: %q, want throttled", got)
		}
	})
}

func TestALargeFleetReadsNoMoreThanThePartitionTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		k := startFleet(t, 1, Config{Store: store, MaxInstances: 2000})[0]
		before := store.gets.Load()
		for range 60 {
			time.Sleep(time.Second)
			k.Look()
		}
		if got := store.gets.Load() - before; got < 25 || got > 36 {
			t.Errorf("%d reads in a minute at a cap of 2,000 instances, want one each 2 s", got)
		}
	})
}

func TestAProbeLongerThanItsLeaseKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 4, Config{Store: &slowTable{}})
		trip(t, fleet)
		ticket, holder := awaitProbe(t, fleet)
		left, ok := holder.Recheck(ticket)
		if !ok || left > 10*time.Second || left < 8*time.Second {
			t.Fatalf("the lease holds for %v, %v", left, ok)
		}
		for range 350 { // 35 s, more than three leases
			time.Sleep(100 * time.Millisecond)
			if left, ok := holder.Recheck(ticket); !ok || left < 4*time.Second {
				t.Fatalf("the lease of a probe in flight is down to %v, %v", left, ok)
			}
			for i, k := range fleet {
				if k.Look().Of(0).Refuses(time.Now(), 1) == health.Admitted {
					t.Fatalf("instance %d may send beside the probe", i)
				}
				k.Want(0)
			}
		}
		holder.Report(ticket, served)
		time.Sleep(time.Second)
		if got := phases(fleet, 0, breaker.Closed); got != len(fleet) {
			t.Errorf("%d of %d instances closed after the long probe was served", got, len(fleet))
		}
	})
}

// trip opens slot 0 for the whole fleet.
func trip(t *testing.T, fleet []*Keeper) {
	t.Helper()
	for i := range 6 {
		request(fleet[i%len(fleet)], 0, failed)
	}
	time.Sleep(2500 * time.Millisecond)
	if got := phases(fleet, 0, breaker.Open); got != len(fleet) {
		t.Fatalf("%d of %d instances open after the failures", got, len(fleet))
	}
}

// awaitProbe lets requests come until one of them is given the probe.
func awaitProbe(t *testing.T, fleet []*Keeper) (health.Ticket, *Keeper) {
	t.Helper()
	for range 400 {
		time.Sleep(50 * time.Millisecond)
		for _, k := range fleet {
			if k.Look().Of(0).Refuses(time.Now(), 1) != health.Admitted {
				k.Want(0)
				continue
			}
			if ticket, ok := k.Enter(0); ok && ticket.Probe {
				return ticket, k
			}
		}
	}
	t.Fatal("no probe in 20 s")
	return health.Ticket{}, nil
}

func TestALeaseWhoseRequestNeverComesIsGivenBackWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		trip(t, fleet)
		var held time.Time
		for range 400 { // only the first instance has requests, and they stop when it has the probe
			time.Sleep(50 * time.Millisecond)
			fleet[1].Look()
			if fleet[0].Look().Of(0).Probe {
				held = time.Now()
				break
			}
			fleet[0].Want(0)
		}
		if held.IsZero() {
			t.Fatal("no probe in 20 s")
		}
		for fleet[0].Look().Of(0).Probe {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		if c := tableSays(t, fleet[1]); c.Phase != breaker.Open || time.Since(held) > time.Second {
			t.Errorf("%v after it was taken: %+v, want it given back", time.Since(held), c)
		}
		ticket, holder := awaitProbe(t, fleet[1:])
		holder.Report(ticket, served)
		time.Sleep(time.Second)
		if got := phases(fleet, 0, breaker.Closed); got != 2 {
			t.Errorf("the other instance used it, and %d of 2 are closed", got)
		}
	})
}

// tableSays is the circuit of slot 0 as it is stored.
func tableSays(t *testing.T, k *Keeper) breaker.Circuit {
	t.Helper()
	fleet, err := k.Fleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fleet.Slots[0].Record.Circuit
}

func TestAProbeWhoseCallerLeftIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		trip(t, fleet)
		for _, end := range []func(*Keeper, health.Ticket){
			func(k *Keeper, ticket health.Ticket) { k.Leave(ticket) },
			func(k *Keeper, ticket health.Ticket) {
				k.Report(ticket, health.Outcome{Verdict: health.Abandoned, Signals: health.NoSignals()})
			},
		} {
			ticket, holder := awaitProbe(t, fleet)
			end(holder, ticket)
		}
		ticket, holder := awaitProbe(t, fleet)
		holder.Report(ticket, throttled(3*time.Second, throttle.Provisioned))
		time.Sleep(time.Second)
		for i, k := range fleet {
			if h := k.Look().Of(0); h.Phase != breaker.Closed || h.Refuses(time.Now(), 1) != health.RefusedThrottled {
				t.Errorf("instance %d after a probe that was answered 429: %+v, want closed and throttled", i, h)
			}
		}
	})
}

func TestThinTrafficIsNotLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 3, Config{Store: &slowTable{}})
		trip(t, fleet)
		began := time.Now()
		for i := 0; ; i++ { // a request each 3 s, never twice in a row at one instance
			time.Sleep(3 * time.Second)
			lookAll(fleet)
			if request(fleet[i%3], 0, served) {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("no request got through in a minute: %+v", tableSays(t, fleet[0]))
			}
		}
		t.Logf("a fleet with a request each 3 s is back %v after the trip", time.Since(began))
	})
}

func TestATokenLimitStillAdmitsSmallPrompts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		o := throttled(30*time.Second, throttle.Tokens)
		o.Signals.RemainingTokens = 1000
		request(fleet[0], 0, o)
		time.Sleep(time.Second)
		for i, k := range fleet {
			h := k.Look().Of(0)
			if h.Refuses(time.Now(), 400) != health.Admitted || h.Refuses(time.Now(), 5000) != health.RefusedThrottled {
				t.Errorf("instance %d: %+v, want small prompts admitted and large ones refused", i, h.Throttle)
			}
			if _, ok := k.Enter(0); !ok {
				t.Errorf("instance %d: a small prompt was not let in", i)
			}
		}
		o.Signals.RemainingTokens = 0
		fleet[1].Report(health.Ticket{Slot: 0}, o)
		time.Sleep(time.Second)
		for i, k := range fleet {
			if got := k.Look().Of(0).Refuses(time.Now(), 1); got != health.RefusedThrottled {
				t.Errorf("instance %d after the room is used up: %q", i, got)
			}
		}
	})
}

func TestANearlyFullBackendIsLeftByDegrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		for _, c := range []struct {
			policy throttle.LeaveAt
			want   uint8
		}{{throttle.LeaveAt{Utilization: 95}, 50}, {throttle.LeaveAt{}, 0}} {
			fleet := startFleet(t, 2, Config{Store: store, Group: fmt.Sprint(c.want), Throttle: throttle.Policy{LeaveAt: c.policy}})
			full := health.NoSignals()
			full.Utilization = 97
			puts := store.puts.Load()
			for range 100 {
				fleet[0].Observe(0, full)
			}
			if got := fleet[0].Look().Of(0).Share; got != c.want {
				t.Errorf("leave at %+v: the instance that saw it has a share of %d, want %d", c.policy, got, c.want)
			}
			time.Sleep(time.Second)
			if got := fleet[1].Look().Of(0).Share; got != c.want {
				t.Errorf("leave at %+v: the other has a share of %d, want %d", c.policy, got, c.want)
			}
			if writes := store.puts.Load() - puts; writes > 1 {
				t.Errorf("%d writes for one crossing of the mark", writes)
			}
			time.Sleep(6 * time.Second)
			lookAll(fleet)
			time.Sleep(time.Second)
			if got := fleet[1].Look().Of(0).Share; got != 0 {
				t.Errorf("share %d long after, want all", got)
			}
		}
	})
}

func TestOperatorsWordsReachTheWholeFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 5, Config{Store: store})
		command := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "cli"}) // as the command line does: it does not run
		if err := command.Drain(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(650 * time.Millisecond)
		for i, k := range fleet {
			if h := k.Look().Of(0); h.Refuses(time.Now(), 1) != health.RefusedDrained || h.Why != "drained by ada" {
				t.Errorf("instance %d one refresh after the drain: %+v", i, h)
			}
			if k.Look().Of(1).Drained {
				t.Errorf("instance %d drained the other backend too", i)
			}
		}
		if err := command.Restore(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(650 * time.Millisecond)
		trip(t, fleet)
		request(fleet[0], 1, throttled(time.Minute, throttle.Capacity))
		time.Sleep(time.Second)
		if err := command.Reset(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		if err := command.Reset(t.Context(), "payg/gpt", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(650 * time.Millisecond)
		for i, k := range fleet {
			for n := range 2 {
				if h := k.Look().Of(health.Slot(n)); h.Refuses(time.Now(), 1) != health.Admitted || h.Share != 0 {
					t.Errorf("instance %d one refresh after the reset: %+v", i, h)
				}
			}
		}
		err := command.Drain(t.Context(), "pt", "ada")
		if err == nil || !strings.Contains(err.Error(), "ptu, payg") {
			t.Errorf("a backend that there is not: %v, want it to name those that there are", err)
		}
	})
}

func TestAnOperatorIsToldWhenTheTableDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Config{Store: down{}, Slots: []string{"ptu/gpt"}, Instance: "cli"})
		if err := k.Drain(t.Context(), "ptu", "ada"); err == nil {
			t.Error("the drain is said to be written")
		}
		if _, err := k.Fleet(t.Context()); err == nil {
			t.Error("the list is said to be read")
		}
	})
}

func TestInstancesSayWhatTheyAgreedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 3, Config{Store: store})
		request(fleet[0], 0, throttled(time.Minute, throttle.Capacity))
		for range 20 {
			time.Sleep(time.Second)
			lookAll(fleet)
		}
		got, err := fleet[2].Fleet(t.Context())
		if err != nil || len(got.Instances) != 3 || got.Revision != 1 {
			t.Fatalf("fleet %+v, %v; want three instances at revision 1", got, err)
		}
		for i, instance := range got.Instances {
			if instance.Revision != 1 || instance.Name != fmt.Sprintf("i%03d", i) || got.At.Sub(instance.At) > 16*time.Second {
				t.Errorf("instance %d says %+v at %v", i, instance, got.At)
			}
		}
		time.Sleep(2 * time.Hour) // all gone idle
		if got, err := fleet[0].Fleet(t.Context()); err != nil || len(got.Instances) != 0 {
			t.Errorf("two hours later %d instances are said to be active, %v", len(got.Instances), err)
		}
		if swept, err := fleet[0].Sweep(t.Context()); err != nil || swept != 3 {
			t.Errorf("swept %d rows of instances long gone, %v; want 3", swept, err)
		}
	})
}

// The table stops for a minute under load. Nothing that a request calls may
// wait, and the news of the minute is in the table one refresh after it is back.
func TestATableThatStopsForAMinuteIsNotNoticedByRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := &slowTable{}
		ways := make([]*chaos.Store, 5)
		var fleet []*Keeper
		for i := range ways {
			ways[i] = &chaos.Store{Under: under}
			k := start(t, Config{Store: ways[i], Instance: fmt.Sprint(i)})
			k.Look()
			fleet = append(fleet, k)
		}
		time.Sleep(5 * time.Second)
		for _, way := range ways {
			way.Cut(true)
		}
		began := time.Now()
		for i := range 600 {
			for _, k := range fleet {
				before := time.Now()
				if !request(k, 1, served) {
					t.Fatalf("refused %v into the outage", time.Since(began))
				}
				if waited := time.Since(before); waited != 0 {
					t.Fatalf("a request waited %v", waited)
				}
			}
			if i == 550 {
				request(fleet[3], 0, throttled(30*time.Second, throttle.Capacity))
			}
			time.Sleep(100 * time.Millisecond)
		}
		if c := fleet[0].Counters(); !c.Alone || c.SinceTable < 55*time.Second {
			t.Errorf("in the outage: alone %v, %v since the table", c.Alone, c.SinceTable)
		}
		for _, way := range ways {
			way.Cut(false)
		}
		// One exchange may have been waiting for its end, then a refresh follows, then another instance reads.
		time.Sleep(fleet[0].cfg.Timeout + 2*700*time.Millisecond)
		for i, k := range fleet {
			if got := k.Look().Of(0).Refuses(time.Now(), 1); got != health.RefusedThrottled {
				t.Errorf("instance %d after the outage: %q, want the throttle that one was told meanwhile", i, got)
			}
			if c := k.Counters(); c.Alone || c.Outage < 55*time.Second || c.Outage > 63*time.Second {
				t.Errorf("instance %d booked an outage of %v, alone %v", i, c.Outage, c.Alone)
			}
		}
	})
}

// onlyRun panics when a request speaks with the table.
type onlyRun struct {
	table.Store
	allowed *atomic.Bool
}

func (s onlyRun) check() {
	if !s.allowed.Load() {
		panic("a request spoke with the table")
	}
}

func (s onlyRun) Get(ctx context.Context, partition, key string) (table.Row, table.Reply, error) {
	s.check()
	return s.Store.Get(ctx, partition, key)
}

func (s onlyRun) Put(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	s.check()
	return s.Store.Put(ctx, row)
}

func (s onlyRun) Set(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	s.check()
	return s.Store.Set(ctx, row)
}

func (s onlyRun) List(ctx context.Context, partition, from, to string) ([]table.Row, table.Reply, error) {
	s.check()
	return s.Store.List(ctx, partition, from, to)
}

func (s onlyRun) Delete(ctx context.Context, row table.Row) (table.Reply, error) {
	s.check()
	return s.Store.Delete(ctx, row)
}

// Every method of the request path, in every state of a slot, with the turns of
// the keeper's own goroutine made by hand in between: what a request does must
// not reach the table.
func TestNoRequestSpeaksWithTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Bool
		k := New(Config{Store: onlyRun{&memory.Store{}, &allowed}, Slots: []string{"a/m"}, Instance: "i", Breaker: breaker.Policy{Failures: 2, TripDuration: time.Second, MaxTripDuration: 3 * time.Second}})
		turn := func(after time.Duration) {
			time.Sleep(after)
			allowed.Store(true)
			k.turn(t.Context(), 0, false)
			allowed.Store(false)
		}
		outcomes := []health.Outcome{served, throttled(time.Second, throttle.Tokens), failed, failed, {Verdict: health.Abandoned}, served, failed, {Verdict: health.Misconfigured}}
		tickets := 0
		for i := range 400 {
			turn(300 * time.Millisecond)
			k.Look()
			k.Want(0)
			k.Observe(0, health.Signals{Utilization: 99})
			if ticket, ok := k.Enter(0); ok {
				tickets++
				k.Recheck(ticket)
				if i%7 == 0 {
					k.Leave(ticket)
					continue
				}
				k.Report(ticket, outcomes[i%len(outcomes)])
			}
			k.Counters()
		}
		if c := k.Counters(); tickets < 20 || c.Trips == 0 || c.Probes == 0 {
			t.Errorf("%d tickets, %d trips, %d probes: the test went nowhere", tickets, c.Trips, c.Probes)
		}
	})
}

func TestARecordOfALaterVersionIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		k := startFleet(t, 1, Config{Store: store})[0]
		const column = `{"v":2,"p":"ajar"}`
		if _, _, err := store.Store.Set(t.Context(), table.Row{Partition: k.partition(), Key: "0", Columns: map[string]string{k.slots[0].column: column}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 5 {
			request(k, 0, failed)
			request(k, 1, throttled(time.Minute, throttle.Capacity))
		}
		time.Sleep(5 * time.Second)
		row, _, err := store.Store.Get(t.Context(), k.partition(), "0")
		if err != nil || row.Columns[k.slots[0].column] != column {
			t.Errorf("the later version's record became %q, %v", row.Columns[k.slots[0].column], err)
		}
		if row.Columns[k.slots[1].column] == "" {
			t.Error("its neighbour was not written either")
		}
		if k.Look().Of(0).Phase == breaker.Closed {
			t.Error("the instance does not even protect itself")
		}
	})
}

func TestManySlotsShareSomeRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		var slots []string
		for i := range 1000 {
			slots = append(slots, fmt.Sprintf("b%d/m", i))
		}
		fleet := startFleet(t, 2, Config{Store: store, Slots: slots})
		for n := range slots {
			request(fleet[0], health.Slot(n), throttled(time.Minute, throttle.Capacity))
		}
		time.Sleep(3 * time.Second)
		for n := range slots {
			if got := fleet[1].Look().Of(health.Slot(n)).Refuses(time.Now(), 1); got != health.RefusedThrottled {
				t.Fatalf("slot %d at the other instance: %q", n, got)
			}
		}
		rows, _, err := store.List(t.Context(), fleet[0].partition(), "", "")
		if err != nil || len(rows) != manyRows {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, row := range rows {
			if len(row.Columns) > 250 {
				t.Errorf("row %s has %d columns, more than the service takes", row.Key, len(row.Columns))
			}
		}
	})
}
