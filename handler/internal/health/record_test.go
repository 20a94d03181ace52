package health

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// randomRecord is a record that a version of this program may write.
func randomRecord(r *rand.Rand) Record {
	rec := Record{
		Circuit:    randomCircuit(r, 1_000_000),
		Saturation: Saturation{At: r.Int64N(4), Level: SaturationLevel(r.IntN(3))},
		Override:   OperatorOverride{Drained: r.IntN(2) == 0, Operator: "ops \"x\" <ü>", At: r.Int64N(3)},
		ResetAt:    r.Int64N(3),
		LastChange: Change{At: r.Int64N(3), By: "i", Reason: "429 tokens", Evidence: "5 of 7"},
		Schema:     Schema,
	}
	for k := range rec.Windows.ByKind {
		if r.IntN(2) == 0 {
			rec.Windows.ByKind[k] = ThrottleWindow{Until: r.Int64N(1 << 45), MaxTokens: r.Int64N(9)}
		}
	}
	return rec
}

func FuzzEncodeDecodeRoundTrip(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := randomRecord(rand.New(rand.NewPCG(seed, 1)))
		got, err := Decode(r.Encode())
		if err != nil || !got.Equal(r) {
			t.Errorf("%+v decodes to %+v, %v (column %s)", r, got, err, r.Encode())
		}
	})
}

// Whatever is in a column: no panic, and what decodes is stable.
func FuzzColumnDecodesOrIsUnreadable(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomRecord(rand.New(rand.NewPCG(seed, 1))).Encode())
	}
	for _, column := range unreadable() {
		f.Add(column)
	}
	f.Add(`{"v":3,"e":1,"p":1,"u":5,"new":{"a":[1,2]},"b":"x"}`)
	f.Add(`{"v":3,"new":"` + strings.Repeat("x", 500) + `"}`)
	f.Fuzz(func(t *testing.T, column string) {
		r, err := Decode(column)
		if err != nil {
			if !errors.Is(err, ErrUnreadable) {
				t.Errorf("error %v, want ErrUnreadable", err)
			}
			return
		}
		again, err := Decode(r.Encode())
		r.Schema = max(r.Schema, Schema) // this version writes it back as its own
		if err != nil || !again.Equal(r) {
			t.Errorf("%q decodes to %+v, encodes to %q and decodes to %+v, %v", column, r, r.Encode(), again, err)
		}
	})
}

// unreadable are columns that no version writes.
func unreadable() []string {
	return []string{
		"", "null", "0", "[]", `{"v":2,"e":`, `{}`, `{"v":0}`, `{"v":-1}`, `{"v":2`, `{"v":"2"}`,
		`{"v":2,"e":-7}`, `{"v":2,"p":3,"e":1}`, `{"v":2,"p":"open"}`, `{"v":2,"e":9000000000000000000}`, `{"v":2,"e":1,"p":2,"lo":"a","le":9e17}`,
		`{"v":2,"u":-1}`, `{"v":2,"u":9e18}`, `{"v":2,"s":-1}`, `{"v":2,"d":-1}`, `{"v":2,"ra":-1}`, `{"v":2,"at":9007199254740993}`, `{"v":2,"m":-1}`, `{"v":2,"r":-1}`,
		`{"v":2,"n":-2}`, `{"v":2,"n":1048577}`, `{"v":2,"ml":7}`, `{"v":2,"ml":300}`,
		`{"v":2,"p":2,"e":1}`, `{"v":2,"p":1}`, `{"v":2,"p":2,"lo":"a"}`,
		`{"v":2,"lo":"` + strings.Repeat("x", 1<<20) + `"}`, `{"v":2,"fb":"` + strings.Repeat("x", 257) + `"}`, `{"v":2,"y":"` + strings.Repeat("x", 257) + `"}`,
		`{"v":2,"su":[{"w":"a","s":1,"t":1,"n":0}]}`, `{"v":2,"su":[{"w":"a","s":-1,"t":1,"n":1}]}`, `{"v":2,"su":[{"w":"a","s":1,"t":1,"n":1048577}]}`,
		`{"v":2,"su":[` + strings.Repeat(`{"w":"a","s":1,"t":1,"n":1},`, MaxSuspicions) + `{"w":"a","s":1,"t":1,"n":1}]}`,
		`{"v":2,"t":[{"k":9,"u":1}]}`, `{"v":2,"t":[{"k":1,"u":-1}]}`, `{"v":2,"t":[{"k":1,"u":1,"r":-1}]}`,
		`{"v":2,"t":[{"u":1},{"u":1},{"u":1},{"u":1},{"u":1},{"u":1}]}`, `{"v":2,"w":{"t":-1}}`, `{"v":2,"w":{"w":"` + strings.Repeat("x", 257) + `"}}`,
	}
}

