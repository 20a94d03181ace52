package lease

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPeriods(t *testing.T) {
	for _, c := range []struct {
		p      Period
		at     string
		begins string
		ends   string
	}{
		{Minute, "2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z", "2026-11-21T09:01:00Z"},
		{Minute, "2026-11-21T09:00:59.999Z", "2026-11-21T09:00:00Z", "2026-11-21T09:01:00Z"},
		{Minute, "1969-12-31T23:59:30Z", "1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z"},
		{Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{Month, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{Month, "2026-01-01T00:30:00+02:00", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		i := c.p.Index(at)
		begins, ends := c.p.Begins(i).Format(time.RFC3339), c.p.Ends(i).Format(time.RFC3339)
		if begins != c.begins || ends != c.ends {
			t.Errorf("%v of %s: from %s to %s, want %s to %s", c.p, c.at, begins, ends, c.begins, c.ends)
		}
	}
}

func FuzzPeriod(f *testing.F) {
	f.Add(int64(0), false)
	f.Add(int64(1_790_000_000), true)
	f.Fuzz(func(t *testing.T, unix int64, month bool) {
		p := Minute
		if month {
			p = Month
		}
		at := time.Unix(unix%(1<<36), 0)
		i := p.Index(at)
		if at.Before(p.Begins(i)) || !at.Before(p.Ends(i)) || p.Index(p.Ends(i)) != i+1 {
			t.Errorf("%v is not in its %v: %v to %v", at, p, p.Begins(i), p.Ends(i))
		}
	})
}

func TestMoneySaturatesAndIsNeverNegative(t *testing.T) {
	for _, c := range []struct {
		in   float64
		want int64
	}{{500, 500e9}, {0.000000075, 75}, {-3, 0}, {math.NaN(), 0}, {math.Inf(1), MaxAmount}, {math.Inf(-1), 0}, {1e300, MaxAmount}} {
		if got := Money(c.in); got != c.want {
			t.Errorf("Money(%v) = %d, want %d", c.in, got, c.want)
		}
	}
	if Amount(Money(12.5)) != 12.5 {
		t.Error("Amount(Money(x)) is not x")
	}
}

// A limit that is lowered while instances are replaced one by one: what the old
// limit allowed is no debt under the new one, and what exceeded it is.
func TestOnlyWhatExceededTheValidLimitIsCarried(t *testing.T) {
	for name, c := range map[string]struct {
		limits []int64 // of the writers, in order
		booked []int64
		next   int64 // the limit in the next window
		debt   int64
	}{
		"lowered":                    {[]int64{600_000}, []int64{550_000}, 60_000, 0},
		"lowered, overspent":         {[]int64{600_000}, []int64{610_000}, 60_000, 10_000},
		"lowered, old and new write": {[]int64{600_000, 60_000, 600_000}, []int64{300_000, 0, 200_000}, 60_000, 0},
		"raised":                     {[]int64{60_000}, []int64{70_000}, 600_000, 10_000},
		"raised, old and new write":  {[]int64{60_000, 600_000}, []int64{60_000, 500_000}, 600_000, 0},
		"unchanged":                  {[]int64{60_000}, []int64{70_000}, 60_000, 10_000},
	} {
		r := Record{}.RolledTo(10, c.limits[0])
		for i, limit := range c.limits {
			r = r.Applied(Op{Nonce: r.nonce("a", uint64(i)), Window: 10, Limit: limit, Booked: c.booked[i]})
		}
		r = r.RolledTo(11, c.next)
		if r.Debt != c.debt || r.Granted != c.debt || r.RolledTo(12, c.next).Debt != max(0, c.debt-c.next) {
			t.Errorf("%s: %+v, want a debt of %d", name, r, c.debt)
		}
	}
	old, err := Parse(`{"v":1,"w":10,"g":550000,"d":0}`) // of a version that does not record the limit
	if err != nil || old.RolledTo(11, 600_000).Debt != 0 {
		t.Errorf("%+v, %v", old.RolledTo(11, 600_000), err)
	}
}

func TestRecordOverThreeWindows(t *testing.T) {
	r := Record{}.RolledTo(10, 1000)
	r = r.Applied(Op{Nonce: r.nonce("a", 1), Window: 10, Chunk: 300})
	r = r.Applied(Op{Nonce: r.nonce("b", 1), Window: 10, Booked: 900})
	if r.Granted != 1200 || r.Left(1000) != 0 || !r.Contains("00000001-a-1") || !r.Contains("00000002-b-1") {
		t.Fatalf("in its window: %+v", r)
	}
	r = r.RolledTo(11, 1000)
	if r.Granted != 200 || r.Debt != 200 || r.Spare != 0 || r.Left(1000) != 800 {
		t.Fatalf("what was overspent is charged to the next window: %+v", r)
	}
	r = r.Applied(Op{Nonce: r.nonce("a", 2), Window: 11, Booked: -50, BookedLate: 70})
	if r.Granted != 220 || r.Debt != 270-50 || r.Contains("00000001-a-1") || !r.Contains("00000003-a-2") {
		t.Fatalf("a late booking of a full window, and some returned: %+v", r)
	}
	r = r.RolledTo(14, 1000)
	if r.Granted != 0 || r.Debt != 0 || r.Spare != 2780 {
		t.Fatalf("after two windows in which nobody wrote: %+v", r)
	}
	r = r.Applied(Op{Nonce: r.nonce("a", 3), Window: 14, BookedLate: 2000})
	if r.Granted != 0 || r.Spare != 780 {
		t.Fatalf("a late booking is taken from what windows left: %+v", r)
	}
	if same := r.RolledTo(13, 1000); !cmp.Equal(same, r) {
		t.Errorf("an earlier window changed it: %+v", same)
	}
}

func TestRecordHoldsTheLastWriteOfEachInstance(t *testing.T) {
	var r Record
	for i := range 3 * maxWriters {
		r = r.Applied(Op{Nonce: r.nonce("x"+strings.Repeat("y", i%40), uint64(i)), Chunk: 1})
	}
	if len(r.Ops) != 40 {
		t.Errorf("%d writes of 40 instances", len(r.Ops))
	}
	if got := len(r.String()); got > 32<<10 {
		t.Errorf("%d characters", got)
	}
}

// What instances hold at the end of a window is neither free nor spent in the next, until
// they write: in whatever order they do, the sums are those of one instance.
func TestRecordCarriesWhatIsHeld(t *testing.T) {
	var r Record
	for i, writer := range []string{"a", "b", "crashed"} {
		r = r.RolledTo(10, 1000).Applied(Op{Nonce: r.nonce(writer, uint64(i)), Window: 10, Booked: 600, Held: 500})
	}
	r = r.RolledTo(11, 1000)
	if r.Granted != 1500 || r.Debt != 0 || r.Spare != 700 {
		t.Fatalf("the next window begins with %+v, want 1500 held and 300 used of the one before", r)
	}
	a := Op{Nonce: "0a-a-2", Window: 11, Booked: 400, BookedLate: -400, Held: 400} // 100 ended before the window did
	b := Op{Nonce: "0b-b-2", Window: 11, BookedLate: 0}                            // all of it
	for _, ops := range [][]Op{{a, b}, {b, a}} {
		x := r
		for _, op := range ops {
			x = x.Applied(op)
		}
		if x.Granted != 900 || x.Spare != 100 || x.Debt != 0 || len(x.Carried) != 1 {
			t.Errorf("%+v, want 400 and 500 held, and 900 used of the window before", x)
		}
		late := x.Applied(Op{Nonce: "0c-a-3", Window: 11, Held: 400, AllWrote: true})
		if late.Granted != 400+400 || late.Debt != 400 || late.Spare != 0 || len(late.Carried) != 0 {
			t.Errorf("%+v, want 400 held, and that what the crashed one held was used before the window", late)
		}
		if x = x.RolledTo(12, 200); x.Granted != 400+300 || x.Debt != 300 || len(x.Carried) != 1 {
			t.Errorf("%+v, want 400 held, and that what the crashed one held was used beyond the limit", x)
		}
		if x = x.RolledTo(14, 600); x.Granted != 0 {
			t.Errorf("%+v, want nothing left of two windows before", x)
		}
	}
}

func TestRecordOfManyHoldersFitsAColumn(t *testing.T) {
	r := Record{}.RolledTo(1, 1000)
	for i := range 4 * maxHolders {
		r = r.Applied(Op{Nonce: r.nonce(fmt.Sprintf("%08d", i), uint64(i)), Window: 1, Booked: 1, Held: 999_999})
	}
	for i := range 4 * maxHolders {
		r = r.RolledTo(2, 1000).Applied(Op{Nonce: r.nonce(fmt.Sprintf("%08d", 4000+i), uint64(i)), Window: 2, Booked: 1, Held: 999_999})
	}
	if got := len(r.String()); len(r.Held) != maxHolders || len(r.Carried) != maxHolders || got > 32_000 {
		t.Errorf("%d characters for %d and %d holders", got, len(r.Held), len(r.Carried))
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(`{"v":1,"w":29,"g":5,"d":0,"o":{"00000001-a-1":5}}`, int64(3), int64(-9), int64(1<<62))
	f.Add(`{"v":7,"w":29,"g":5,"d":0,"new":[1]}`, int64(-1), int64(1<<62), int64(0))
	f.Add(`{"v":1,"w":1e300}`, int64(0), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, body string, chunk, owed, late int64) {
		r, err := Parse(body)
		if err != nil {
			if !errors.Is(err, ErrInvalidRecord) {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		again, err := Parse(r.String())
		if err != nil || again.Granted != r.Granted || len(again.Ops) != len(r.Ops) {
			t.Errorf("%q does not come back: %+v, %v", body, again, err)
		}
		op := Op{Nonce: r.nonce("z", 9), Held: Clamp(chunk), Chunk: Clamp(chunk), Booked: max(-MaxAmount, min(owed, MaxAmount)), BookedLate: Clamp(late)}
		for _, x := range []Record{r.Applied(op), r.RolledTo(r.Window+1, 1000).Applied(op), r.Applied(op).RolledTo(r.Window+3, 1<<59)} {
			if !inRange(x.Granted) || !inRange(x.Debt) || !inRange(x.Spare) || x.Debt > x.Granted || len(x.Held) > maxHolders && len(r.Held) <= maxHolders || x.Left(1000) < 0 {
				t.Errorf("%q with %+v becomes %+v", body, op, x)
			}
		}
		if p := r.Applied(op); !p.Contains(op.Nonce) {
			t.Error("a write that was applied is not in the record")
		}
	})
}

// FuzzDebt checks that over any sequence of writes and windows the debt is what
// was charged beyond the limits of all windows.
func FuzzDebt(f *testing.F) {
	f.Add([]byte{1, 200, 3, 0, 5, 255, 255, 2})
	f.Fuzz(func(t *testing.T, moves []byte) {
		const limit = 1000
		r := Record{}.RolledTo(1, limit)
		charged, windows := int64(0), int64(1)
		for _, m := range moves {
			if m%4 == 0 {
				r = r.RolledTo(r.Window+1, limit)
				windows++
				continue
			}
			n := int64(m) * 7
			r = r.Applied(Op{Nonce: r.nonce("a", uint64(m)), Window: r.Window, Booked: n})
			charged += n
		}
		if r.Granted > charged || charged-r.Granted > (windows-1)*limit {
			t.Errorf("%d charged over %d windows of %d leave %d in the last", charged, windows, limit, r.Granted)
		}
	})
}

// What was spent and granted is the same whether a correction comes before or after
// what it corrects.
func TestCorrectionsCommute(t *testing.T) {
	spent, corrected := Op{Nonce: "1a", Window: 3, Booked: 1000, Spent: 1000}, Op{Nonce: "1b", Window: 3, Booked: -862, Spent: -862}
	for _, ops := range [][]Op{{spent, corrected}, {corrected, spent}} {
		var r Record
		for _, op := range ops {
			r = r.RolledTo(3, 5000).Applied(op)
		}
		if r.Spent != 138 || r.Owed != 0 || r.Granted != 138 || r.Early != 0 {
			t.Errorf("%+v, want 138 spent and granted", r)
		}
		if next := r.RolledTo(4, 5000); next.Spent != 0 || next.Owed != 0 || next.Granted != 0 {
			t.Errorf("the next window begins with %+v", next)
		}
	}
	owed := Record{}.RolledTo(3, 5000).Applied(corrected)
	if read, err := Parse(owed.String()); err != nil || read.Owed != 862 || read.Early != 862 || read.Left(5000) != 5000 || read.RolledTo(4, 5000).Early != 0 {
		t.Errorf("%+v %v", read, err)
	}
}
