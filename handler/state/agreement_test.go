package state

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/health"
	"spillway/handler/throttle"
)

// Two instances send to a backend that refuses. What the second sends between
// the first one's word and its own next refresh is wasted, and is counted.
func TestDisagreementAndWastedRequestsAreMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			request(fleet[1], 0, served)
		}
		request(fleet[0], 0, throttled(30*time.Second, throttle.Capacity))
		wasted := uint64(0)
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			if request(fleet[1], 0, served) {
				wasted++
			}
		}
		c := fleet[1].Counters()
		if c.Disagreements != 1 || c.Disagreement <= 0 || c.Disagreement > 750*time.Millisecond {
			t.Errorf("%d changes learnt %v late, want one, less than a refresh", c.Disagreements, c.Disagreement)
		}
		// A slice of 50 ms and the clock's tenth of a second either way.
		if wasted == 0 || c.Wasted+3 < wasted || c.Wasted > wasted+3 {
			t.Errorf("%d requests counted as wasted, want about %d", c.Wasted, wasted)
		}
		if own := fleet[0].Counters(); own.Disagreements != 0 || own.Wasted != 0 {
			t.Errorf("the instance that said so itself: %+v", own)
		}
	})
}

func TestAnInstanceThatIsStoppedGivesItsProbeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		fleet := startFleet(t, 2, Config{Store: store})
		trip(t, fleet)
		leaver := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "leaver"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); leaver.Run(ctx) }()
		for range 400 {
			time.Sleep(50 * time.Millisecond)
			leaver.Look()
			leaver.Want(0)
			lookAll(fleet)
			if leaver.Look().Of(0).Probe {
				break
			}
		}
		if !leaver.Look().Of(0).Probe {
			t.Fatal("no probe in 20 s")
		}
		stopped := time.Now()
		cancel()
		<-done
		leaver.Close()
		if took := time.Since(stopped); took > time.Second {
			t.Errorf("it took %v to stop", took)
		}
		ticket, holder := awaitProbe(t, fleet)
		if waited := time.Since(stopped); waited > 2*time.Second {
			t.Errorf("the probe was free only %v after its holder stopped", waited)
		}
		holder.Report(ticket, served)
	})
}

func TestWhyNamesWhatLastHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := startFleet(t, 2, Config{Store: &slowTable{}})
		o := throttled(30*time.Second, throttle.Tokens)
		o.Why = "429 tokens"
		request(fleet[0], 0, o)
		if got := fleet[0].Look().Of(0).Why; got != "429 tokens" {
			t.Errorf("at once, at the instance that was told: %q", got)
		}
		time.Sleep(time.Second)
		if got := fleet[1].Look().Of(0).Why; got != "429 tokens" {
			t.Errorf("a refresh later, at the other: %q", got)
		}
		request(fleet[0], 1, health.Outcome{Verdict: health.Misconfigured, Why: "404 deployment", Signals: health.NoSignals()})
		time.Sleep(time.Second)
		if got := fleet[1].Look().Of(1).Why; got != "404 deployment" {
			t.Errorf("a misconfigured backend: %q", got)
		}
	})
}