func TestDecodeRefusesUnreadableColumns(t *testing.T) {
	for _, column := range unreadable() {
		if r, err := Decode(column); !errors.Is(err, ErrUnreadable) || r.Newer() {
			t.Errorf("%.60q: %v, newer %v; want ErrUnreadable of our own version", column, err, r.Newer())
		}
	}
}

func TestNewerRecordIsReadAsFarAsUnderstood(t *testing.T) {
	r, err := Decode(`{"v":3,"e":2,"p":1,"u":77,"zone":{"a":[1,2]},"speed":9.5}`)
	if err != nil || r.Circuit.State != Open || r.Circuit.Until != 77 {
		t.Fatalf("decoded to %+v, %v", r, err)
	}
	r.Circuit = r.Circuit.closeForRamp(TimeBounds{Earliest: 100, Latest: 101}).WrittenIn(3)
	column := r.Encode()
	if !strings.Contains(column, `"zone":{"a":[1,2]}`) || !strings.Contains(column, `"speed":9.5`) || !strings.Contains(column, `"v":3`) {
		t.Errorf("written back as %s without the newer version's fields", column)
	}
	if again, err := Decode(column); err != nil || !again.Equal(r) {
		t.Errorf("written back it decodes to %+v, %v", again, err)
	}
	if r, err := Decode(`{"v":3,"p":"half-closed"}`); !errors.Is(err, ErrUnreadable) || !r.Newer() {
		t.Errorf("an unreadable newer record: %v, newer %v; want ErrUnreadable and newer", err, r.Newer())
	}
}

// A record of the first edition is read, with what it counted left out: nothing of
// it opens or closes a circuit.
func TestFirstSchemaIsRead(t *testing.T) {
	r, err := Decode(`{"v":1,"i":4,"e":9,"p":1,"u":77,"s":70,"n":2,"su":[{"w":"a","t":60,"n":4}],"t":[{"k":1,"u":90,"r":5}],"w":{"q":3,"d":true,"w":"ada","t":5}}`)
	if err != nil || r.Circuit.State != Open || r.Circuit.Until != 77 || !r.Override.Drained || r.Windows.ByKind[LimitTokens] != (ThrottleWindow{90, 5}) {
		t.Fatalf("decoded to %+v, %v", r, err)
	}
	if sum, _ := r.Circuit.current(TimeBounds{61, 61}); sum != 0 {
		t.Errorf("its reports count as suspicions of %d failures", sum)
	}
}

// randomUpdate is what an instance may add to a record like it.
func randomUpdate(r *rand.Rand, about Record) Update {
	u := Update{Owner: "oa", Lease: about.Circuit.Lease, Open: r.IntN(4) == 0, Trips: r.IntN(3), Grace: r.Int64N(2000)}
	u.Windows = u.Windows.Add(LimitKind(r.IntN(5)), ThrottleWindow{Until: 40_000 + r.Int64N(1<<40), MaxTokens: r.Int64N(5)})
	u.Saturation = Saturation{At: r.Int64N(20_000), Level: SaturationLevel(r.IntN(3))}
	if n := r.IntN(4); n > 0 {
		since := 15_000 + r.Int64N(4000)
		u.Suspicion = Suspicion{Reporter: "w", Since: since, At: since + r.Int64N(1000), Failures: n}
	}
	u.ClaimProbe, u.Probe, u.ServedFrom = r.IntN(2) == 0, ProbeResult(r.IntN(5)), r.Int64N(2)*r.Int64N(20_000)
	return u
}

