package condition

import (
	"errors"
	"slices"
	"testing"
	"time"
)

var errTrouble = errors.New("403")

// reports are the states that a part is reported in, by second, when it is in these
// states at these seconds.
func reports(seconds int, at func(second int) State) (said []string) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	second := 0
	s := New(Part{Name: "x", Check: func(time.Time) (State, error) { return at(second), errTrouble }})
	for second = range seconds {
		for _, r := range s.Check(now.Add(time.Duration(second) * time.Second)) {
			said = append(said, (time.Duration(second)*time.Second).String()+" "+r.State.String())
		}
	}
	return said
}

func TestTroubleIsReportedAtOnceAndThenOnceAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		at   func(second int) State
		want []string
	}{
		"never":          {func(int) State { return OK }, nil},
		"always":         {func(int) State { return Failing }, []string{"0s failing", "1m0s failing", "2m0s failing"}},
		"every other":    {func(n int) State { return State(n % 2) }, []string{"1s degraded", "2s ok", "1m1s degraded", "1m2s ok", "2m1s degraded", "2m2s ok"}},
		"for a while":    {func(n int) State { return map[bool]State{true: Degraded}[n >= 5 && n < 75] }, []string{"5s degraded", "1m5s degraded", "1m15s ok"}},
		"it gets worse":  {func(n int) State { return map[bool]State{false: Degraded, true: Failing}[n >= 10] }, []string{"0s degraded", "10s failing", "1m10s failing", "2m10s failing"}},
		"it gets better": {func(n int) State { return map[bool]State{true: Degraded, false: Failing}[n >= 10] }, []string{"0s failing", "1m0s degraded", "2m0s degraded"}},
	} {
		if got := reports(179, c.at); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTroublesSaySinceWhenAndWhy(t *testing.T) {
	state, now := Degraded, time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := New(Part{Name: "a", Check: func(time.Time) (State, error) { return OK, nil }}, Part{Name: "b", Check: func(time.Time) (State, error) { return state, errTrouble }})
	if len(s.Troubles()) != 0 {
		t.Error("trouble before the first check")
	}
	s.Check(now)
	s.Check(now.Add(time.Second))
	all := s.Troubles()
	if len(all) != 1 || all[0].Part.Name != "b" || !all[0].Since.Equal(now) || all[0].Why != "403" || len(s.All()) != 2 {
		t.Errorf("%+v", all)
	}
	state = OK
	s.Check(now)
	if len(s.Troubles()) != 0 || s.All()[1].Why != "" {
		t.Errorf("%+v", s.Troubles())
	}
}

func TestLatchHoldsForAWhile(t *testing.T) {
	var l Latch
	now := time.Now()
	if state, _ := l.Check(now); state != OK {
		t.Error("the zero latch is not OK")
	}
	l.Failed(now, errTrouble)
	if state, err := l.Check(now.Add(latchTime - 1)); state != Degraded || !errors.Is(err, errTrouble) {
		t.Errorf("%v, %v", state, err)
	}
	if state, _ := l.Check(now.Add(latchTime)); state != OK {
		t.Errorf("%v after its time", state)
	}
}

// One exchange with the table that fails is no trouble of a minute, by which the
// alert is defined; failures that go on are.
func TestLatchIsReportedAgainOnlyWhileFailuresGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		failures int // ten seconds apart
		reported []State
	}{"one": {1, []State{Degraded, OK}}, "for two minutes": {12, []State{Degraded, Degraded, Degraded, OK}}} {
		var l Latch
		set, began := New(Part{Name: "quotas", Check: l.Check}), time.Unix(1_700_000_000, 0)
		var got []State
		for second := range 300 {
			now := began.Add(time.Duration(second) * time.Second)
			if second%10 == 0 && second/10 < c.failures {
				l.Failed(now, errTrouble)
			}
			for _, s := range set.Check(now) {
				got = append(got, s.State)
			}
		}
		if !slices.Equal(got, c.reported) {
			t.Errorf("%s: %v, want %v", name, got, c.reported)
		}
	}
}
