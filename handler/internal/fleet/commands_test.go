package fleet

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

func TestCommandsReachAllInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 5, Config{Store: store})
		command := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "cli"}) // as the command line makes it: it does not run
		if err := command.Drain(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(650 * time.Millisecond)
		for i, replica := range fleet {
			if h := replica.Snapshot().Of(0); h.SkipReason(time.Now(), 1) != health.SkipDrained || h.Reason != "drained by ada" {
				t.Errorf("instance %d one refresh after the drain: %+v", i, h)
			}
			if replica.Snapshot().Of(1).Drained {
				t.Errorf("instance %d has the other backend drained too", i)
			}
		}
		if err := command.Drain(t.Context(), "ptu", "bob"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(650 * time.Millisecond)
		if h := fleet[0].Snapshot().Of(0); !h.Drained || h.Reason != "drained by bob" {
			t.Errorf("drained by a second operator: %+v", h)
		}
		if err := command.Restore(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(650 * time.Millisecond)
		trip(t, fleet)
		request(fleet[0], 1, throttled(time.Minute, health.LimitCapacity))
		time.Sleep(time.Second)
		if err := command.Reset(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		if err := command.Reset(t.Context(), "payg/gpt", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(650 * time.Millisecond)
		for i, replica := range fleet {
			for n := range 2 {
				if h := replica.Snapshot().Of(health.Slot(n)); h.SkipReason(time.Now(), 1) != health.NotSkipped || h.TrafficPercent != 0 {
					t.Errorf("instance %d one refresh after the reset: %+v", i, h)
				}
			}
		}
		err := command.Drain(t.Context(), "pt", "ada")
		if err == nil || !strings.Contains(err.Error(), "ptu, payg") {
			t.Errorf("an unknown backend: %v, want the error to name the known ones", err)
		}
	})
}

// A backend is reset, trips again, and is reset again within a second.
func TestSecondResetWithinASecondWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 2, Config{Store: store})
		for range 4 {
			for range 5 {
				request(fleet[0], 0, failed)
			}
			time.Sleep(120 * time.Millisecond)
			if h := fleet[0].Snapshot().Of(0); h.State != health.Open {
				t.Fatalf("before a reset: %+v", h)
			}
			command := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "cli"})
			if err := command.Reset(t.Context(), "ptu", "ada"); err != nil {
				t.Fatal(err)
			}
			if c := readCircuit(t, fleet[0]); c.State != health.Closed {
				t.Fatalf("after a reset: %+v", c)
			}
		}
	})
}

// The last reset was made by an instance whose estimate of the table's clock was
// half a second ahead.
func TestResetAfterOneWithALaterClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := startFleet(t, 1, Config{Store: store})[0]
		now := time.Now().UnixMilli()
		tripped := health.Record{
			Circuit: health.Circuit{Epoch: uint64(now), State: health.Open, Until: now + 60_000, Since: now, Trips: 1}, ResetAt: now + 500,
			Windows: health.ThrottleWindows{}.Add(health.LimitCapacity, health.ThrottleWindow{Until: now + 60_000}), LastChange: health.Change{At: now},
		}
		addColumns(t, store, replica, map[string]string{replica.slots[0].column: tripped.Encode()})
		if err := replica.Reset(t.Context(), "ptu", "ada"); err != nil {
			t.Fatal(err)
		}
		if h := replica.Snapshot().Of(0); h.SkipReason(time.Now(), 1) != health.NotSkipped {
			t.Errorf("after the second reset: %+v", h)
		}
	})
}

func TestCommandFailsWithoutTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := New(Config{Store: failingStore{}, Slots: []string{"ptu/gpt"}, Instance: "cli"})
		if err := replica.Drain(t.Context(), "ptu", "ada"); err == nil {
			t.Error("Drain succeeds without a table")
		}
		if _, err := replica.ReadState(t.Context()); err == nil {
			t.Error("ReadState succeeds without a table")
		}
	})
}

func TestHeartbeatIsSoonerAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 3, Config{Store: store})
		for range 6 {
			heartbeats := store.sets.Load()
			if err := fleet[0].Drain(t.Context(), "ptu", "ada"); err != nil {
				t.Fatal(err)
			}
			for range 6 {
				time.Sleep(time.Second)
				snapshotAll(fleet)
			}
			got, err := fleet[1].ReadState(t.Context())
			if err != nil || len(got.Instances) != 3 {
				t.Fatalf("%+v, %v", got, err)
			}
			for _, instance := range got.Instances {
				if instance.Revision != got.Revision {
					t.Errorf("6 s after revision %d the heartbeat of %s has %d", got.Revision, instance.Name, instance.Revision)
				}
			}
			if written := store.sets.Load() - heartbeats; written > 2*3 {
				t.Errorf("%d heartbeats of 3 instances about one change", written)
			}
			if err := fleet[0].Restore(t.Context(), "ptu", "ada"); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				time.Sleep(time.Second)
				snapshotAll(fleet)
			}
		}
	})
}

func TestHeartbeatsHaveTheAppliedRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 3, Config{Store: store})
		request(fleet[0], 0, throttled(time.Minute, health.LimitCapacity))
		for range 20 {
			time.Sleep(time.Second)
			snapshotAll(fleet)
		}
		got, err := fleet[2].ReadState(t.Context())
		if err != nil || len(got.Instances) != 3 || got.Revision != 1 {
			t.Fatalf("fleet %+v, %v; want three instances at revision 1", got, err)
		}
		for i, instance := range got.Instances {
			if instance.Revision != 1 || instance.Name != fmt.Sprintf("i%03d", i) || got.At.Sub(instance.At) > 16*time.Second {
				t.Errorf("instance %d has %+v at %v", i, instance, got.At)
			}
		}
		time.Sleep(2 * time.Hour) // all are idle
		if got, err := fleet[0].ReadState(t.Context()); err != nil || len(got.Instances) != 0 {
			t.Errorf("two hours later %d instances count as active, %v", len(got.Instances), err)
		}
		if deleted, err := fleet[0].DeleteStaleHeartbeats(t.Context()); err != nil || deleted != 3 {
			t.Errorf("deleted %d rows of stopped instances, %v; want 3", deleted, err)
		}
	})
}
