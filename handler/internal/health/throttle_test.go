package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestAWindowIsShutUntilItEnds(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	for name, c := range map[string]struct {
		window Window
		tokens int64
		want   bool
	}{
		"no window":                  {Window{}, 1, false},
		"ended":                      {Window{Until: now}, 1, false},
		"a millisecond left":         {Window{Until: now.Add(time.Millisecond), Kind: Provisioned}, 1, true},
		"tokens, no room":            {Window{Until: now.Add(time.Second), Kind: Tokens}, 1, true},
		"tokens, room for it":        {Window{Until: now.Add(time.Second), Kind: Tokens, Room: 100}, 100, false},
		"tokens, no room for it":     {Window{Until: now.Add(time.Second), Kind: Tokens, Room: 100}, 101, true},
		"requests, whatever room is": {Window{Until: now.Add(time.Second), Kind: Requests, Room: 100}, 1, true},
	} {
		if got := c.window.Shut(now, c.tokens); got != c.want {
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
		{Tokens, 0, 7 * time.Second},
		{Tokens, -time.Second, 7 * time.Second},
		{Tokens, 30 * time.Second, 30 * time.Second},
		{Tokens, 24 * time.Hour, time.Minute},
		{Requests, 10 * time.Millisecond, time.Second},
		{Requests, 4 * time.Second, 4 * time.Second},
		{Requests, time.Minute, 10 * time.Second},
		{Provisioned, 137 * time.Millisecond, 137 * time.Millisecond},
		{Capacity, 20 * time.Second, 20 * time.Second},
		{Unknown, 3 * time.Second, 3 * time.Second},
	} {
		if got := p.Hold(c.kind, c.wait); got != c.want {
			t.Errorf("kind %d that asked for %v holds %v, want %v", c.kind, c.wait, got, c.want)
		}
	}
}

// Small prompts pass while the backend says there is room, and the news that
// there is less of it is not lost, whoever wrote the window first.
func TestNewsOfLessRoomStands(t *testing.T) {
	const now = 1000
	w := Windows{}.Told(Windows{}.With(Tokens, Term{Until: 60_000, Room: 500}), now)
	if until, kind, room := w.Sum(now); until != 60_000 || kind != Tokens || room != 500 {
		t.Fatalf("the first window: %d, %d, %d", until, kind, room)
	}
	less := w.Told(Windows{}.With(Tokens, Term{Until: 59_500, Room: 100}), now)
	if _, _, room := less.Sum(now); room != 100 {
		t.Errorf("room %d after the news that 100 is left", room)
	}
	if joined := w.Join(less); joined != less {
		t.Errorf("joined with the older word: %+v, want %+v", joined, less)
	}
	if more := less.Told(Windows{}.With(Tokens, Term{Until: 59_000, Room: 400}), now); more != less {
		t.Errorf("an older word of more room was news: %+v", more)
	}
	if next := less.Told(Windows{}.With(Tokens, Term{Until: 120_000, Room: 900}), 61_000); next.By[Tokens].Room != 900 {
		t.Errorf("the next minute's window inherited the last one's room: %+v", next)
	}
}

func TestALimitThatRefusesEverybodyOutweighsOneWithRoom(t *testing.T) {
	w := Windows{}.With(Tokens, Term{Until: 60_000, Room: 500}).With(Requests, Term{Until: 5000})
	if until, kind, room := w.Sum(1000); until != 5000 || kind != Requests || room != 0 {
		t.Errorf("both run: until %d, kind %d, room %d", until, kind, room)
	}
	if until, kind, room := w.Sum(5000); until != 60_000 || kind != Tokens || room != 500 {
		t.Errorf("the request limit is over: until %d, kind %d, room %d", until, kind, room)
	}
	if until, _, _ := w.Sum(60_000); until != 0 {
		t.Errorf("all is over, and it holds until %d", until)
	}
	// A token window without room refuses everybody too: the later end counts.
	w = w.With(Tokens, Term{Until: 70_000})
	if until, kind, _ := w.Sum(1000); until != 70_000 || kind != Tokens {
		t.Errorf("no room at all: until %d, kind %d", until, kind)
	}
}

func TestAResetEndsAllWindowsAndTheirEchoes(t *testing.T) {
	w := Windows{}.With(Capacity, Term{Until: 60_000})
	reset := w.Void()
	if got := w.Join(reset); got != reset {
		t.Errorf("an old window came back after the reset: %+v", got)
	}
	if got := reset.Told(w, 1000); got != reset {
		t.Errorf("an instance that had not heard of the reset wrote its window again: %+v", got)
	}
}

func TestMarks(t *testing.T) {
	l := LeaveAt{Utilization: 95, RemainingTokens: .02}
	for _, c := range []struct {
		utilization      float64
		remaining, limit int64
		want             Level
		ok               bool
	}{
		{-1, -1, -1, Roomy, false},
		{94.9, -1, -1, Roomy, true},
		{95, -1, -1, Tight, true},
		{104.5, -1, -1, Filled, true},
		{-1, 5000, 30_000, Roomy, true},
		{-1, 600, 30_000, Tight, true},
		{-1, 0, 30_000, Filled, true},
		{-1, -27_689, 30_000, Roomy, false}, // seen on served and refused answers alike: no signal
		{-1, 0, 0, Roomy, false},            // limits of 0 are unknown
		{-1, 0, -1, Roomy, false},
		{10, 600, 30_000, Tight, true},
	} {
		if got, ok := l.LevelOf(c.utilization, c.remaining, c.limit); got != c.want || ok != c.ok {
			t.Errorf("utilization %v, %d of %d left: level %d, %v; want %d, %v", c.utilization, c.remaining, c.limit, got, ok, c.want, c.ok)
		}
	}
	if _, ok := (LeaveAt{}).LevelOf(120, 0, 1000); ok {
		t.Error("switched off, and it judged all the same")
	}
	m := Mark{At: 10_000, Level: Tight}
	for name, c := range map[string]struct {
		seen Mark
		want bool
	}{
		"the same again":             {Mark{At: 11_000, Level: Tight}, false},
		"the same, about to lapse":   {Mark{At: 12_500, Level: Tight}, true},
		"fuller":                     {Mark{At: 11_000, Level: Filled}, true},
		"fuller, within the second":  {Mark{At: 10_500, Level: Filled}, false},
		"room again":                 {Mark{At: 11_500, Level: Roomy}, true},
		"room, and it lapsed anyway": {Mark{At: 15_000, Level: Roomy}, false},
	} {
		if got := m.News(c.seen); got != c.want {
			t.Errorf("%s: news = %v, want %v", name, got, c.want)
		}
	}
	if m.Share(10_000) != 50 || m.Share(14_999) != 50 || m.Share(15_000) != 0 || (Mark{At: 10_000, Level: Filled}).Share(10_000) != 10 {
		t.Error("a mark weighs other than it says, or for longer")
	}
}

func someWindows(r *rand.Rand) Windows {
	w := Windows{Generation: r.Uint64N(2)}
	for k := range w.By {
		w.By[k] = Term{Until: r.Int64N(4), Room: r.Int64N(3)}
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
		if a.Join(b) != b.Join(a) || a.Join(b).Join(c) != a.Join(b.Join(c)) || a.Join(a) != a {
			t.Errorf("join is no lattice on %+v, %+v, %+v", a, b, c)
		}
		m, n, o := Mark{r.Int64N(3), Level(r.IntN(3))}, Mark{r.Int64N(3), Level(r.IntN(3))}, Mark{r.Int64N(3), Level(r.IntN(3))}
		if m.Join(n) != n.Join(m) || m.Join(n).Join(o) != m.Join(n.Join(o)) || m.Join(m) != m {
			t.Errorf("join is no lattice on %+v, %+v, %+v", m, n, o)
		}
		now := r.Int64N(4)
		if told := a.Told(b, now); told.Told(b, now) != told {
			t.Errorf("told twice: %+v told %+v is %+v, then %+v", a, b, told, told.Told(b, now))
		}
		// News of what still runs never shortens a window nor widens its room.
		told := a.Told(b, now)
		for k, old := range a.By {
			if a.Generation >= b.Generation && old.Until > now && (told.By[k].Until < old.Until || told.By[k].Room > old.Room && LimitKind(k) == Tokens) {
				t.Errorf("kind %d went from %+v to %+v", k, old, told.By[k])
			}
		}
	})
}
