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
		o.Tokens, o.Signals.RemainingTokens = 6000, 1000
		request(fleet[0], 0, o)
		if h := fleet[0].Snapshot().Of(0); h.SkipReason(time.Now(), 400) != health.NotSkipped || h.SkipReason(time.Now(), 5000) != health.SkipThrottled {
			t.Errorf("before it is published: %+v, want small prompts admitted and large ones refused", h.Throttle)
		}
		time.Sleep(time.Second)
		for i, replica := range fleet {
			h := replica.Snapshot().Of(0)
			if h.SkipReason(time.Now(), 400) != health.NotSkipped || h.SkipReason(time.Now(), 5000) != health.SkipThrottled {
				t.Errorf("instance %d: %+v, want small prompts admitted and large ones refused", i, h.Throttle)
			}
			if _, ok := replica.Acquire(0, ""); !ok {
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

// The wait of one model binds that model alone, ends, and is nothing for the fleet.
// Callers invent names: they are bounded.
func TestThrottleOfOneModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		of := func(replica *Replica, model string, tokens int64) bool {
			return replica.Snapshot().Of(0).ThrottleOf(model).Blocks(time.Now(), tokens)
		}
		refuse := func(model string, wait time.Duration, kind health.LimitKind) {
			o := throttled(wait, kind)
			o.Model, o.Tokens = model, 6000
			fleet[0].ReportOutcome(health.Permit{Slot: 0}, o)
		}
		refuse("a", 30*time.Second, health.LimitTokens)
		refuse("b", 10*time.Second, health.LimitCapacity)
		if !of(fleet[0], "a", 6000) || of(fleet[0], "a", 5999) || !of(fleet[0], "b", 1) || of(fleet[0], "c", 1<<40) {
			t.Errorf("%v, want a closed from 6000 tokens on, and b", *fleet[0].Snapshot().Of(0).Models)
		}
		time.Sleep(time.Second)
		if h := fleet[0].Snapshot().Of(0); h.SkipReason(time.Now(), 1<<40) != health.NotSkipped {
			t.Errorf("the slot itself: %+v, want it open", h.Throttle)
		}
		if h := fleet[1].Snapshot().Of(0); h.SkipReason(time.Now(), 1<<40) != health.NotSkipped || h.Models != nil {
			t.Errorf("the other instance: %+v, want nothing", h)
		}
		time.Sleep(10 * time.Second)
		if of(fleet[0], "b", 1) || !of(fleet[0], "a", 6000) {
			t.Errorf("after 11 s: %v, want a alone", *fleet[0].Snapshot().Of(0).Models)
		}
		for i := range 10 * maxModelThrottles {
			refuse(fmt.Sprint(i), time.Minute, health.LimitUnknown)
		}
		if n := len(*fleet[0].Snapshot().Of(0).Models); n != maxModelThrottles || !of(fleet[0], "a", 6000) {
			t.Errorf("%d models are kept, want %d, with the first", n, maxModelThrottles)
		}
	})
}

// Whatever the response says is left: a deployment that refused n tokens is not
// asked for n or more.
func TestRefusedSizeIsNotAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		for _, c := range []struct{ tokens, left, admitted int64 }{
			{5000, 1_000_000, 4999}, {5000, -1, 4999}, {5000, 3000, 1500}, {9000, -1, 1500}, {1200, 50_000, 1199}, {1, -1, 0}, {0, 50_000, 0},
		} {
			o := throttled(30*time.Second, health.LimitTokens)
			o.Tokens, o.Signals.RemainingTokens = c.tokens, c.left
			fleet[0].ReportOutcome(health.Permit{Slot: 0}, o)
			time.Sleep(time.Second)
			for i, replica := range fleet {
				h := replica.Snapshot().Of(0)
				if h.SkipReason(time.Now(), c.admitted+1) != health.SkipThrottled || c.admitted > 0 && h.SkipReason(time.Now(), c.admitted) != health.NotSkipped {
					t.Errorf("instance %d after %d tokens were refused, with %d left: %+v, want %d admitted", i, c.tokens, c.left, h.Throttle, c.admitted)
				}
			}
		}
	})
}

// A failure is evidence for the circuit and no more, whatever wait it names.
func TestFailureIsNoThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 2, Config{Store: store})
		for range 50 {
			request(fleet[0], 0, served)
		}
		request(fleet[0], 0, health.Outcome{Class: health.Failed, Reason: "503", Wait: 30 * time.Second, Limit: health.LimitCapacity, Signals: health.NoSignals()})
		time.Sleep(time.Second)
		for i, replica := range fleet {
			if h := replica.Snapshot().Of(0); h.SkipReason(time.Now(), 1) != health.NotSkipped {
				t.Errorf("instance %d: %+v", i, h)
			}
		}
		if n := store.replaces.Load(); n != 0 {
			t.Errorf("%d writes about one failure of many", n)
		}
	})
}

// A wait that ends before others can know of it stays this instance's own.
func TestShortWaitIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := startFleet(t, 1, Config{Store: store})[0]
		for range 50 {
			request(replica, 0, throttled(replica.cfg.Refresh, health.LimitProvisioned))
			if request(replica, 0, served) {
				t.Fatal("sent during the wait")
			}
			time.Sleep(replica.cfg.Refresh)
			if !request(replica, 0, served) {
				t.Fatal("skipped after the wait")
			}
		}
		if got := store.replaces.Load(); got != 0 {
			t.Errorf("%d writes about waits of one refresh", got)
		}
		request(replica, 0, throttled(replica.cfg.Refresh+time.Millisecond, health.LimitProvisioned))
		time.Sleep(time.Second)
		if store.replaces.Load() == 0 {
			t.Error("a longer wait is not published")
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
		if got := store.replaces.Load(); got != 1 {
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
			fleet := startFleet(t, 2, Config{Store: store, Group: fmt.Sprint(c.want), Throttles: []health.ThrottlePolicy{{LeaveAt: c.policy}}})
			full := health.NoSignals()
			full.Utilization = 97
			puts := store.replaces.Load()
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
			if writes := store.replaces.Load() - puts; writes > 1 {
				t.Errorf("leave at %+v: %d writes for one change of level", c.policy, writes)
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
