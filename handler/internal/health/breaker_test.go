package health

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// at is an instant known to within 100 ms, t seconds into the story.
func at(t float64) Span {
	ms := int64(1_000_000 + t*1000)
	return Span{Lo: ms - 50, Hi: ms + 50}
}

func policy() BreakerPolicy {
	return BreakerPolicy{Failures: 5, TripDuration: 10 * time.Second, MaxTripDuration: time.Minute, Lease: 4 * time.Second}.WithDefaults()
}

// The life of one circuit, told once from the first failure to full traffic.
func TestACircuitsLife(t *testing.T) {
	p := policy()
	var c Circuit
	if c.Phase != Closed || c.Cooled(at(0)) || c.Share(at(0).Mid(), p) != 0 {
		t.Fatal("a circuit never heard of is not simply closed")
	}
	c = c.Trip(at(0), p)
	if c.Phase != Open || c.Epoch != 1 || c.Incarnation == 0 || c.Trips != 1 {
		t.Fatalf("the first trip: %+v", c)
	}
	if again := c.Trip(at(1), p); !again.Equal(c) {
		t.Errorf("an open circuit tripped again: %+v", again)
	}
	if c.Cooled(at(10)) {
		t.Error("cooled at the deadline by the taker's fast clock")
	}
	if !c.Cooled(at(10.1)) {
		t.Error("not cooled when every clock is past the deadline")
	}
	c = c.Claim("a", at(10.2), p)
	if c.Phase != HalfOpen || c.Owner != "a" || c.Lease != c.Epoch || c.Cooled(at(14)) {
		t.Fatalf("the probe claimed: %+v", c)
	}
	renewed := c.Renew(at(11.6), p)
	if renewed.Epoch != c.Epoch+1 || renewed.Lease != c.Lease || renewed.Until <= c.Until || renewed.Since != c.Since {
		t.Errorf("the lease renewed: %+v", renewed)
	}
	if short := c.Renew(at(9), p).Renew(Span{Lo: at(9).Lo, Hi: at(9).Lo}, p); short.Until < c.Renew(at(9), p).Until {
		t.Errorf("a clock that is known better shortened what was granted: %+v", short)
	}
	c = renewed.Relapse(at(12), p)
	if c.Phase != Open || c.Trips != 2 || c.Cooled(at(31.9)) || !c.Cooled(at(32.2)) {
		t.Errorf("a failed probe must open it for twice as long: %+v", c)
	}
	c = c.Claim("b", at(33), p).Heal(at(34))
	if c.Phase != Closed || c.Trips != 2 {
		t.Fatalf("a probe served: %+v", c)
	}
	for _, step := range []struct {
		at   float64
		want uint8
	}{{34.1, 10}, {38.9, 10}, {39.1, 30}, {43.9, 30}, {44.1, 0}} {
		if got := c.Share(at(step.at).Mid(), p); got != step.want {
			t.Errorf("share at %v s: %d, want %d", step.at, got, step.want)
		}
	}
	if soon := c.Trip(at(50), p); soon.Trips != 3 {
		t.Errorf("a trip soon after the recovery is the third in a row: %+v", soon)
	}
	if late := c.Trip(at(60), p); late.Trips != 1 {
		t.Errorf("a trip long after the recovery is a first one: %+v", late)
	}
}

func TestTripsLastTwiceAsLongEachUpToTheLimit(t *testing.T) {
	p := policy()
	for trip, want := range map[int]time.Duration{0: 10 * time.Second, 1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 4: time.Minute, 1 << 20: time.Minute} {
		if got := p.Lasts(trip); got != want {
			t.Errorf("trip %d lasts %v, want %v", trip, got, want)
		}
	}
}

func TestALeaseThatNoRequestCameForGoesToTheNext(t *testing.T) {
	p := policy()
	c := Circuit{}.Trip(at(0), p).Claim("a", at(10.2), p).GiveBack(at(11))
	if !c.Cooled(at(11)) {
		t.Fatalf("given back, and not to be claimed: %+v", c)
	}
	if c.Lapsed(at(11)) {
		t.Error("one lease came back, and the circuit gave up waiting")
	}
	c = c.Claim("b", at(12), p).GiveBack(at(13))
	if c.Lapsed(at(18)) || !c.Lapsed(at(18.2)) {
		t.Errorf("8 s after it cooled the traffic is too thin to wait for: %+v", c)
	}
	closed := c.Lapse(at(19))
	if closed.Phase != Closed || closed.Share(at(19).Mid(), p) != 10 {
		t.Errorf("a lapsed circuit: %+v, want closed at the first step of the ramp", closed)
	}
	// A lease that ended without a word was used: somebody may be waiting still.
	lost := Circuit{}.Trip(at(0), p).Claim("a", at(10.2), p).Claim("b", at(20), p).GiveBack(at(21))
	if lost.Lapsed(at(21)) {
		t.Errorf("a lost probe was taken for an unused one: %+v", lost)
	}
}

func TestAnUnreadableRecordIsQuarantinedForOneLease(t *testing.T) {
	p := policy()
	c := Circuit{Incarnation: 7, Epoch: 12}.Quarantine(at(0), p)
	if c.Phase != Open || c.Incarnation <= 7 || c.Cooled(at(4)) || !c.Cooled(at(4.2)) {
		t.Errorf("quarantined: %+v", c)
	}
}

func TestAnOperatorsResetOutranksEverything(t *testing.T) {
	p := policy()
	tripped := Circuit{}.Trip(at(0), p).Claim("a", at(11), p)
	reset := tripped.Reset(at(12))
	if got := tripped.Join(reset); got.Phase != Closed || got.Trips != 0 || got.Share(at(12).Mid(), p) != 0 {
		t.Errorf("after the reset: %+v", got)
	}
}

