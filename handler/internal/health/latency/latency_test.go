package latency

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/health"
)

func fill(t *Tracker, s int, k Kind, n int, took time.Duration) {
	for range n {
		t.Record(health.Slot(s), k, took)
	}
}

func wantAbout(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+want/4+time.Millisecond {
		t.Errorf("%s: %v, want %v to %v", what, got, want, want+want/4)
	}
}

func TestThresholdBorrowsFromSlotAndModel(t *testing.T) {
	tr := New([]int{0, 0, 1})
	stream, plain := KindOf(true, 0, DefaultEffort), KindOf(false, 0, DefaultEffort)
	if tr.Threshold(0, stream) != 10*time.Second || tr.Threshold(0, plain) != 30*time.Second {
		t.Errorf("unknown: %v and %v, want 10 s and 30 s", tr.Threshold(0, stream), tr.Threshold(0, plain))
	}
	fill(tr, 0, stream, 19, 4*time.Second)
	if got := tr.Threshold(0, stream); got != 10*time.Second {
		t.Errorf("from 19 answers: %v, want 10 s", got)
	}
	fill(tr, 0, stream, 1, 4*time.Second)
	wantAbout(t, "the kind", tr.Threshold(0, stream), 12*time.Second)
	wantAbout(t, "another kind, from the slot", tr.Threshold(0, plain), 12*time.Second)
	wantAbout(t, "another slot, from the model", tr.Threshold(1, plain), 12*time.Second)
	if got := tr.Threshold(2, plain); got != 30*time.Second {
		t.Errorf("another model: %v, want 30 s", got)
	}
	high := KindOf(true, LargePrompt, HighEffort)
	fill(tr, 0, high, 20, 20*time.Second)
	wantAbout(t, "large and reasoning", tr.Threshold(0, high), time.Minute)
	wantAbout(t, "the small ones", tr.Threshold(0, stream), 12*time.Second)
	fill(tr, 1, plain, 20, 10*time.Millisecond)
	if got := tr.Threshold(1, plain); got != 2*time.Second {
		t.Errorf("fast: %v, want at least 2 s", got)
	}
}

func TestThresholdLeavesTheCallerHalfOfItsTime(t *testing.T) {
	tr := New([]int{0})
	for patience, want := range map[time.Duration]time.Duration{2 * time.Second: time.Second, 100 * time.Millisecond: 500 * time.Millisecond, time.Hour: 30 * time.Second} {
		if got := tr.ThresholdWithin(0, 0, patience); got != want {
			t.Errorf("unknown, %v left: %v, want %v", patience, got, want)
		}
	}
	fill(tr, 0, 0, 20, time.Second)
	for patience, want := range map[time.Duration]time.Duration{2 * time.Second: 3 * time.Second, 7 * time.Second: 3 * time.Second} {
		wantAbout(t, "usually a second", tr.ThresholdWithin(0, 0, patience), want)
	}
}

func TestUsualFollowsRecentAnswers(t *testing.T) {
	tr := New([]int{0})
	if tr.Usual(0) != 0 || tr.Usual(7) != 0 {
		t.Error("want 0 while nothing is known")
	}
	fill(tr, 0, 0, 1000, 100*time.Millisecond)
	wantAbout(t, "usual", tr.Usual(0), 100*time.Millisecond)
	fill(tr, 0, 0, 2*perGeneration, 10*time.Second)
	wantAbout(t, "after all became slow", tr.Usual(0), 10*time.Second)
	fill(tr, 0, 0, 2*perGeneration, 100*time.Millisecond)
	wantAbout(t, "after all became fast again", tr.Usual(0), 100*time.Millisecond)
}

func TestPercentileIsWithinABucketOfTheExactOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var h histogram
		var all []time.Duration
		for range 200 {
			took := time.Duration(float64(time.Millisecond) * (1 + rnd.ExpFloat64()*rnd.ExpFloat64()*5000))
			h.record(took)
			all = append(all, took)
		}
		slices.Sort(all)
		wantAbout(t, "p95", h.percentile(0.95), all[189])
	}
}

func TestOnTime(t *testing.T) {
	tr := New([]int{0})
	if !tr.OnTime(0) || !tr.OnTime(9) || !(*Tracker)(nil).OnTime(0) {
		t.Error("want the unknown on time")
	}
	since := tr.BeginOverdue(0)
	if tr.OnTime(0) {
		t.Error("on time with a silent attempt under way")
	}
	tr.EndOverdue(0, since)
	if !tr.OnTime(0) {
		t.Error("not on time after the silent attempt ended")
	}
	since = tr.BeginOverdue(0)
	fill(tr, 0, 0, 1, time.Second)
	if !tr.OnTime(0) {
		t.Error("not on time after an answer that was sent later than the silent attempt")
	}
	second := tr.BeginOverdue(0)
	tr.EndOverdue(0, since)
	if tr.OnTime(0) {
		t.Error("on time with a second silent attempt under way")
	}
	tr.EndOverdue(0, second)
	fill(tr, 0, 0, 1, time.Minute)
	if tr.OnTime(0) {
		t.Error("on time although the last answer came late")
	}
	fill(tr, 0, 0, 1, time.Second)
	if !tr.OnTime(0) {
		t.Error("not on time after an answer in time")
	}
}

func TestRecordAndThresholdDoNotAllocate(t *testing.T) {
	tr := New([]int{0})
	fill(tr, 0, 1, 1, time.Second)
	if n := testing.AllocsPerRun(1000, func() {
		tr.Record(0, 1, time.Second)
		tr.Threshold(0, 1)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	tr := New([]int{0})
	for i := range b.N {
		tr.Record(0, 1, time.Duration(i%5000)*time.Millisecond)
	}
}

func BenchmarkThreshold(b *testing.B) {
	tr := New([]int{0})
	fill(tr, 0, 1, 100, time.Second)
	for range b.N {
		tr.Threshold(0, 1)
	}
}
