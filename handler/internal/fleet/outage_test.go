package fleet

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore/chaos"
)

// The table is unreachable for a minute under load. No call of a request may wait,
// and what happened meanwhile is in the table one refresh after its return.
func TestRequestsDoNotWaitForALostTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slowTable{}
		stores := make([]*chaos.Store, 5)
		var fleet []*Replica
		for i := range stores {
			stores[i] = &chaos.Store{Inner: inner}
			replica := start(t, Config{Store: stores[i], Instance: fmt.Sprint(i)})
			replica.Snapshot()
			fleet = append(fleet, replica)
		}
		time.Sleep(5 * time.Second)
		for _, store := range stores {
			store.SetPartitioned(true)
		}
		began := time.Now()
		for i := range 600 {
			for _, replica := range fleet {
				before := time.Now()
				if !request(replica, 1, served) {
					t.Fatalf("skipped %v into the outage", time.Since(began))
				}
				if waited := time.Since(before); waited != 0 {
					t.Fatalf("a request waited %v", waited)
				}
			}
			if i == 550 {
				request(fleet[3], 0, throttled(30*time.Second, health.LimitCapacity))
			}
			time.Sleep(100 * time.Millisecond)
		}
		if c := fleet[0].Counters(); !c.Disconnected || c.SinceContact < 55*time.Second {
			t.Errorf("in the outage: disconnected %v, %v since contact", c.Disconnected, c.SinceContact)
		}
		for _, store := range stores {
			store.SetPartitioned(false)
		}
		// An exchange in progress may time out, each instance then tries again within the
		// longest delay, and another instance reads what it writes.
		for range 14 {
			time.Sleep(time.Second)
			snapshotAll(fleet)
		}
		for i, replica := range fleet {
			if got := replica.Snapshot().Of(0).SkipReason(time.Now(), 1); got != health.SkipThrottled {
				t.Errorf("instance %d after the outage: %q, want the throttle that one instance saw meanwhile", i, got)
			}
			if c := replica.Counters(); c.Disconnected || c.Outage < 55*time.Second || c.Outage > 75*time.Second {
				t.Errorf("instance %d counted an outage of %v, disconnected %v", i, c.Outage, c.Disconnected)
			}
		}
	})
}
