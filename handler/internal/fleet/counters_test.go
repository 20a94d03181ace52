package fleet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

// Two instances send to a backend that throttles. What the second one sends
// between the first one's write and its own next refresh is counted as stale.
func TestDisagreementAndStaleRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 20
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		stale := 0
		for range rounds {
			time.Sleep(3 * time.Second)
			request(fleet[0], 0, throttled(2*time.Second, health.LimitCapacity))
			for range 40 {
				time.Sleep(25 * time.Millisecond)
				if request(fleet[1], 0, served) {
					stale++
				}
			}
		}
		c, own := fleet[1].Counters(), fleet[0].Counters()
		t.Logf("%d changes applied %v late in all; %d stale requests, %d counted", c.Disagreements, c.Disagreement, stale, c.StaleRequests)
		if c.Disagreements != rounds || c.Disagreement <= 0 || c.Disagreement > rounds*750*time.Millisecond {
			t.Errorf("%d changes applied %v late, want %d, each by less than a refresh", c.Disagreements, c.Disagreement, rounds)
		}
		// The clock is known to a tenth of a second either way; the mean is better.
		if off := int(c.StaleRequests) - stale; stale == 0 || max(off, -off) > 2*rounds {
			t.Errorf("%d requests counted as stale, want %d", c.StaleRequests, stale)
		}
		if own.Disagreements != 0 || own.StaleRequests != 0 {
			t.Errorf("the instance that wrote the changes: %+v", own)
		}
	})
}

func TestStoppedInstanceReturnsItsProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 2, Config{Store: store})
		trip(t, fleet)
		leaving := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "leaving"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); leaving.Run(ctx) }()
		for range 400 {
			time.Sleep(50 * time.Millisecond)
			leaving.Snapshot()
			leaving.RequestProbe(0)
			snapshotAll(fleet)
			if leaving.Snapshot().Of(0).Probe {
				break
			}
		}
		if !leaving.Snapshot().Of(0).Probe {
			t.Fatal("no probe in 20 s")
		}
		stopped := time.Now()
		cancel()
		<-done
		leaving.Close()
		if took := time.Since(stopped); took > time.Second {
			t.Errorf("stopping took %v", took)
		}
		permit, holder := awaitProbe(t, fleet)
		if waited := time.Since(stopped); waited > 2*time.Second {
			t.Errorf("the probe was free %v after its holder stopped, want within 2 s", waited)
		}
		holder.ReportOutcome(permit, served)
	})
}

func TestReasonIsThatOfTheLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		o := throttled(30*time.Second, health.LimitTokens)
		o.Reason = "429 tokens"
		request(fleet[0], 0, o)
		if got := fleet[0].Snapshot().Of(0).Reason; got != "429 tokens" {
			t.Errorf("at once, at the instance with the 429: %q", got)
		}
		time.Sleep(time.Second)
		if got := fleet[1].Snapshot().Of(0).Reason; got != "429 tokens" {
			t.Errorf("one refresh later, at the other: %q", got)
		}
		for range 5 {
			request(fleet[0], 1, failed)
		}
		time.Sleep(time.Second)
		if got := fleet[1].Snapshot().Of(1).Reason; got != "503" {
			t.Errorf("a backend that failed at the other: %q", got)
		}
	})
}
