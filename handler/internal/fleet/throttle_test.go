package fleet

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

func TestTokenLimitAdmitsSmallPrompts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		o := throttled(30*time.Second, health.LimitTokens)
		o.Signals.RemainingTokens = 1000
		request(fleet[0], 0, o)
		time.Sleep(time.Second)
		for i, replica := range fleet {
			h := replica.Snapshot().Of(0)
			if h.SkipReason(time.Now(), 400) != health.NotSkipped || h.SkipReason(time.Now(), 5000) != health.SkipThrottled {
				t.Errorf("instance %d: %+v, want small prompts admitted and large ones refused", i, h.Throttle)
			}
			if _, ok := replica.Acquire(0); !ok {
				t.Errorf("instance %d: no permit for a small prompt", i)
			}
		}
		o.Signals.RemainingTokens = 0
		fleet[1].ReportOutcome(health.Permit{Slot: 0}, o)
		time.Sleep(time.Second)
		for i, replica := range fleet {
			if got := replica.Snapshot().Of(0).SkipReason(time.Now(), 1); got != health.SkipThrottled {
				t.Errorf("instance %d after the tokens are used up: %q", i, got)
			}
		}
	})
}

// The estimate of the service's clock improves all the time; a published window is
// not written again for that.
func TestThrottleWindowIsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := start(t, Config{Store: store, Instance: "i"})
		replica.Snapshot()
		time.Sleep(700 * time.Millisecond)
		request(replica, 0, throttled(time.Minute, health.LimitCapacity))
		for range 50 {
			time.Sleep(time.Second)
			replica.Snapshot()
		}
		if got := store.puts.Load(); got != 1 {
			t.Errorf("%d writes for one window, want one", got)
		}
	})
}

func TestSaturatedBackendGetsALowerShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		for _, c := range []struct {
			policy health.LeaveAt
			want   uint8
		}{{health.LeaveAt{Utilization: 95}, 50}, {health.LeaveAt{}, 0}} {
			fleet := startFleet(t, 2, Config{Store: store, Group: fmt.Sprint(c.want), Throttle: health.ThrottlePolicy{LeaveAt: c.policy}})
			full := health.NoSignals()
			full.Utilization = 97
			puts := store.puts.Load()
			for range 100 {
				fleet[0].ReportSignals(0, full)
			}
			if got := fleet[0].Snapshot().Of(0).TrafficPercent; got != c.want {
				t.Errorf("leave at %+v: the instance that saw it has a share of %d, want %d", c.policy, got, c.want)
			}
			time.Sleep(time.Second)
			if got := fleet[1].Snapshot().Of(0).TrafficPercent; got != c.want {
				t.Errorf("leave at %+v: the other has a share of %d, want %d", c.policy, got, c.want)
			}
			if writes := store.puts.Load() - puts; writes > 1 {
				t.Errorf("%d writes for one change of level", writes)
			}
			time.Sleep(6 * time.Second)
			snapshotAll(fleet)
			time.Sleep(time.Second)
			if got := fleet[1].Snapshot().Of(0).TrafficPercent; got != 0 {
				t.Errorf("share %d after the level expired, want all", got)
			}
		}
	})
}
