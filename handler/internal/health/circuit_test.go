package health

import (
	"math/rand/v2"
	"slices"
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

// One circuit from its first trip to full traffic.
func TestCircuitOpensProbesAndRecovers(t *testing.T) {
	p := policy()
	var c Circuit
	if c.State != Closed || c.ProbeDue(at(0)) || c.Share(at(0).Midpoint(), p) != 0 {
		t.Fatal("the zero circuit is not closed")
	}
	c = c.Trip(at(0), p)
	if c.State != Open || c.Epoch != 1 || c.Incarnation == 0 || c.Trips != 1 {
		t.Fatalf("after the first trip: %+v", c)
	}
	if again := c.Trip(at(1), p); !again.Equal(c) {
		t.Errorf("an open circuit tripped again: %+v", again)
	}
	if c.ProbeDue(at(10)) {
		t.Error("a probe is due although the earliest bound is before the deadline")
	}
	if !c.ProbeDue(at(10.1)) {
		t.Error("no probe is due although the earliest bound is past the deadline")
	}
	c = c.ClaimProbe("a", at(10.2), p)
	if c.State != HalfOpen || c.Owner != "a" || c.Lease != c.Epoch || c.ProbeDue(at(14)) {
		t.Fatalf("after the claim: %+v", c)
	}
	renewed := c.RenewLease(at(11.6), p)
	if renewed.Epoch != c.Epoch+1 || renewed.Lease != c.Lease || renewed.Until <= c.Until || renewed.Since != c.Since {
		t.Errorf("after the renewal: %+v", renewed)
	}
	if short := c.RenewLease(at(9), p).RenewLease(TimeBounds{Earliest: at(9).Earliest, Latest: at(9).Earliest}, p); short.Until < c.RenewLease(at(9), p).Until {
		t.Errorf("a renewal under narrower bounds ends earlier than the lease that was granted: %+v", short)
	}
	c = renewed.Reopen(at(12), p)
	if c.State != Open || c.Trips != 2 || c.ProbeDue(at(31.9)) || !c.ProbeDue(at(32.2)) {
		t.Errorf("after a failed probe: %+v, want open for twice as long", c)
	}
	c = c.ClaimProbe("b", at(33), p).CloseAfterProbe(at(34))
	if c.State != Closed || c.Trips != 2 {
		t.Fatalf("after a served probe: %+v", c)
	}
	for _, step := range []struct {
		at   float64
		want uint8
	}{{34.1, 10}, {38.9, 10}, {39.1, 30}, {43.9, 30}, {44.1, 0}} {
		if got := c.Share(at(step.at).Midpoint(), p); got != step.want {
			t.Errorf("share at %v s: %d, want %d", step.at, got, step.want)
		}
	}
	if soon := c.Trip(at(50), p); soon.Trips != 3 {
		t.Errorf("a trip soon after the recovery: %+v, want the third in a row", soon)
	}
	if late := c.Trip(at(60), p); late.Trips != 1 {
		t.Errorf("a trip long after the recovery: %+v, want a first one", late)
	}
}

func TestConsecutiveTripsDoubleUpToTheMaximum(t *testing.T) {
	p := policy()
	for trip, want := range map[int]time.Duration{0: 10 * time.Second, 1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 4: time.Minute, 1 << 20: time.Minute} {
		if got := p.OpenDuration(trip); got != want {
			t.Errorf("trip %d lasts %v, want %v", trip, got, want)
		}
	}
}

func TestReturnedProbeMayBeClaimedAtOnce(t *testing.T) {
	p := policy()
	c := Circuit{}.Trip(at(0), p).ClaimProbe("a", at(10.2), p).ReturnProbe(at(11))
	if !c.ProbeDue(at(11)) {
		t.Fatalf("after the return no probe is due: %+v", c)
	}
	if c.ProbeStarved(at(11)) {
		t.Error("unprobed too long after one returned lease")
	}
	c = c.ClaimProbe("b", at(12), p).ReturnProbe(at(13))
	if c.ProbeStarved(at(18)) || !c.ProbeStarved(at(18.2)) {
		t.Errorf("unprobed for 8 s: %+v, want too long exactly then", c)
	}
	closed := c.CloseWithoutProbe(at(19))
	if closed.State != Closed || closed.Share(at(19).Midpoint(), p) != 10 {
		t.Errorf("closed without a probe: %+v, want the first step of the ramp", closed)
	}
	// A lease that ended without a result was used: its request may still be waiting.
	lost := Circuit{}.Trip(at(0), p).ClaimProbe("a", at(10.2), p).ClaimProbe("b", at(20), p).ReturnProbe(at(21))
	if lost.ProbeStarved(at(21)) {
		t.Errorf("a lost probe counts as unused: %+v", lost)
	}
}

func TestUnreadableRecordIsQuarantinedForOneLease(t *testing.T) {
	p := policy()
	c := Circuit{Incarnation: 7, Epoch: 12}.Quarantine(at(0), p)
	if c.State != Open || c.Incarnation <= 7 || c.ProbeDue(at(4)) || !c.ProbeDue(at(4.2)) {
		t.Errorf("quarantined: %+v", c)
	}
}

func TestResetSupersedesTheTrip(t *testing.T) {
	p := policy()
	tripped := Circuit{}.Trip(at(0), p).ClaimProbe("a", at(11), p)
	reset := tripped.Reset(at(12))
	if got := tripped.Merge(reset); got.State != Closed || got.Trips != 0 || got.Share(at(12).Midpoint(), p) != 0 {
		t.Errorf("after the reset: %+v", got)
	}
}

// An instance whose own network is broken must be distinguished from a backend
// that is broken for all.
func TestOneReporterCountsForHalfATripUntilUnopposed(t *testing.T) {
	p := policy()
	report := func(c Circuit, reporter string, t float64, n int) Circuit {
		return c.AddReport(FailureReport{Reporter: reporter, At: at(t).Midpoint(), Failures: n}, at(t), p)
	}
	single := report(report(Circuit{}, "a", 0, 3), "a", 1, 2)
	five := Circuit{}
	for i, reporter := range []string{"a", "b", "c", "d", "e"} {
		if five.ShouldTrip(at(float64(i)), p) {
			t.Errorf("tripped after %d failures", i)
		}
		five = report(five, reporter, float64(i), 1)
	}
	for name, c := range map[string]struct {
		circuit Circuit
		at      float64
		want    bool
	}{
		"five instances with one failure each":         {five, 4, true},
		"… but not over more than the window":          {five, 10.2, false},
		"one instance with five, at once":              {single, 1, false},
		"… after the objection period, unopposed":      {single, 1.6, true},
		"… with a later objection":                     {single.Object(at(.5).Midpoint()), 9, false},
		"… with an earlier objection, which is void":   {single.Object(at(-.5).Midpoint()), 1.6, true},
		"one with five and another with one":           {report(single, "b", 1, 1), 1, false},
		"… and another with two, despite an objection": {report(single, "b", 1, 2).Object(at(1).Midpoint()), 1, true},
		"one with four of five":                        {report(Circuit{}, "a", 0, 4), 9, false},
	} {
		if got := c.circuit.ShouldTrip(at(c.at), p); got != c.want {
			t.Errorf("%s: trips = %v, want %v", name, got, c.want)
		}
	}
	if first, ok := single.FirstUnopposedReport(at(2), p); !ok || first != at(0).Midpoint() {
		t.Errorf("first unopposed report: %d, %v", first, ok)
	}
	if _, ok := single.Object(at(1).Midpoint()).FirstUnopposedReport(at(2), p); ok {
		t.Error("a report with an objection still counts as unopposed")
	}
}

func TestReportsAreBounded(t *testing.T) {
	var c Circuit
	for i := range 3 * MaxReports {
		c = c.AddReport(FailureReport{Reporter: "a", At: at(0).Midpoint() + int64(i), Failures: 1}, at(0), policy())
	}
	if len(c.Reports) != MaxReports || c.Reports[MaxReports-1].At != at(0).Midpoint()+3*MaxReports-1 {
		t.Errorf("%d reports up to %d, want the latest %d", len(c.Reports), c.Reports[len(c.Reports)-1].At, MaxReports)
	}
}

func randomCircuit(r *rand.Rand) Circuit {
	c := Circuit{
		Incarnation: r.Uint64N(2), Epoch: r.Uint64N(3), State: CircuitState(r.IntN(3)), Until: r.Int64N(3), Since: r.Int64N(2),
		Trips: r.IntN(2), ProbeDueSince: r.Int64N(2), Owner: string(rune('a' + r.IntN(2))), Lease: r.Uint64N(2), Nonce: string(rune('m' + r.IntN(2))), LastObjection: r.Int64N(3),
	}
	for range r.IntN(4) {
		c.Reports = append(c.Reports, FailureReport{Reporter: string(rune('a' + r.IntN(2))), At: r.Int64N(2), Failures: 1 + r.IntN(2)})
	}
	if r.IntN(8) == 0 {
		for i := range MaxReports {
			c.Reports = append(c.Reports, FailureReport{Reporter: "z", At: r.Int64N(4), Failures: i + 1})
			c.Reports = append(c.Reports, FailureReport{Reporter: "y", At: int64(i), Failures: 1})
		}
	}
	c.Reports = mergeReports(c.Reports, nil)
	return c
}

func FuzzCircuitMergeLaws(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b, c := randomCircuit(r), randomCircuit(r), randomCircuit(r)
		if x, y := a.Merge(b), b.Merge(a); !x.Equal(y) {
			t.Errorf("not commutative: %+v, %+v", x, y)
		}
		if x, y := a.Merge(b).Merge(c), a.Merge(b.Merge(c)); !x.Equal(y) {
			t.Errorf("not associative: %+v, %+v", x, y)
		}
		if x := a.Merge(a); !x.Equal(a) {
			t.Errorf("not idempotent: %+v, %+v", x, a)
		}
		if x := a.Merge(b); a.Supersedes(x) || b.Supersedes(x) {
			t.Errorf("merged into an older epoch: %+v of %+v and %+v", x, a, b)
		}
	})
}

// Every transition is a later epoch, whatever the circuit was.
func FuzzTransitionsAreLaterEpochs(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, int64(1_000_000))
	}
	f.Fuzz(func(t *testing.T, seed uint64, now int64) {
		r := rand.New(rand.NewPCG(seed, 2))
		c, p := randomCircuit(r), policy()
		now = now & (1<<50 - 1)
		s := TimeBounds{Earliest: now, Latest: now + r.Int64N(1000)}
		for name, n := range map[string]Circuit{
			"claim": c.ClaimProbe("a", s, p), "renew": c.RenewLease(s, p), "return": c.ReturnProbe(s), "close after probe": c.CloseAfterProbe(s), "reopen": c.Reopen(s, p),
			"quarantine": c.Quarantine(s, p), "reset": c.Reset(s), "close unprobed": c.CloseWithoutProbe(s),
		} {
			if !n.Supersedes(c) {
				t.Errorf("%s: %+v is not later than %+v", name, n, c)
			}
			if !slices.Equal(n.Reports, nil) || n.LastObjection != 0 {
				t.Errorf("%s kept reports of the old epoch", name)
			}
		}
	})
}
