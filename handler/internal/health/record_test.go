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
		Circuit: Circuit{
			Incarnation: 1 + r.Uint64N(3), Epoch: r.Uint64N(4), State: CircuitState(r.IntN(3)), Until: r.Int64N(1 << 45), Since: r.Int64N(1 << 45),
			Trips: r.IntN(9), ProbeDueSince: r.Int64N(3), Owner: "o" + string(rune('a'+r.IntN(3))), Lease: r.Uint64N(3), Nonce: "n", LastObjection: r.Int64N(4),
		},
		Saturation: Saturation{At: r.Int64N(4), Level: SaturationLevel(r.IntN(3))},
		Override:   OperatorOverride{Sequence: r.Uint64N(3), Drained: r.IntN(2) == 0, Operator: "ops \"x\" <ü>", At: r.Int64N(3)},
		LastChange: Change{At: r.Int64N(3), By: "i", Reason: "429 tokens"},
		Schema:     Schema,
	}
	for i := range r.IntN(4) {
		rec.Circuit.Reports = append(rec.Circuit.Reports, FailureReport{Reporter: "w", At: int64(i + 1), Failures: 1 + r.IntN(3)})
	}
	rec.Windows.Generation = r.Uint64N(2)
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
	f.Add(`{"v":2,"p":1,"u":5,"new":{"a":[1,2]},"b":"x"}`)
	f.Add(`{"v":2,"new":"` + strings.Repeat("x", 500) + `"}`)
	f.Fuzz(func(t *testing.T, column string) {
		r, err := Decode(column)
		if err != nil {
			if !errors.Is(err, ErrUnreadable) {
				t.Errorf("error %v, want ErrUnreadable", err)
			}
			return
		}
		again, err := Decode(r.Encode())
		if err != nil || !again.Equal(r) {
			t.Errorf("%q decodes to %+v, encodes to %q and decodes to %+v, %v", column, r, r.Encode(), again, err)
		}
	})
}

// unreadable are columns that no version writes.
func unreadable() []string {
	return []string{
		"", "null", "0", "[]", `{"v":1,"i":`, `{}`, `{"v":0}`, `{"v":-1}`,
		`{"v":1,"i":1,"e":-7}`, `{"v":1,"p":3}`, `{"v":1,"p":"open"}`, `{"v":1,"i":1,"e":9000000000000000000}`,
		`{"v":1,"u":-1}`, `{"v":1,"u":9e18}`, `{"v":1,"n":-2}`, `{"v":1,"p":2,"i":1,"e":1}`, `{"v":1,"e":4}`,
		`{"v":1,"lo":"` + strings.Repeat("x", 1<<20) + `"}`, `{"v":1,"su":[{"w":"a","t":1,"n":0}]}`, `{"v":1,"t":[{"k":9,"u":1}]}`,
		`{"v":1,"t":[{"u":1},{"u":1},{"u":1},{"u":1},{"u":1},{"u":1}]}`, `{"v":1,"w":{"q":9e18}}`, `{"v":1,"ml":7}`,
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
	r, err := Decode(`{"v":3,"i":5,"e":2,"p":1,"u":77,"zone":{"a":[1,2]},"speed":9.5}`)
	if err != nil || r.Circuit.State != Open || r.Circuit.Until != 77 {
		t.Fatalf("decoded to %+v, %v", r, err)
	}
	r.Circuit = r.Circuit.CloseAfterProbe(TimeBounds{Earliest: 100, Latest: 101})
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

func FuzzRecordMergeLaws(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b, c := randomRecord(r), randomRecord(r), randomRecord(r)
		if !a.Merge(b).Equal(b.Merge(a)) {
			t.Errorf("not commutative on %+v and %+v", a, b)
		}
		if !a.Merge(b).Merge(c).Equal(a.Merge(b.Merge(c))) {
			t.Errorf("not associative on %+v, %+v and %+v", a, b, c)
		}
		if !a.Merge(a).Equal(a) {
			t.Errorf("not idempotent on %+v", a)
		}
	})
}

