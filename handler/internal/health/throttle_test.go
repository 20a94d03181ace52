package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestAWindowIsShutUntilItEnds(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	for name, c := range map[string]struct {
		window Throttle
		tokens int64
		want   bool
	}{
		"no window":                  {Throttle{}, 1, false},
		"ended":                      {Throttle{Until: now}, 1, false},
		"a millisecond left":         {Throttle{Until: now.Add(time.Millisecond), Kind: LimitProvisioned}, 1, true},
		"tokens, no room":            {Throttle{Until: now.Add(time.Second), Kind: LimitTokens}, 1, true},
		"tokens, room for it":        {Throttle{Until: now.Add(time.Second), Kind: LimitTokens, MaxTokens: 100}, 100, false},
		"tokens, no room for it":     {Throttle{Until: now.Add(time.Second), Kind: LimitTokens, MaxTokens: 100}, 101, true},
		"requests, whatever room is": {Throttle{Until: now.Add(time.Second), Kind: LimitRequests, MaxTokens: 100}, 1, true},
	} {
		if got := c.window.Blocks(now, c.tokens); got != c.want {
			t.Errorf("%s: shut = %v, want %v", name, got, c.want)
		}
	}
}

func TestHowLongA429Holds(t *testing.T) {
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
			t.Errorf("kind %d that asked for %v holds %v, want %v", c.kind, c.wait, got, c.want)
		}
	}
}

// Small prompts pass while the backend says there is room, and the news that
// there is less of it is not lost, whoever wrote the window first.
func TestNewsOfLessRoomStands(t *testing.T) {
	const now = 1000
	w := RetryWindows{}.MergeActive(RetryWindows{}.Add(LimitTokens, RetryWindow{Until: 60_000, MaxTokens: 500}), now)
	if until, kind, room := w.Combined(now); until != 60_000 || kind != LimitTokens || room != 500 {
		t.Fatalf("the first window: %d, %d, %d", until, kind, room)
	}
	less := w.MergeActive(RetryWindows{}.Add(LimitTokens, RetryWindow{Until: 59_500, MaxTokens: 100}), now)
	if _, _, room := less.Combined(now); room != 100 {
		t.Errorf("room %d after the news that 100 is left", room)
	}
	if joined := w.Merge(less); joined != less {
		t.Errorf("joined with the older word: %+v, want %+v", joined, less)
	}
	if more := less.MergeActive(RetryWindows{}.Add(LimitTokens, RetryWindow{Until: 59_000, MaxTokens: 400}), now); more != less {
		t.Errorf("an older word of more room was news: %+v", more)
	}
	if next := less.MergeActive(RetryWindows{}.Add(LimitTokens, RetryWindow{Until: 120_000, MaxTokens: 900}), 61_000); next.ByKind[LimitTokens].MaxTokens != 900 {
		t.Errorf("the next minute's window inherited the last one's room: %+v", next)
	}
}

func TestALimitThatRefusesEverybodyOutweighsOneWithRoom(t *testing.T) {
	w := RetryWindows{}.Add(LimitTokens, RetryWindow{Until: 60_000, MaxTokens: 500}).Add(LimitRequests, RetryWindow{Until: 5000})
	if until, kind, room := w.Combined(1000); until != 5000 || kind != LimitRequests || room != 0 {
		t.Errorf("both run: until %d, kind %d, room %d", until, kind, room)
	}
	if until, kind, room := w.Combined(5000); until != 60_000 || kind != LimitTokens || room != 500 {
		t.Errorf("the request limit is over: until %d, kind %d, room %d", until, kind, room)
	}
	if until, _, _ := w.Combined(60_000); until != 0 {
		t.Errorf("all is over, and it holds until %d", until)
	}
	// A token window without room refuses everybody too: the later end counts.
	w = w.Add(LimitTokens, RetryWindow{Until: 70_000})
	if until, kind, _ := w.Combined(1000); until != 70_000 || kind != LimitTokens {
		t.Errorf("no room at all: until %d, kind %d", until, kind)
	}
}

