package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestThrottleBlocksUntilItEnds(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	for name, c := range map[string]struct {
		throttle Throttle
		tokens   int64
		want     bool
	}{
		"no throttle":             {Throttle{}, 1, false},
		"ended":                   {Throttle{Until: now}, 1, false},
		"a millisecond left":      {Throttle{Until: now.Add(time.Millisecond), Kind: LimitProvisioned}, 1, true},
		"tokens, none left":       {Throttle{Until: now.Add(time.Second), Kind: LimitTokens}, 1, true},
		"tokens, it fits":         {Throttle{Until: now.Add(time.Second), Kind: LimitTokens, MaxTokens: 100}, 100, false},
		"tokens, it does not fit": {Throttle{Until: now.Add(time.Second), Kind: LimitTokens, MaxTokens: 100}, 101, true},
		"requests, whatever fits": {Throttle{Until: now.Add(time.Second), Kind: LimitRequests, MaxTokens: 100}, 1, true},
	} {
		if got := c.throttle.Blocks(now, c.tokens); got != c.want {
			t.Errorf("%s: blocks = %v, want %v", name, got, c.want)
		}
	}
}

func TestWaitForLimitKinds(t *testing.T) {
	p := ThrottlePolicy{DefaultWait: 7 * time.Second, MaxWait: time.Minute}.WithDefaults()
	for _, c := range []struct {
		kind       LimitKind
		wait, want time.Duration
	}{
		{LimitTokens, 0, 7 * time.Second},
		{LimitTokens, -time.Second, 7 * time.Second},
		{LimitTokens, 30 * time.Second, 30 * time.Second},
		{LimitTokens, 24 * time.Hour, time.Minute},
		{LimitRequests, 10 * time.Millisecond, time.Second},
		{LimitRequests, 4 * time.Second, 4 * time.Second},
		{LimitRequests, time.Minute, 10 * time.Second},
		{LimitProvisioned, 137 * time.Millisecond, 137 * time.Millisecond},
		{LimitCapacity, 20 * time.Second, 20 * time.Second},
		{LimitUnknown, 3 * time.Second, 3 * time.Second},
	} {
		if got := p.WaitFor(c.kind, c.wait); got != c.want {
			t.Errorf("kind %d that asked for %v waits %v, want %v", c.kind, c.wait, got, c.want)
		}
	}
}

// Small prompts pass while tokens remain, and a report of fewer tokens is not
// lost, whoever wrote the window first.
func TestFewerRemainingTokensWin(t *testing.T) {
	const now = 1000
	w := ThrottleWindows{}.MergeActive(ThrottleWindows{}.Add(LimitTokens, ThrottleWindow{Until: 60_000, MaxTokens: 500}), now)
	if until, kind, maxTokens := w.Combined(now); until != 60_000 || kind != LimitTokens || maxTokens != 500 {
		t.Fatalf("the first window: %d, %d, %d", until, kind, maxTokens)
	}
	less := w.MergeActive(ThrottleWindows{}.Add(LimitTokens, ThrottleWindow{Until: 59_500, MaxTokens: 100}), now)
	if _, _, maxTokens := less.Combined(now); maxTokens != 100 {
		t.Errorf("%d tokens after a report that 100 are left", maxTokens)
	}
	if older := less.MergeActive(w, now); older != less {
		t.Errorf("merged with the older report: %+v, want %+v", older, less)
	}
	if more := less.MergeActive(ThrottleWindows{}.Add(LimitTokens, ThrottleWindow{Until: 59_000, MaxTokens: 400}), now); more != less {
		t.Errorf("an older report of more tokens changed it: %+v", more)
	}
	if next := less.MergeActive(ThrottleWindows{}.Add(LimitTokens, ThrottleWindow{Until: 120_000, MaxTokens: 900}), 61_000); next.ByKind[LimitTokens].MaxTokens != 900 {
		t.Errorf("the next minute's window kept the last one's tokens: %+v", next)
	}
}

func TestLimitThatBlocksAllOutweighsTokenLimit(t *testing.T) {
	w := ThrottleWindows{}.Add(LimitTokens, ThrottleWindow{Until: 60_000, MaxTokens: 500}).Add(LimitRequests, ThrottleWindow{Until: 5000})
	if until, kind, maxTokens := w.Combined(1000); until != 5000 || kind != LimitRequests || maxTokens != 0 {
		t.Errorf("both active: until %d, kind %d, max tokens %d", until, kind, maxTokens)
	}
	if until, kind, maxTokens := w.Combined(5000); until != 60_000 || kind != LimitTokens || maxTokens != 500 {
		t.Errorf("the request limit has ended: until %d, kind %d, max tokens %d", until, kind, maxTokens)
	}
	if until, _, _ := w.Combined(60_000); until != 0 {
		t.Errorf("all have ended, and it blocks until %d", until)
	}
	// A token window without tokens blocks every request too: the later end counts.
	w = w.Add(LimitTokens, ThrottleWindow{Until: 70_000})
	if until, kind, _ := w.Combined(1000); until != 70_000 || kind != LimitTokens {
		t.Errorf("no tokens left: until %d, kind %d", until, kind)
	}
}

