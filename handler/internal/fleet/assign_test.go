package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore/memory"
)

// fail reports so many failed attempts.
func failAttempts(r *Replica, n health.Slot, times int) {
	for range times {
		if t, ok := r.Acquire(n, ""); ok {
			r.ReportOutcome(t, health.Outcome{Class: health.Failed, Reason: "500"})
		}
	}
}

// A deployment whose policy changes gets another slot, in which its circuit, its
// throttle and an operator's drain go on; the old slot is a spare.
func TestAssignedSlotsInheritWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		names := []string{"ptu/gpt", "payg/gpt", Spare, Spare}
		r := start(t, Config{Store: store, Slots: names, Identities: names, Instance: "i"})
		r.Snapshot()
		time.Sleep(5 * time.Second)
		r.Snapshot()
		failAttempts(r, 0, 6)
		permit, _ := r.Acquire(1, "")
		r.ReportOutcome(permit, health.Outcome{Class: health.Throttled, Limit: health.LimitRequests, Wait: time.Minute, Reason: "429"})
		r.ReportOutcome(permit, health.Outcome{Class: health.Throttled, Model: "o3", Wait: time.Minute, Reason: "429"})
		time.Sleep(time.Second)
		if err := r.Drain(t.Context(), "payg", "alice"); err != nil {
			t.Fatal(err)
		}
		was := *r.Snapshot()
		if was.Of(0).State != health.Open || !was.Of(1).Drained || was.Of(1).Throttle.Until.IsZero() {
			t.Fatalf("before: %+v, %+v", was.Of(0), was.Of(1))
		}
		r.Assign(2, "ptu/gpt", "ptu/gpt", health.BreakerPolicy{Failures: 9}, health.ThrottlePolicy{})
		r.Assign(3, "payg/gpt", "payg/gpt", health.BreakerPolicy{}, health.ThrottlePolicy{MaxWait: time.Hour})
		is := r.Snapshot()
		if is.Of(2).State != health.Open || !is.Of(2).Until.Equal(was.Of(0).Until) || !is.Of(3).Drained || !is.Of(3).Throttle.Until.Equal(was.Of(1).Throttle.Until) || is.Of(3).ThrottleOf("o3") != was.Of(1).ThrottleOf("o3") {
			t.Errorf("after: %+v, %+v", is.Of(2), is.Of(3))
		}
		failAttempts(r, 0, 20) // of requests under way on the old slot
		if err := r.Restore(t.Context(), "payg", "alice"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.Snapshot()
		if r.Snapshot().Of(3).Drained {
			t.Error("the restored backend is drained still")
		}
		state, err := r.ReadState(t.Context())
		if err != nil || len(state.Slots) != 2 {
			t.Errorf("%d slots, %v", len(state.Slots), err)
		}
		rows, _, err := store.List(t.Context(), "fleet|default", "", "")
		if err != nil || len(rows) != 1 || rows[0].Columns[""] != "" {
			t.Errorf("%v, %v", rows, err)
		}
	})
}

// A deployment that is new here but known to others has their record at once; one
// that was dropped is foreign.
func TestAssignedSlotsHaveTheFleetsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		mine := []string{"ptu/gpt", Spare}
		a := start(t, Config{Store: store, Slots: mine, Identities: mine, Instance: "a"})
		b := start(t, Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "b"})
		a.Snapshot()
		b.Snapshot()
		time.Sleep(5 * time.Second)
		if err := b.Drain(t.Context(), "payg", "bob"); err != nil {
			t.Fatal(err)
		}
		a.Snapshot()
		time.Sleep(time.Second)
		a.Assign(1, "payg/gpt", "payg/gpt", health.BreakerPolicy{}, health.ThrottlePolicy{})
		if !a.Snapshot().Of(1).Drained {
			t.Error("the new slot does not know that the backend is drained")
		}
		a.Drop(1)
		if err := b.Restore(t.Context(), "payg", "bob"); err != nil {
			t.Fatal(err)
		}
		a.Snapshot()
		time.Sleep(2 * time.Second)
		if err := a.Drain(t.Context(), "payg", "alice"); err == nil {
			t.Error("a dropped backend can be drained")
		}
	})
}

func TestCountedWindowsAreInherited(t *testing.T) {
	old, now := newWindowCounter(10*time.Second, 16), 100*time.Second
	for i := range 10 {
		old.add(now-time.Duration(i)*time.Second, 1)
	}
	for _, over := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		w := newWindowCounter(over, 16)
		w.inherit(&old)
		got, want := w.since(now-min(over, 5*time.Second), now), old.since(now-min(over, 5*time.Second), now)
		if got < want-1 || got > want+1 {
			t.Errorf("a window of %v: %d, want %d", over, got, want)
		}
	}
}
