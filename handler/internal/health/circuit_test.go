package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

// at is an instant known to within 100 ms, t seconds after an arbitrary start.
func at(t float64) TimeBounds {
	ms := int64(1_000_000 + t*1000)
	return TimeBounds{Earliest: ms - 50, Latest: ms + 50}
}

func policy() BreakerPolicy {
	return BreakerPolicy{Failures: 5, TripDuration: 10 * time.Second, MaxTripDuration: time.Minute, ProbeLease: 4 * time.Second}.WithDefaults()
}

// One circuit from its first trip to its recovery.
func TestCircuitOpensProbesAndRecovers(t *testing.T) {
	p := policy()
	var c Circuit
	if c.State != Closed || c.ProbeDue(at(0)) {
		t.Fatal("the zero circuit is not closed")
	}
	c = c.trip(at(0), p, 1).WrittenIn(7)
	if c.State != Open || c.Epoch != 7 || c.Trips != 1 || c.Since != at(0).Midpoint() {
		t.Fatalf("after the first trip: %+v", c)
	}
	if c.ProbeDue(at(10)) {
		t.Error("a probe is due although the earliest bound is before the deadline")
	}
	if !c.ProbeDue(at(10.1)) {
		t.Error("no probe is due although the earliest bound is past the deadline")
	}
	c = c.claimProbe("a", at(10.2), p).WrittenIn(9)
	if c.State != HalfOpen || c.Owner != "a" || c.Epoch != 9 || c.Lease != 9 || c.ProbeDue(at(14)) {
		t.Fatalf("after the claim: %+v", c)
	}
	renewed := c.renewLease(at(11.6), p).WrittenIn(12)
	if renewed.Epoch != 12 || renewed.Lease != 9 || renewed.Until <= c.Until || renewed.Since != c.Since || renewed.Owner != "a" {
		t.Errorf("after the renewal: %+v", renewed)
	}
	long := c.renewLease(at(9), p)
	if short := long.renewLease(TimeBounds{Earliest: at(9).Earliest, Latest: at(9).Earliest}, p); short.Until < long.Until {
		t.Errorf("a renewal under narrower bounds ends earlier than the lease that was granted: %+v", short)
	}
	c = renewed.reopen(at(12), p).WrittenIn(13)
	if c.State != Open || c.Trips != 2 || c.FailedBy != "a" || c.ProbeDue(at(31.9)) || !c.ProbeDue(at(32.2)) {
		t.Errorf("after a failed probe: %+v, want open for twice as long", c)
	}
	c = c.claimProbe("b", at(33), p).WrittenIn(14)
	if c.FailedBy != "a" {
		t.Errorf("during the next probe: %+v, want the instance that failed the last one", c)
	}
	c = c.closeForRamp(at(34)).WrittenIn(15)
	if c.State != Closed || c.Trips != 2 || c.FailedBy != "" || c.Since != at(34).Midpoint() {
		t.Fatalf("after a served probe: %+v", c)
	}
}

func TestConsecutiveTripsDoubleUpToTheMaximum(t *testing.T) {
	p := policy()
	for trip, want := range map[int]time.Duration{0: time.Second, 1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 4: time.Minute, 1 << 20: time.Minute} {
		if got := p.OpenDuration(trip); got != want {
			t.Errorf("trip %d lasts %v, want %v", trip, got, want)
		}
	}
	if c := (Circuit{}).trip(at(0), p, 3); c.Trips != 3 || c.Until != at(0).Latest+40_000 {
		t.Errorf("a third trip: %+v", c)
	}
	doubtful := (Circuit{}).trip(at(0), p, 0)
	if doubtful.Trips != 0 || doubtful.Until != at(0).Latest+1000 {
		t.Errorf("a doubtful trip: %+v, want a second", doubtful)
	}
	if c := doubtful.claimProbe("a", at(2), p).reopen(at(3), p); c.Trips != 1 || c.Until != at(3).Latest+10_000 {
		t.Errorf("a doubtful trip confirmed by its probe: %+v, want a first trip", c)
	}
}

