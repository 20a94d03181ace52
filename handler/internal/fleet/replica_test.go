package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// instance runs a replica until the test ends. For synctest bubbles.
func instance(t *testing.T, store tablestore.Store, name string, slots ...string) *Replica {
	t.Helper()
	replica := New(Config{Store: store, Slots: slots, Instance: name})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); replica.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; replica.Close() })
	return replica
}

// request makes one attempt that ends at once with the outcome; false if it was
// skipped.
func request(replica *Replica, n health.Slot, o health.Outcome) bool {
	if replica.Snapshot().Of(n).SkipReason(time.Now(), 100) != health.NotSkipped {
		replica.RequestProbe(n)
		return false
	}
	permit, ok := replica.Acquire(n, "")
	if !ok {
		return false
	}
	if _, ok := replica.RenewProbe(permit); !ok {
		replica.Release(permit)
		return false
	}
	replica.ReportOutcome(permit, o)
	return true
}

var (
	served = health.Outcome{Signals: health.NoSignals()}
	failed = health.Outcome{Class: health.Failed, Reason: "503", Signals: health.NoSignals()}
)

func throttled(wait time.Duration, kind health.LimitKind) health.Outcome {
	return health.Outcome{Class: health.Throttled, Wait: wait, Limit: kind, Reason: "429", Signals: health.NoSignals()}
}

func TestThrottleSeenByOneInstanceBindsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory.Store{}
		a, b := instance(t, store, "a", "ptu/gpt"), instance(t, store, "b", "ptu/gpt")
		a.Snapshot()
		b.Snapshot()
		time.Sleep(2 * time.Second)
		if !request(a, 0, throttled(7*time.Second, health.LimitProvisioned)) {
			t.Fatal("a healthy backend was skipped")
		}
		if request(a, 0, served) {
			t.Error("the throttled instance sent another request")
		}
		time.Sleep(700 * time.Millisecond)
		h := b.Snapshot().Of(0)
		if got := h.SkipReason(time.Now(), 1); got != health.SkipThrottled {
			t.Fatalf("the other instance after one refresh: %q, want throttled (%+v)", got, h)
		}
		if a.Snapshot().Of(0).State != health.Closed {
			t.Error("a 429 tripped the breaker")
		}
		time.Sleep(6*time.Second + 299*time.Millisecond)
		if request(a, 0, served) {
			t.Error("the throttled instance sent a request before the end")
		}
		time.Sleep(time.Millisecond)
		if !request(a, 0, served) {
			t.Error("the throttled instance sends no request at the millisecond of the end")
		}
	})
}

func TestFailuresAddUpAndOneProbeCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory.Store{}
		var fleet []*Replica
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			replica := instance(t, store, name, "x/gpt")
			replica.Snapshot()
			fleet = append(fleet, replica)
		}
		time.Sleep(3 * time.Second)
		for _, replica := range fleet {
			if !request(replica, 0, failed) {
				t.Fatal("skipped before the trip")
			}
		}
		time.Sleep(2200 * time.Millisecond) // two refreshes in which others may object, and one to read
		for i, replica := range fleet {
			if p := replica.Snapshot().Of(0).State; p != health.Open {
				t.Errorf("instance %d after five failures in the fleet: %v, want open", i, p)
			}
		}
		time.Sleep(8 * time.Second)
		probes := 0
		for range 60 {
			time.Sleep(50 * time.Millisecond)
			for _, replica := range fleet {
				if replica.Snapshot().Of(0).State != health.Closed && request(replica, 0, served) {
					probes++
				}
			}
		}
		if probes != 1 {
			t.Errorf("%d probes, want one in the whole fleet", probes)
		}
		for i, replica := range fleet {
			if h := replica.Snapshot().Of(0); h.State != health.Closed || h.TrafficPercent != 10 {
				t.Errorf("instance %d after the probe: %+v, want closed at a share of 10", i, h)
			}
		}
		time.Sleep(11 * time.Second)
		for i, replica := range fleet {
			if h := replica.Snapshot().Of(0); h.TrafficPercent != 0 {
				t.Errorf("instance %d at the ramp's end: share %d, want all", i, h.TrafficPercent)
			}
		}
	})
}

// failingStore is an unreachable table.
type failingStore struct{ tablestore.Store }

func (failingStore) Get(context.Context, string, string) (tablestore.Row, tablestore.Response, error) {
	return tablestore.Row{}, tablestore.Response{}, tablestore.ErrUnknown
}

func (failingStore) Upsert(context.Context, tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return "", tablestore.Response{}, tablestore.ErrUnknown
}

func (failingStore) List(context.Context, string, string, string) ([]tablestore.Row, tablestore.Response, error) {
	return nil, tablestore.Response{}, tablestore.ErrUnknown
}

func (failingStore) Replace(context.Context, tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return "", tablestore.Response{}, errors.Join(tablestore.ErrUnknown)
}

func TestInstancesProbeLocallyWithoutTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := instance(t, failingStore{}, "a", "x/gpt")
		replica.Snapshot()
		time.Sleep(time.Second)
		for range 5 {
			if !request(replica, 0, failed) {
				t.Fatal("skipped before the trip")
			}
		}
		if request(replica, 0, served) {
			t.Error("a request was sent after five failures")
		}
		time.Sleep(21 * time.Second)
		if !request(replica, 0, served) {
			t.Errorf("no local probe after the trip: %+v", replica.Snapshot().Of(0))
		}
		if h := replica.Snapshot().Of(0); h.State != health.Closed {
			t.Errorf("after a served local probe: %+v", h)
		}
	})
}