func TestAResetEndsAllWindowsAndTheirEchoes(t *testing.T) {
	w := RetryWindows{}.Add(LimitCapacity, RetryWindow{Until: 60_000})
	reset := w.Reset()
	if got := w.Merge(reset); got != reset {
		t.Errorf("an old window came back after the reset: %+v", got)
	}
	if got := reset.MergeActive(w, 1000); got != reset {
		t.Errorf("an instance that had not heard of the reset wrote its window again: %+v", got)
	}
}

func TestMarks(t *testing.T) {
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
		{-1, -27_689, 30_000, Unsaturated, false}, // seen on served and refused answers alike: no signal
		{-1, 0, 0, Unsaturated, false},            // limits of 0 are unknown
		{-1, 0, -1, Unsaturated, false},
		{10, 600, 30_000, NearLimit, true},
	} {
		if got, ok := l.Level(c.utilization, c.remaining, c.limit); got != c.want || ok != c.ok {
			t.Errorf("utilization %v, %d of %d left: level %d, %v; want %d, %v", c.utilization, c.remaining, c.limit, got, ok, c.want, c.ok)
		}
	}
	if _, ok := (LeaveAt{}).Level(120, 0, 1000); ok {
		t.Error("switched off, and it judged all the same")
	}
	m := Saturation{At: 10_000, Level: NearLimit}
	for name, c := range map[string]struct {
		seen Saturation
		want bool
	}{
		"the same again":             {Saturation{At: 11_000, Level: NearLimit}, false},
		"the same, about to lapse":   {Saturation{At: 12_500, Level: NearLimit}, true},
		"fuller":                     {Saturation{At: 11_000, Level: AtLimit}, true},
		"fuller, within the second":  {Saturation{At: 10_500, Level: AtLimit}, false},
		"room again":                 {Saturation{At: 11_500, Level: Unsaturated}, true},
		"room, and it lapsed anyway": {Saturation{At: 15_000, Level: Unsaturated}, false},
	} {
		if got := m.WorthPublishing(c.seen); got != c.want {
			t.Errorf("%s: news = %v, want %v", name, got, c.want)
		}
	}
	if m.Share(10_000) != 50 || m.Share(14_999) != 50 || m.Share(15_000) != 0 || (Saturation{At: 10_000, Level: AtLimit}).Share(10_000) != 10 {
		t.Error("a mark weighs other than it says, or for longer")
	}
}

func someWindows(r *rand.Rand) RetryWindows {
	w := RetryWindows{Generation: r.Uint64N(2)}
	for k := range w.ByKind {
		w.ByKind[k] = RetryWindow{Until: r.Int64N(4), MaxTokens: r.Int64N(3)}
	}
	return w
}

func FuzzWindowsJoinIsALattice(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b, c := someWindows(r), someWindows(r), someWindows(r)
		if a.Merge(b) != b.Merge(a) || a.Merge(b).Merge(c) != a.Merge(b.Merge(c)) || a.Merge(a) != a {
			t.Errorf("join is no lattice on %+v, %+v, %+v", a, b, c)
		}
		m, n, o := Saturation{r.Int64N(3), SaturationLevel(r.IntN(3))}, Saturation{r.Int64N(3), SaturationLevel(r.IntN(3))}, Saturation{r.Int64N(3), SaturationLevel(r.IntN(3))}
		if m.Merge(n) != n.Merge(m) || m.Merge(n).Merge(o) != m.Merge(n.Merge(o)) || m.Merge(m) != m {
			t.Errorf("join is no lattice on %+v, %+v, %+v", m, n, o)
		}
		now := r.Int64N(4)
		if told := a.MergeActive(b, now); told.MergeActive(b, now) != told {
			t.Errorf("told twice: %+v told %+v is %+v, then %+v", a, b, told, told.MergeActive(b, now))
		}
		// News of what still runs never shortens a window nor widens its room.
		told := a.MergeActive(b, now)
		for k, old := range a.ByKind {
			if a.Generation >= b.Generation && old.Until > now && (told.ByKind[k].Until < old.Until || told.ByKind[k].MaxTokens > old.MaxTokens && LimitKind(k) == LimitTokens) {
				t.Errorf("kind %d went from %+v to %+v", k, old, told.ByKind[k])
			}
		}
	})
}