func TestRampShareGrowsInTwoSteps(t *testing.T) {
	p := policy()
	for after, want := range map[time.Duration]uint8{
		0: 10, 4999 * time.Millisecond: 10, 5 * time.Second: 30, 9999 * time.Millisecond: 30, 10 * time.Second: 0, time.Hour: 0,
	} {
		if got := p.RampShare(after); got != want {
			t.Errorf("share %v after the circuit closed: %d, want %d", after, got, want)
		}
	}
	p.SlowStartStep = -1
	if got := p.RampShare(0); got != 0 {
		t.Errorf("share without a ramp: %d, want all", got)
	}
	if got := p.ConsecutiveFor(); got != p.Interval {
		t.Errorf("without a ramp a trip is consecutive for %v, want the interval", got)
	}
	if got := policy().ConsecutiveFor(); got != 20*time.Second {
		t.Errorf("a trip is consecutive for %v, want the ramp and the interval", got)
	}
}

func TestReturnedProbeMayBeClaimedAtOnce(t *testing.T) {
	p := policy()
	c := Circuit{}.trip(at(0), p, 1).claimProbe("a", at(10.2), p).returnProbe(at(11))
	if !c.ProbeDue(at(11)) {
		t.Fatalf("after the return no probe is due: %+v", c)
	}
	if c.probeStarved(at(11)) {
		t.Error("unprobed too long after one returned lease")
	}
	c = c.claimProbe("b", at(12), p).returnProbe(at(13))
	if c.probeStarved(at(18)) || !c.probeStarved(at(18.2)) {
		t.Errorf("unprobed for 8 s: %+v, want too long exactly then", c)
	}
	// A lease that ended without a result was used: its request may still be waiting.
	lost := Circuit{}.trip(at(0), p, 1).claimProbe("a", at(10.2), p).claimProbe("b", at(20), p).returnProbe(at(21))
	if lost.probeStarved(at(21)) {
		t.Errorf("a lost probe counts as unused: %+v", lost)
	}
}

func TestUnreadableRecordIsQuarantinedForOneLease(t *testing.T) {
	p := policy()
	c := Circuit{Epoch: 12}.Quarantine(at(0), p).WrittenIn(20)
	if c.State != Open || c.Epoch != 20 || c.ProbeDue(at(4)) || !c.ProbeDue(at(4.2)) {
		t.Errorf("quarantined: %+v", c)
	}
}

func TestResetClosesWithoutTripsOrRamp(t *testing.T) {
	p := policy()
	c := Circuit{}.trip(at(0), p, 4).claimProbe("a", at(61), p).Reset(at(62)).WrittenIn(9)
	if c.State != Closed || c.Trips != 0 || c.Epoch != 9 || c.Until != 0 || c.Owner != "" {
		t.Errorf("after the reset: %+v", c)
	}
}

// randomCircuit is a circuit in any state, with the instants given to within a
// few seconds.
func randomCircuit(r *rand.Rand, now int64) Circuit {
	instant := func() int64 { return max(now-10_000+r.Int64N(20_000), 1) }
	c := Circuit{
		Epoch: 1 + r.Uint64N(9), State: CircuitState(r.IntN(3)), Until: instant(), Leased: r.Int64N(2) * instant(), Since: instant(), Trips: r.IntN(4),
		Owner: "o" + string(rune('a'+r.IntN(3))), Lease: 1 + r.Uint64N(9), Nonce: "n", LastObjection: r.Int64N(2) * instant(),
	}
	if c.State != Closed {
		c.ProbeDueSince, c.FailedBy = r.Int64N(2)*instant(), []string{"", "oa"}[r.IntN(2)]
	}
	for i := range r.IntN(4) {
		since := instant()
		c.Suspicions = append(c.Suspicions, Suspicion{Reporter: string(rune('w' + i)), Since: since, At: since + r.Int64N(3000), Failures: 1 + r.IntN(3)})
	}
	return c
}

