package health

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// suspecting is a circuit with these suspicions, each written at its newest failure.
func suspecting(suspicions ...Suspicion) (c Circuit) {
	for _, s := range suspicions {
		c = c.suspect(s, TimeBounds{s.At, s.At})
	}
	return c
}

func suspicion(reporter string, since, newest float64, n int) Suspicion {
	return Suspicion{Reporter: reporter, Since: at(since).Midpoint(), At: at(newest).Midpoint(), Failures: n}
}

func TestSuspicionsAddUpAfterTheGrace(t *testing.T) {
	p := policy()
	const grace = 1000
	two := suspecting(suspicion("a", 0, 0, 3), suspicion("b", .5, .5, 2))
	for name, c := range map[string]struct {
		circuit Circuit
		at      float64
		want    bool
	}{
		"no suspicion at all":                      {Circuit{}, 9, false},
		"four of five failures":                    {suspecting(suspicion("a", 0, 0, 2), suspicion("b", 0, 0, 2)), 5, false},
		"five, before the grace is over":           {two, 1.04, false},
		"five, when the earliest bound passes it":  {two, 1.05, true},
		"five, and the first is about to expire":   {two, 600.04, true},
		"five, and the first has expired":          {two, 600.05, false},
		"five by one instance alone":               {suspecting(suspicion("a", 0, 0, 5)), 2, true},
		"five, and an objection to the first":      {two.object(at(.2).Midpoint(), at(.3)), 5, false},
		"five, and an objection that came before":  {Circuit{LastObjection: at(-1).Midpoint(), Suspicions: two.Suspicions}, 5, true},
		"an instance's later suspicion is counted": {suspecting(suspicion("a", 0, 0, 2), suspicion("a", 0, 3, 5)), 4, true},
		"an instance's former one is not":          {suspecting(suspicion("a", 0, 0, 3), suspicion("a", 0, 3, 4)), 4, false},
	} {
		if got := c.circuit.openedBySum(at(c.at), p, grace); got != c.want {
			t.Errorf("%s: opens = %v, want %v", name, got, c.want)
		}
	}
}

func TestObjectionVoidsWhatCameBefore(t *testing.T) {
	p := policy()
	c := suspecting(suspicion("a", 0, 2, 3), suspicion("b", 1, 1, 1))
	if got := c.SuspectedSince(at(2)); got != at(0).Midpoint() {
		t.Errorf("suspected since %d, want the first failure of the first suspicion", got)
	}
	c = c.object(at(.5).Midpoint(), at(2))
	if len(c.Suspicions) != 1 || c.Suspicions[0].Reporter != "b" || c.SuspectedSince(at(2)) != at(1).Midpoint() {
		t.Errorf("after an objection to the first: %+v", c)
	}
	c = c.object(at(1).Midpoint(), at(2))
	if c.Suspicions != nil || c.SuspectedSince(at(2)) != 0 || c.LastObjection != at(1).Midpoint() {
		t.Errorf("after an objection to both: %+v", c)
	}
	if older := c.object(at(.7).Midpoint(), at(3)); older.LastObjection != c.LastObjection {
		t.Errorf("an older objection replaced a later one: %+v", older)
	}
	for _, open := range []Circuit{Circuit{}.trip(at(0), p, 3), Circuit{}.trip(at(0), p, 3).claimProbe("a", at(50), p)} {
		if got := open.SuspectedSince(at(51)); got != open.Since {
			t.Errorf("%v since %d, an objection is new from %d on", open.State, open.Since, got)
		}
		closed := open.object(open.Since+1, at(51)).WrittenIn(8)
		if closed.State != Closed || closed.Trips != 0 || closed.LastObjection != open.Since+1 || closed.Epoch != 8 || closed.Owner != "" {
			t.Errorf("after an objection to an opening: %+v", closed)
		}
	}
}

func TestSuspicionsAreBounded(t *testing.T) {
	var c Circuit
	for i := range 3 * MaxSuspicions {
		c = c.suspect(Suspicion{Reporter: string(rune('A' + i)), Since: at(0).Midpoint(), At: at(0).Midpoint() + int64(i), Failures: 1}, at(0))
	}
	if len(c.Suspicions) != MaxSuspicions || c.Suspicions[MaxSuspicions-1].At != at(0).Midpoint()+3*MaxSuspicions-1 {
		t.Errorf("%d suspicions up to %d, want the latest %d", len(c.Suspicions), c.Suspicions[len(c.Suspicions)-1].At, MaxSuspicions)
	}
}

// Neither a suspicion nor an objection writes into the list of another state of
// the circuit, which other goroutines may read.
func FuzzSuspicionsAreNotShared(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		c := randomCircuit(r, 1_000_000)
		before := slices.Clone(c.Suspicions)
		c.suspect(Suspicion{Reporter: "w", Since: r.Int64N(2_000_000), At: r.Int64N(2_000_000), Failures: 1}, at(0))
		c.object(r.Int64N(2_000_000), at(0))
		if !slices.Equal(c.Suspicions, before) {
			t.Errorf("%+v became %+v", before, c.Suspicions)
		}
	})
}

func TestGraceBeginsWhenTheSuspicionIsWritten(t *testing.T) {
	p := policy()
	r, _ := Record{}.Apply(Update{Suspicion: suspicion("a", 0, 8, 3), Grace: 1000}, at(8.1), p, 1)
	r, _ = r.Apply(Update{Suspicion: suspicion("b", 1, 8.1, 2), Grace: 1000}, at(8.2), p, 2)
	if r.Circuit.State != Closed {
		t.Errorf("opened a tenth of a second after the first suspicion was written: %+v", r.Circuit)
	}
}

// Where answers take long, an objection speaks for the time before the attempt that
// was served: what came after that must wait for its own.
func TestGraceBeginsAnewForWhatAnObjectionLeaves(t *testing.T) {
	p := policy()
	left := suspecting(suspicion("a", 0, 0, 3), suspicion("b", 3, 3, 5)).object(at(2).Midpoint(), at(4))
	if left.openedBySum(at(6.9), p, 4000) || !left.openedBySum(at(7.1), p, 4000) {
		t.Errorf("does not open four seconds after the first suspicion that is left: %+v", left)
	}
}