// A lone instance whose own network is broken, and a backend that is broken
// for all, must be told apart.
func TestWhoIsBelievedWhenBackendsAreAccused(t *testing.T) {
	p := policy()
	accuse := func(c Circuit, who string, t float64, n int) Circuit {
		return c.Accuse(Suspect{Who: who, At: at(t).Mid(), Failures: n}, at(t), p)
	}
	lone := accuse(accuse(Circuit{}, "a", 0, 3), "a", 1, 2)
	five := Circuit{}
	for i, who := range []string{"a", "b", "c", "d", "e"} {
		if five.Guilty(at(float64(i)), p) {
			t.Errorf("tripped by %d failures", i)
		}
		five = accuse(five, who, float64(i), 1)
	}
	for name, c := range map[string]struct {
		circuit Circuit
		at      float64
		want    bool
	}{
		"five instances with one failure each":       {five, 4, true},
		"… but not over more than the window":        {five, 10.2, false},
		"one instance with five, at once":            {lone, 1, false},
		"… after the hearing, uncontradicted":        {lone, 1.6, true},
		"… contradicted meanwhile":                   {lone.Contradict(at(.5).Mid()), 9, false},
		"… contradicted before, which says nothing":  {lone.Contradict(at(-.5).Mid()), 1.6, true},
		"one with many and another with one":         {accuse(lone, "b", 1, 1), 1, false},
		"… and another with two, contradicted or no": {accuse(lone, "b", 1, 2).Contradict(at(1).Mid()), 1, true},
		"one with less than a trip's worth":          {accuse(Circuit{}, "a", 0, 4), 9, false},
	} {
		if got := c.circuit.Guilty(at(c.at), p); got != c.want {
			t.Errorf("%s: guilty = %v, want %v", name, got, c.want)
		}
	}
	if first, ok := lone.Uncontradicted(at(2), p); !ok || first != at(0).Mid() {
		t.Errorf("the first accusation to contradict: %d, %v", first, ok)
	}
	if _, ok := lone.Contradict(at(1).Mid()).Uncontradicted(at(2), p); ok {
		t.Error("a contradicted accusation asks for another contradiction")
	}
}

func TestSuspicionsAreBounded(t *testing.T) {
	var c Circuit
	for i := range 3 * MaxSuspects {
		c = c.Accuse(Suspect{Who: "a", At: at(0).Mid() + int64(i), Failures: 1}, at(0), policy())
	}
	if len(c.Suspects) != MaxSuspects || c.Suspects[MaxSuspects-1].At != at(0).Mid()+3*MaxSuspects-1 {
		t.Errorf("%d suspects up to %d, want the latest %d", len(c.Suspects), c.Suspects[len(c.Suspects)-1].At, MaxSuspects)
	}
}

func someCircuit(r *rand.Rand) Circuit {
	c := Circuit{
		Incarnation: r.Uint64N(2), Epoch: r.Uint64N(3), Phase: Phase(r.IntN(3)), Until: r.Int64N(3), Since: r.Int64N(2),
		Trips: r.IntN(2), Ready: r.Int64N(2), Owner: string(rune('a' + r.IntN(2))), Lease: r.Uint64N(2), Nonce: string(rune('m' + r.IntN(2))), Dissent: r.Int64N(3),
	}
	for range r.IntN(4) {
		c.Suspects = append(c.Suspects, Suspect{Who: string(rune('a' + r.IntN(2))), At: r.Int64N(2), Failures: 1 + r.IntN(2)})
	}
	if r.IntN(8) == 0 {
		for i := range MaxSuspects {
			c.Suspects = append(c.Suspects, Suspect{Who: "z", At: r.Int64N(4), Failures: i + 1})
			c.Suspects = append(c.Suspects, Suspect{Who: "y", At: int64(i), Failures: 1})
		}
	}
	c.Suspects = union(c.Suspects, nil)
	return c
}

func FuzzCircuitJoinIsALattice(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b, c := someCircuit(r), someCircuit(r), someCircuit(r)
		if x, y := a.Join(b), b.Join(a); !x.Equal(y) {
			t.Errorf("not commutative: %+v, %+v", x, y)
		}
		if x, y := a.Join(b).Join(c), a.Join(b.Join(c)); !x.Equal(y) {
			t.Errorf("not associative: %+v, %+v", x, y)
		}
		if x := a.Join(a); !x.Equal(a) {
			t.Errorf("not idempotent: %+v, %+v", x, a)
		}
		if x := a.Join(b); a.Supersedes(x) || b.Supersedes(x) {
			t.Errorf("went back: %+v of %+v and %+v", x, a, b)
		}
	})
}

// Every transition is a later epoch, whatever the circuit was.
func FuzzTransitionsMoveOn(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, int64(1_000_000))
	}
	f.Fuzz(func(t *testing.T, seed uint64, now int64) {
		r := rand.New(rand.NewPCG(seed, 2))
		c, p := someCircuit(r), policy()
		now = now & (1<<50 - 1)
		s := Span{Lo: now, Hi: now + r.Int64N(1000)}
		for name, n := range map[string]Circuit{
			"claim": c.Claim("a", s, p), "renew": c.Renew(s, p), "give back": c.GiveBack(s), "heal": c.Heal(s), "relapse": c.Relapse(s, p),
			"quarantine": c.Quarantine(s, p), "reset": c.Reset(s), "lapse": c.Lapse(s),
		} {
			if !n.Supersedes(c) {
				t.Errorf("%s: %+v is not later than %+v", name, n, c)
			}
			if !slices.Equal(n.Suspects, nil) || n.Dissent != 0 {
				t.Errorf("%s carried old suspicions into the new epoch", name)
			}
		}
	})
}