func TestSaturationLevelsAndShares(t *testing.T) {
	l := LeaveAt{Utilization: 95, RemainingTokens: .02}
	for _, c := range []struct {
		utilization      float64
		remaining, limit int64
		want             SaturationLevel
		ok               bool
	}{
		{-1, -1, -1, Unsaturated, false},
		{94.9, -1, -1, Unsaturated, true},
		{95, -1, -1, NearLimit, true},
		{104.5, -1, -1, AtLimit, true},
		{-1, 5000, 30_000, Unsaturated, true},
		{-1, 600, 30_000, NearLimit, true},
		{-1, 0, 30_000, AtLimit, true},
		{-1, -27_689, 30_000, Unsaturated, false}, // seen on 200s and 429s alike: no signal
		{-1, 0, 0, Unsaturated, false},            // limits of 0 are unknown
		{-1, 0, -1, Unsaturated, false},
		{10, 600, 30_000, NearLimit, true},
	} {
		if got, ok := l.Level(c.utilization, c.remaining, c.limit); got != c.want || ok != c.ok {
			t.Errorf("utilization %v, %d of %d left: level %d, %v; want %d, %v", c.utilization, c.remaining, c.limit, got, ok, c.want, c.ok)
		}
	}
	if _, ok := (LeaveAt{}).Level(120, 0, 1000); ok {
		t.Error("a level although LeaveAt is off")
	}
	m := Saturation{At: 10_000, Level: NearLimit}
	for name, c := range map[string]struct {
		seen Saturation
		want bool
	}{
		"the same again":               {Saturation{At: 11_000, Level: NearLimit}, false},
		"the same, about to expire":    {Saturation{At: 12_500, Level: NearLimit}, true},
		"fuller":                       {Saturation{At: 11_000, Level: AtLimit}, true},
		"fuller, within the second":    {Saturation{At: 10_500, Level: AtLimit}, false},
		"unsaturated again":            {Saturation{At: 11_500, Level: Unsaturated}, true},
		"unsaturated after it expired": {Saturation{At: 15_000, Level: Unsaturated}, false},
	} {
		if got := m.WorthPublishing(c.seen); got != c.want {
			t.Errorf("%s: worth publishing = %v, want %v", name, got, c.want)
		}
	}
	if m.Share(10_000) != 50 || m.Share(14_999) != 50 || m.Share(15_000) != 0 || (Saturation{At: 10_000, Level: AtLimit}).Share(10_000) != 10 {
		t.Error("wrong share, or for too long")
	}
}

func randomWindows(r *rand.Rand) (w ThrottleWindows) {
	for k := range w.ByKind {
		w.ByKind[k] = ThrottleWindow{Until: r.Int64N(4), MaxTokens: r.Int64N(3)}
	}
	return w
}

func FuzzWindowsOnlyGrow(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b := randomWindows(r), randomWindows(r)
		m, n, o := Saturation{r.Int64N(3), SaturationLevel(r.IntN(3))}, Saturation{r.Int64N(3), SaturationLevel(r.IntN(3))}, Saturation{r.Int64N(3), SaturationLevel(r.IntN(3))}
		if m.Merge(n) != n.Merge(m) || m.Merge(n).Merge(o) != m.Merge(n.Merge(o)) || m.Merge(m) != m {
			t.Errorf("merge breaks its laws on %+v, %+v, %+v", m, n, o)
		}
		now := r.Int64N(4)
		merged := a.MergeActive(b, now)
		if twice := merged.MergeActive(b, now); twice != merged {
			t.Errorf("%+v merged with %+v is %+v, then %+v", a, b, merged, twice)
		}
		for k, old := range a.ByKind {
			// A merge never shortens an active window nor admits more tokens.
			if got := merged.ByKind[k]; old.Until > now && (got.Until < old.Until || got.MaxTokens > old.MaxTokens && LimitKind(k) == LimitTokens) {
				t.Errorf("kind %d went from %+v to %+v", k, old, got)
			}
			// What was added binds too.
			if got, add := merged.ByKind[k], b.ByKind[k]; add.Until > now && (got.Until < add.Until || got.MaxTokens > add.MaxTokens && LimitKind(k) == LimitTokens) {
				t.Errorf("kind %d: %+v was added, and it is %+v", k, add, got)
			}
		}
	})
}