// Every transition is an epoch of its own, whatever the circuit was, and what
// instances suspected before it is void.
func FuzzTransitionsAreEpochsOfTheirOwn(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, int64(1_000_000))
	}
	f.Fuzz(func(t *testing.T, seed uint64, now int64) {
		r := rand.New(rand.NewPCG(seed, 2))
		now &= 1<<50 - 1
		c, p := randomCircuit(r, now), policy()
		s := TimeBounds{Earliest: now, Latest: now + r.Int64N(1000)}
		for name, n := range map[string]Circuit{
			"trip": c.trip(s, p, 1), "claim": c.claimProbe("a", s, p), "renew": c.renewLease(s, p), "return": c.returnProbe(s), "close": c.closeForRamp(s),
			"reopen": c.reopen(s, p), "quarantine": c.Quarantine(s, p), "reset": c.Reset(s),
		} {
			n = n.WrittenIn(77)
			if n.Epoch != 77 || n.State == HalfOpen && n.Lease == 0 || n.State != HalfOpen && n.Owner != "" {
				t.Errorf("%s: %+v of %+v", name, n, c)
			}
			if n.Suspicions != nil || n.LastObjection != 0 || n.Nonce != "" {
				t.Errorf("%s kept suspicions, an objection or the nonce of the old epoch: %+v", name, n)
			}
			if again := n.WrittenIn(78); again.Epoch != 77 {
				t.Errorf("%s: written again, it is epoch %d", name, again.Epoch)
			}
		}
	})
}

// A probe of a lease that an objection or an operator ended may be under way until the
// lease is over, however often the circuit opens and closes meanwhile.
func TestNoProbeBeginsBeforeAnUnfinishedLeaseEnds(t *testing.T) {
	p := policy()
	p.ProbeLease, p.TripDuration = 30*time.Second, time.Second
	objection := func(c Circuit, now TimeBounds) Circuit { return c.object(c.Since+1, now) }
	for name, ways := range map[string][]func(Circuit, TimeBounds) Circuit{
		"an objection":               {objection},
		"a reset":                    {Circuit.Reset},
		"two objections":             {objection, objection},
		"a reset after an objection": {objection, Circuit.Reset},
	} {
		c := Circuit{}.trip(at(0), p, 1).claimProbe("a", at(2), p)
		lease := c.Until
		for i, end := range ways {
			now := at(3 + float64(i))
			c = end(c, now).trip(now, p, 1)
		}
		if c.ProbeDue(TimeBounds{lease - 1, lease - 1}) || !c.ProbeDue(TimeBounds{lease, lease}) {
			t.Errorf("%s: a probe is due from %d on, the lease ends at %d", name, c.Until, lease)
		}
		if c = c.claimProbe("b", TimeBounds{lease, lease}, p); c.Leased != 0 {
			t.Errorf("%s: the next lease leaves %d of the former one", name, c.Leased)
		}
	}
}

// A probe that is silent has failed, and its request may still be at the backend.
func TestNoProbeBeginsWhileASilentOneMayBeUnderWay(t *testing.T) {
	p := policy()
	p.TripDuration, p.MaxTripDuration = time.Second, time.Second
	half := Record{Circuit: Circuit{}.trip(at(0), p, 1).claimProbe("a", at(2), p).WrittenIn(7)}
	for result, want := range map[ProbeResult]int64{ProbeFailed: at(4).Latest + 1000, ProbeSilent: half.Circuit.Until} {
		if r, _ := half.Apply(Update{Owner: "a", Lease: 7, Probe: result}, at(4), p, 8); r.Circuit.State != Open || r.Circuit.Until != want {
			t.Errorf("after result %d: %+v, want a probe from %d on", result, r.Circuit, want)
		}
	}
}