// An update makes one transition of the circuit at most, and applied again it adds
// nothing that the record has: waits and suspicions are in it once, a probe's
// result closes or opens one lease, and an opening opens a closed circuit only.
func FuzzUpdateAppliesOnce(f *testing.F) {
	for seed := range uint64(500) {
		f.Add(seed)
	}
	p := BreakerPolicy{Failures: 3, TripDuration: time.Second}.WithDefaults()
	now := TimeBounds{Earliest: 20_000, Latest: 20_100}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		before := randomRecord(r)
		before.Circuit = randomCircuit(r, 20_000)
		u := randomUpdate(r, before)
		once, changed := before.Apply(u, now, p, 50)
		if changed == once.Equal(before) {
			t.Errorf("changed = %v from %+v to %+v", changed, before, once)
		}
		if e := once.Circuit.Epoch; e != before.Circuit.Epoch && e != 50 {
			t.Errorf("written in revision 50 the circuit has epoch %d, before %d", e, before.Circuit.Epoch)
		}
		if once.Circuit.Epoch == before.Circuit.Epoch && once.Circuit.State != before.Circuit.State {
			t.Errorf("from %+v to %+v within one epoch", before.Circuit, once.Circuit)
		}
		again, _ := once.Apply(u, now, p, 51)
		if once.Windows != again.Windows || once.Saturation != again.Saturation {
			t.Errorf("the same waits twice: %+v, then %+v", once, again)
		}
		checkSecondTransition(t, u, once.Circuit, again.Circuit)
	})
}

// checkSecondTransition checks what the same update did the second time.
func checkSecondTransition(t *testing.T, u Update, once, again Circuit) {
	t.Helper()
	if again.Equal(once) {
		return
	}
	switch {
	case again.Epoch == once.Epoch && once.State == Closed && (len(again.Suspicions) > 0 || again.LastObjection > once.LastObjection):
		// After a transition there is a suspicion or an objection to add besides.
	case again.Epoch == once.Epoch:
		t.Errorf("the same update twice: %+v, then %+v", once, again)
	case once.State == HalfOpen && u.Probe == NoProbeResult && u.ServedFrom <= once.Since:
		t.Errorf("the same update ended a probe that it had claimed: %+v, then %+v", once, again)
	case again.State == Open && once.State == Closed && !u.Open && u.Suspicion.Failures == 0:
		t.Errorf("the same update opened a circuit without evidence: %+v, then %+v", once, again)
	}
}

func TestUpdatesOfACircuit(t *testing.T) {
	p := policy()
	open := Circuit{}.trip(at(0), p, 1).WrittenIn(3)
	halfOpen := open.claimProbe("you", at(11), p).WrittenIn(4)
	doubted := suspecting(suspicion("a", 1, 1, 4))
	for name, c := range map[string]struct {
		circuit Circuit
		update  Update
		at      float64
		want    CircuitState
		changed bool
	}{
		"an opening of a closed circuit":                 {Circuit{}, Update{Open: true, Trips: 2}, 1, Open, true},
		"an opening of an open one":                      {open, Update{Open: true, Trips: 2}, 1, Open, false},
		"an opening of a half-open one":                  {halfOpen, Update{Open: true}, 12, HalfOpen, false},
		"a suspicion, too thin":                          {Circuit{}, Update{Suspicion: suspicion("b", 1, 1, 4)}, 9, Closed, true},
		"a suspicion that completes the sum":             {doubted, Update{Suspicion: suspicion("b", 2, 2, 1), Grace: 1000}, 3, Open, true},
		"… within the grace":                             {doubted, Update{Suspicion: suspicion("b", 1.5, 1.5, 1), Grace: 1000}, 1.6, Closed, true},
		"a known suspicion again":                        {doubted, Update{Suspicion: suspicion("a", 1, 1, 4)}, 3, Closed, false},
		"a suspicion of an open circuit":                 {open, Update{Suspicion: suspicion("b", 1, 1, 4)}, 2, Open, false},
		"no suspicion, though the sum is complete":       {suspecting(suspicion("a", 1, 1, 9)), Update{Grace: 1000}, 5, Closed, false},
		"an objection to nothing":                        {Circuit{}, Update{ServedFrom: at(1).Midpoint()}, 2, Closed, false},
		"an objection to a suspicion":                    {doubted, Update{ServedFrom: at(1.001).Midpoint()}, 2, Closed, true},
		"… that came before it":                          {doubted, Update{ServedFrom: at(1).Midpoint()}, 2, Closed, false},
		"an objection to an opening":                     {open, Update{ServedFrom: at(.001).Midpoint()}, 2, Closed, true},
		"… by an attempt that began before":              {open, Update{ServedFrom: at(0).Midpoint()}, 2, Open, false},
		"an objection while a probe is under way":        {halfOpen, Update{ServedFrom: at(11.001).Midpoint()}, 12, Closed, true},
		"a claim of a due probe":                         {open, Update{ClaimProbe: true, Owner: "me"}, 10.1, HalfOpen, true},
		"a claim of one that is not due":                 {open, Update{ClaimProbe: true, Owner: "me"}, 10, Open, false},
		"a claim of a closed circuit":                    {Circuit{}, Update{ClaimProbe: true, Owner: "me"}, 99, Closed, false},
		"a claim of an expired lease":                    {halfOpen, Update{ClaimProbe: true, Owner: "me"}, 15.2, HalfOpen, true},
		"a claim of a lease that holds":                  {halfOpen, Update{ClaimProbe: true, Owner: "me"}, 14, HalfOpen, false},
		"a result of nobody's probe":                     {open, Update{Probe: ProbeServed, Owner: "you", Lease: 4}, 12, Open, false},
		"an unreadable record":                           {open, Update{Unreadable: true}, 5, Open, true},
		"an unreadable record, with an objection to it":  {open, Update{Unreadable: true, ServedFrom: at(1).Midpoint()}, 5, Open, true},
		"a suspicion from before the last objection":     {Circuit{LastObjection: at(2).Midpoint()}, Update{Suspicion: suspicion("b", 1, 3, 4)}, 3, Closed, false},
		"a served attempt that was void by a later trip": {open, Update{ServedFrom: at(-1).Midpoint()}, 5, Open, false},
	} {
		got, changed := Record{Circuit: c.circuit}.Apply(c.update, at(c.at), p, 9)
		if got.Circuit.State != c.want || changed != c.changed {
			t.Errorf("%s: %+v, changed %v; want %v, %v", name, got.Circuit, changed, c.want, c.changed)
		}
		if changed && got.Circuit.State != c.circuit.State && got.Circuit.Epoch != 9 {
			t.Errorf("%s: epoch %d, want the row's revision", name, got.Circuit.Epoch)
		}
	}
}

