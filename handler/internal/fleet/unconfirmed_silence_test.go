package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

// While nothing is served anywhere, the silence may be this instance's own.
func TestSilenceOfEverythingCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := startFleet(t, 1, Config{Store: store})[0]
		request(replica, 0, served)
		time.Sleep(time.Second)
		a, b := acquire(t, replica, 0, 20), acquire(t, replica, 1, 20)
		time.Sleep(30 * time.Second)
		reportSilent(replica, a)
		reportSilent(replica, b)
		if countState([]*Replica{replica}, 0, health.Closed) != 1 || countState([]*Replica{replica}, 1, health.Closed) != 1 || store.replaces.Load() != 0 {
			t.Errorf("everything fell silent: %+v, %+v, %d writes", replica.Snapshot().Of(0), replica.Snapshot().Of(1), store.replaces.Load())
		}
		replica.ReportAnswered(a[0]) // so the instance is in order, and slot 1 is not
		if replica.Snapshot().Of(1).State != health.Closed {
			t.Error("counted at once, though all may recover together")
		}
		replica.Snapshot()
		time.Sleep(time.Second)
		if replica.Snapshot().Of(1).State != health.Open {
			t.Errorf("twenty silent attempts while another backend served: %+v", replica.Snapshot().Of(1))
		}
	})
}

// While nothing is served anywhere, attempts whose callers left must not add up
// without bound, nor count when something is served much later.
func TestUnconfirmedSilenceIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		for n := range 1000 {
			hanging := acquire(t, replica, health.Slot(n%2), 1)
			time.Sleep(2 * time.Second)
			reportSilent(replica, hanging)
			replica.ReportOutcome(hanging[0], health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()})
		}
		if n := len(replica.unconfirmed); n > 100 {
			t.Errorf("%d attempts of the last half an hour are still unconfirmed", n)
		}
	})
}

// Nothing else is asked while a slot is silent: it is the slot, whether callers stay
// or leave, and it is left.
func TestOnlySlotThatIsAskedIsLeft(t *testing.T) {
	for _, stays := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
			for range 50 {
				request(replica, 0, served)
				time.Sleep(100 * time.Millisecond)
			}
			began, sent := time.Now(), 0
			for ; replica.Snapshot().Of(0).State == health.Closed && time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
				hanging := acquire(t, replica, 0, 1)
				sent++
				time.AfterFunc(2*time.Second, func() {
					reportSilent(replica, hanging)
					if !stays {
						replica.ReportOutcome(hanging[0], health.Outcome{Class: health.Abandoned, Signals: health.NoSignals()})
					}
				})
			}
			if sent > 50 {
				t.Errorf("callers stay: %v: %d sent to a silent slot before it was left", stays, sent)
			}
		})
	}
}

// Two slots are silent and a third was never asked: they are left, or it never would be.
// Where it is not there for requests, they are not.
func TestSilentSlotsAreLeftForOneThatWasNotAsked(t *testing.T) {
	for _, drained := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			replica := startFleet(t, 1, Config{Store: &slowTable{}, Slots: []string{"a/gpt", "b/gpt", "c/gpt", Spare}})[0]
			request(replica, 0, served)
			request(replica, 1, served)
			if drained {
				if err := replica.Drain(t.Context(), "c", "operator"); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			for range 40 {
				a, b := acquire(t, replica, 0, 1), acquire(t, replica, 1, 1)
				time.AfterFunc(2*time.Second, func() {
					reportSilent(replica, a)
					reportSilent(replica, b)
				})
				time.Sleep(100 * time.Millisecond)
				if s := replica.Snapshot(); s.Of(0).State != health.Closed || s.Of(1).State != health.Closed {
					break
				}
			}
			time.Sleep(2 * time.Second)
			for slot := range health.Slot(2) {
				if left := replica.Snapshot().Of(slot).State != health.Closed; left == drained {
					t.Errorf("the third slot is drained: %v, slot %d is left: %v", drained, slot, left)
				}
			}
		})
	}
}

// What was silent has ended before it is confirmed: nothing is left to confirm.
func TestUnconfirmedSilenceThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
		time.Sleep(time.Minute)
		hanging := acquire(t, replica, 0, 1)
		time.Sleep(2 * time.Second)
		reportSilent(replica, hanging)
		replica.ReportOutcome(hanging[0], health.Outcome{Class: health.Failed, Reason: "eof", Signals: health.NoSignals()})
		for range 60 {
			replica.Snapshot()
			time.Sleep(time.Second)
		}
		if replica.unsureCount.Load() != 0 || replica.confirmAt != 0 {
			t.Errorf("%d are unconfirmed, to be confirmed at %v", replica.unsureCount.Load(), replica.confirmAt)
		}
	})
}