// randomUpdate is what an instance may add to a record like it.
func randomUpdate(r *rand.Rand, about Record) Update {
	n := Update{Owner: "oa", Reporter: "w", BasedOn: about.Circuit, Lease: about.Circuit.Lease}
	if r.IntN(2) == 0 {
		n.BasedOn.Epoch = r.Uint64N(4)
	}
	n.Windows.Generation = r.Uint64N(2)
	n.Windows = n.Windows.Add(LimitKind(r.IntN(5)), ThrottleWindow{Until: 40_000 + r.Int64N(1<<40), MaxTokens: r.Int64N(5)})
	n.Report = FailureReport{Reporter: "w", At: 19_000 + r.Int64N(1000), Failures: r.IntN(4)}
	n.Misconfigured, n.ClaimProbe, n.Probe, n.ServedAt = r.IntN(4) == 0, r.IntN(2) == 0, ProbeResult(r.IntN(6)), r.Int64N(20_000)
	return n
}

// An update applied twice changes nothing the second time, and an update of
// another epoch never changes a circuit, unless it claims a probe that is due.
func FuzzUpdateAppliesOnce(f *testing.F) {
	for seed := range uint64(500) {
		f.Add(seed)
	}
	p := BreakerPolicy{Failures: 3, TripDuration: time.Second}.WithDefaults()
	now := TimeBounds{Earliest: 20_000, Latest: 20_100}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		before := randomRecord(r)
		before.Circuit.Until, before.Circuit.Since, before.Circuit.ProbeDueSince = r.Int64N(40_000), r.Int64N(20_000), 0
		n := randomUpdate(r, before)
		once, changed := before.Apply(n, now, p)
		if changed == once.Equal(before) {
			t.Errorf("changed = %v from %+v to %+v", changed, before, once)
		}
		again, changed := once.Apply(n, now, p)
		if n.Probe == NoProbeResult && !n.ClaimProbe && changed && !again.Circuit.SameEpoch(once.Circuit) {
			t.Errorf("the same update twice: %+v made of %+v %+v, then %+v", n, before, once, again)
		}
		if once.Windows != again.Windows {
			t.Errorf("the same wait twice: %+v, then %+v", once.Windows, again.Windows)
		}
		stale := n
		stale.ClaimProbe, stale.Probe = false, NoProbeResult
		stale.BasedOn.Epoch = before.Circuit.Epoch + 1
		if got, _ := before.Apply(stale, now, p); !got.Circuit.Equal(before.Circuit) {
			t.Errorf("an update of another epoch turned %+v into %+v", before.Circuit, got.Circuit)
		}
	})
}

func TestThrottleIsNeverAFailure(t *testing.T) {
	p := BreakerPolicy{Failures: 1}.WithDefaults()
	now := TimeBounds{Earliest: 1000, Latest: 1100}
	var r Record
	for i := range 100 {
		r, _ = r.Apply(Update{Windows: ThrottleWindows{}.Add(LimitProvisioned, ThrottleWindow{Until: 2000 + int64(i)})}, now, p)
	}
	if r.Circuit.State != Closed || r.Circuit.Epoch != 0 || len(r.Circuit.Reports) != 0 {
		t.Errorf("a hundred 429s: %+v, want the circuit untouched", r.Circuit)
	}
	failed, _ := Record{}.Apply(Update{Reporter: "a", Report: FailureReport{Reporter: "a", At: 1050, Failures: 1}}, now, p)
	if failed.Circuit.State != Open || failed.Windows != (ThrottleWindows{}) {
		t.Errorf("a failure under a policy of one: %+v, want open and no throttle", failed)
	}
}

func TestProbeResultCountsOnlyForItsLease(t *testing.T) {
	p := BreakerPolicy{}.WithDefaults()
	now := TimeBounds{Earliest: 100_000, Latest: 100_100}
	held := Record{Circuit: Circuit{Incarnation: 1, Epoch: 3, Trips: 1}.ClaimProbe("me", now, p)}
	ok := Update{Owner: "me", Probe: ProbeServed, BasedOn: held.Circuit, Lease: held.Circuit.Lease}
	if r, _ := held.Apply(ok, now, p); r.Circuit.State != Closed {
		t.Errorf("after the holder's probe was served: %+v", r.Circuit)
	}
	renewed := Record{Circuit: held.Circuit.RenewLease(now, p)}
	if r, _ := renewed.Apply(ok, now, p); r.Circuit.State != Closed {
		t.Errorf("after it was served under a renewed lease: %+v", r.Circuit)
	}
	for name, change := range map[string]func(*Update){
		"another owner":       func(n *Update) { n.Owner = "you" },
		"another lease":       func(n *Update) { n.Lease-- },
		"another incarnation": func(n *Update) { n.BasedOn.Incarnation++ },
	} {
		n := ok
		change(&n)
		if r, changed := held.Apply(n, now, p); changed {
			t.Errorf("%s: the circuit became %+v", name, r.Circuit)
		}
	}
}