// A level that expired is not written again when its record has gone.
func TestExpiredSaturationAddsNothing(t *testing.T) {
	u := Update{Saturation: Saturation{At: at(0).Midpoint(), Level: NearLimit}}
	if r, changed := (Record{}).Apply(u, at(4.9), policy(), 1); !changed || r.Saturation != u.Saturation {
		t.Errorf("a level of five seconds ago: %+v, changed %v", r, changed)
	}
	if r, changed := (Record{}).Apply(u, at(5), policy(), 1); changed {
		t.Errorf("an expired level: %+v", r)
	}
}

func TestThrottleIsNeverAFailure(t *testing.T) {
	p := BreakerPolicy{Failures: 1}.WithDefaults()
	now := TimeBounds{Earliest: 1000, Latest: 1100}
	var r Record
	for i := range 100 {
		r, _ = r.Apply(Update{Windows: ThrottleWindows{}.Add(LimitProvisioned, ThrottleWindow{Until: 2000 + int64(i)})}, now, p, uint64(i+1))
	}
	if !r.Circuit.Equal(Circuit{}) {
		t.Errorf("a hundred 429s: %+v, want the circuit untouched", r.Circuit)
	}
	failed, _ := Record{}.Apply(Update{Open: true, Trips: 1}, now, p, 1)
	if failed.Circuit.State != Open || failed.Windows != (ThrottleWindows{}) {
		t.Errorf("an opening: %+v, want open and no throttle", failed)
	}
}

func TestProbeResultCountsOnlyForItsLease(t *testing.T) {
	p := BreakerPolicy{}.WithDefaults()
	now := TimeBounds{Earliest: 100_000, Latest: 100_100}
	held := Record{Circuit: Circuit{Epoch: 3, State: Open, Trips: 1}.claimProbe("me", now, p).WrittenIn(4)}
	ok := Update{Owner: "me", Probe: ProbeServed, Lease: held.Circuit.Lease}
	if r, _ := held.Apply(ok, now, p, 5); r.Circuit.State != Closed || r.Circuit.Trips != 1 {
		t.Errorf("after the holder's probe was served: %+v", r.Circuit)
	}
	renewed := Record{Circuit: held.Circuit.renewLease(now, p).WrittenIn(5)}
	if r, _ := renewed.Apply(ok, now, p, 6); r.Circuit.State != Closed {
		t.Errorf("after it was served under a renewed lease: %+v", r.Circuit)
	}
	for result, want := range map[ProbeResult]CircuitState{ProbeFailed: Open, ProbeReturned: Open, ProbeRunning: HalfOpen} {
		u := ok
		u.Probe = result
		r, changed := held.Apply(u, now, p, 5)
		if r.Circuit.State != want || !changed || (r.Circuit.Trips == 2) != (result == ProbeFailed) || (r.Circuit.FailedBy == "me") != (result == ProbeFailed) {
			t.Errorf("result %d: %+v, changed %v", result, r.Circuit, changed)
		}
	}
	for name, change := range map[string]func(*Update){
		"another owner": func(u *Update) { u.Owner = "you" },
		"another lease": func(u *Update) { u.Lease-- },
	} {
		u := ok
		change(&u)
		if r, changed := held.Apply(u, now, p, 5); changed {
			t.Errorf("%s: the circuit became %+v", name, r.Circuit)
		}
	}
}

