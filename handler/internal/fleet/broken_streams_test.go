package fleet

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

// A stream that breaks after its first content is one failure, not a success besides.
func TestStreamsThatBreakOpenACircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replica := startFleet(t, 1, Config{Store: &slowTable{}, Breakers: []health.BreakerPolicy{{Percentage: 90}, {Percentage: 90}}})[0]
		broken := failed
		broken.Answered = true
		for range 5 {
			if p, ok := replica.Acquire(0, ""); ok {
				replica.ReportAnswered(p)
				time.Sleep(100 * time.Millisecond)
				replica.ReportOutcome(p, broken)
			}
		}
		if got := replica.Snapshot().Of(0).State; got != health.Open {
			t.Errorf("after five streams that broke, of five, the circuit is %v", got)
		}
	})
}

// stream is an attempt whose first content comes after 5 ms, and its end after that
// long; false when the backend is skipped.
func stream(replica *Replica, lasts time.Duration, breaks bool) bool {
	replica.RequestProbe(0)
	p, ok := replica.Acquire(0, "")
	if !ok {
		return false
	}
	end := health.Outcome{Answered: true, Signals: health.NoSignals()}
	if breaks {
		end.Class, end.Reason = health.Failed, "reset"
	}
	go func() {
		time.Sleep(5 * time.Millisecond)
		replica.ReportAnswered(p)
		time.Sleep(lasts)
		replica.ReportOutcome(p, end)
	}()
	return true
}

// Every stream breaks, from one moment on, at a backend that was well: new ones that
// begin meanwhile, and those of before that end well, keep nobody there.
func TestBackendWhoseStreamsBreakIsLeft(t *testing.T) {
	const pause, lasts, window = 25 * time.Millisecond, 100 * time.Millisecond, 10 * time.Second
	for _, c := range []struct {
		instances, most int
		before          time.Duration // how long streams last while the backend is well
	}{{1, 20, lasts}, {1, 20, 8 * time.Second}, {3, 60, lasts}} {
		synctest.Test(t, func(t *testing.T) {
			fleet := startFleet(t, c.instances, Config{Store: &slowTable{}})
			sent := 0
			for i := range int(2 * window / pause) {
				time.Sleep(pause)
				broken := i >= int(window/pause)
				for _, replica := range fleet {
					switch replica.Snapshot(); {
					case !broken:
						stream(replica, c.before, false)
					case stream(replica, lasts, true):
						sent++
					}
				}
			}
			time.Sleep(window)
			t.Logf("%d instances, streams of %v before: %d were broken", c.instances, c.before, sent)
			if sent > c.most {
				t.Errorf("%d instances, streams of %v before: %d were broken, at most %d expected", c.instances, c.before, sent, c.most)
			}
		})
	}
}

// A share of the streams breaks early, and the others are under way for long.
func TestRareBreaksOfStreamsOpenNothing(t *testing.T) {
	for _, share := range []float64{.005, .1} {
		for _, lasts := range []time.Duration{50 * time.Millisecond, 5 * time.Second, time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, 2))
				replica := startFleet(t, 1, Config{Store: &slowTable{}})[0]
				for i := range 4000 { // 100 s
					time.Sleep(25 * time.Millisecond)
					breaks, ends := random.Float64() < share, lasts
					if breaks {
						ends = 30 * time.Millisecond
					}
					if replica.Snapshot(); !stream(replica, ends, breaks) {
						t.Fatalf("%g break, the others last %v: skipped after %d", share, lasts, i)
					}
				}
				time.Sleep(2 * time.Minute)
			})
		}
	}
}