// A record that says nothing is no longer needed once all have seen it; one that
// nobody writes any more goes later, whatever its circuit.
func TestRecordIsSpentOrAbandoned(t *testing.T) {
	changed := Change{At: at(0).Midpoint()}
	for name, c := range map[string]struct {
		record           Record
		at               float64
		spent, abandoned bool
	}{
		"closed, just changed":             {Record{LastChange: changed}, .5, false, false},
		"closed, before all have seen it":  {Record{LastChange: changed}, 1.04, false, false},
		"closed, seen by all":              {Record{LastChange: changed}, 1.05, true, false},
		"closed, for half a minute":        {Record{LastChange: changed}, 30.05, true, true},
		"closed after a ramp":              {Record{Circuit: Circuit{Epoch: 3, Trips: 2}, LastChange: changed}, 2, true, false},
		"open":                             {Record{Circuit: Circuit{Epoch: 3, State: Open}, LastChange: changed}, 29, false, false},
		"open, and nobody came":            {Record{Circuit: Circuit{Epoch: 3, State: Open, Until: at(100).Midpoint()}, LastChange: changed}, 129, false, false},
		"open, and nobody came for long":   {Record{Circuit: Circuit{Epoch: 3, State: Open, Until: at(100).Midpoint()}, LastChange: changed}, 131, false, true},
		"throttled":                        {Record{Windows: ThrottleWindows{}.Add(LimitTokens, ThrottleWindow{Until: at(700).Midpoint()}), LastChange: changed}, 650, false, false},
		"throttled until a moment ago":     {Record{Windows: ThrottleWindows{}.Add(LimitTokens, ThrottleWindow{Until: at(60).Midpoint()}), LastChange: changed}, 60.05, true, true},
		"nearly full":                      {Record{Saturation: Saturation{At: at(0).Midpoint(), Level: NearLimit}, LastChange: changed}, 5.04, false, false},
		"nearly full, expired":             {Record{Saturation: Saturation{At: at(0).Midpoint(), Level: NearLimit}, LastChange: changed}, 5.05, true, false},
		"drained":                          {Record{Override: OperatorOverride{Drained: true}, LastChange: changed}, 900, false, false},
		"restored":                         {Record{Override: OperatorOverride{Operator: "ada", At: 5}, LastChange: changed}, 2, true, false},
		"suspected":                        {Record{Circuit: suspecting(suspicion("a", 0, 0, 1)), LastChange: changed}, 600.04, false, true},
		"suspected, expired":               {Record{Circuit: suspecting(suspicion("a", 0, 0, 1)), LastChange: changed}, 600.05, true, true},
		"suspected, void by an objection":  {Record{Circuit: Circuit{LastObjection: at(0).Midpoint(), Suspicions: []Suspicion{suspicion("a", 0, 0, 1)}}, LastChange: changed}, 2, true, false},
		"reset":                            {Record{ResetAt: at(0).Midpoint(), LastChange: changed}, 2, true, false},
		"of a newer version":               {Record{Schema: Schema + 1, LastChange: changed}, 900, false, false},
		"never written":                    {Record{}, 0, true, true},
		"open in the first version's time": {Record{Schema: 1, Circuit: Circuit{Epoch: 1, State: Open}, LastChange: changed}, 700, false, true},
	} {
		if got := c.record.Spent(at(c.at), time.Second); got != c.spent {
			t.Errorf("%s: spent = %v, want %v", name, got, c.spent)
		}
		if got := c.record.Abandoned(at(c.at)); got != c.abandoned {
			t.Errorf("%s: abandoned = %v, want %v", name, got, c.abandoned)
		}
	}
}
