package proxy_test

import (
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
	"spillway/handler/internal/proxy"
)

func TestHangingBackendCostsTheThresholdNotTheTimeout(t *testing.T) {
	w := newWorld(4, 2)
	w.behaviour = always(hangs, serves)
	w.openAfter = 0
	w.usual(100 * time.Millisecond)
	for i := range 50 {
		w.arrive(time.Duration(i)*time.Second, plain())
	}
	w.run()
	for _, q := range w.requests {
		if took := q.ended.Sub(q.began); q.end.Err != nil || took > 2*time.Second+200*time.Millisecond || len(q.sends) > 2 {
			t.Errorf("%v after %v, %d attempts", q.end.Err, took, len(q.sends))
		}
	}
	if w.silent != w.sentTo[0] {
		t.Errorf("%d silences of %d", w.silent, w.sentTo[0])
	}
}

// Whoever meets one hanging backend after the other is served by the third: a request
// is at two backends at once at most.
func TestTwoHangingBackendsOfThree(t *testing.T) {
	w := newWorld(4, 4)
	w.behaviour = always(hangs, hangs, hangs, serves)
	w.openAfter = 0
	w.usual(100 * time.Millisecond)
	for i := range 6 {
		w.arrive(time.Duration(i)*20*time.Millisecond, plain())
	}
	w.run()
	for _, q := range w.requests {
		if took := q.ended.Sub(q.began); q.end.Err != nil || took > 6*time.Second+200*time.Millisecond || q.maxAlive > 2 {
			t.Errorf("%v after %v, %d attempts at once", q.end.Err, took, q.maxAlive)
		}
	}
}

// The stand-in's last answer was late, long ago: it is asked by one, and by all when
// that one is served.
func TestLateAnswerOfTheStandInIsForgotten(t *testing.T) {
	w := newWorld(4, 2)
	w.behaviour = always(hangs, serves)
	w.openAfter = 0
	w.usual(100 * time.Millisecond)
	w.env.Latency.Record(1, 0, 3500*time.Millisecond)
	for i := range 20 {
		w.arrive(time.Duration(i)*20*time.Millisecond, plain())
	}
	w.run()
	for _, q := range w.requests {
		if took := q.ended.Sub(q.began); q.end.Err != nil || took > 4*time.Second {
			t.Errorf("%v after %v", q.end.Err, took)
		}
	}
}

// Who may have no second attempt is given another backend in the place of a silent one.
func TestSilentAttemptIsReplacedWhereNoSecondIsGranted(t *testing.T) {
	w := newWorld(4, 2)
	w.behaviour = always(hangs, serves)
	w.usual(100 * time.Millisecond)
	q := w.arrive(0, &proxy.Request{Another: func() (func(), bool) { return nil, false }})
	w.run()
	if took := q.ended.Sub(q.began); q.end.Err != nil || took > 3*time.Second || q.maxAlive > 1 {
		t.Errorf("%v after %v, %d attempts at once", q.end.Err, took, q.maxAlive)
	}
}

// A request that takes long everywhere, while others are served there, keeps its two
// attempts.
func TestLongRequestIsNotGivenUp(t *testing.T) {
	w := newWorld(4, 3)
	w.openAfter = 0
	w.usual(100 * time.Millisecond)
	long := w.arrive(0, plain())
	w.behaviour = func(int, int) reaction {
		if len(long.sends) < 2 || long.sends[len(long.sends)-1].at.Equal(w.now) {
			return reaction{after: 30 * time.Second}
		}
		return serves
	}
	for i := range 400 {
		w.arrive(2100*time.Millisecond+time.Duration(i)*50*time.Millisecond, plain())
	}
	w.run()
	if took := long.ended.Sub(long.began); long.end.Err != nil || took > 31*time.Second || len(long.sends) != 2 {
		t.Errorf("%v after %v, %d attempts: want the first one to serve", long.end.Err, took, len(long.sends))
	}
}

func TestNoHedgeWhenEverythingSlowedTogether(t *testing.T) {
	w := newWorld(5, 3)
	slow := reaction{after: 30 * time.Second}
	w.behaviour = always(slow, slow, slow)
	w.openAfter = 0
	w.usual(300 * time.Millisecond)
	for s := range 3 {
		w.env.Latency.Record(health.Slot(s), 0, 30*time.Second) // its last answer was late
	}
	for i := range 50 {
		w.arrive(time.Duration(i)*20*time.Millisecond, plain())
	}
	w.run()
	hedges := 0
	for _, q := range w.requests {
		if hedges += len(q.sends) - 1; q.end.Err != nil {
			t.Errorf("%d attempts, %v: want the first to serve", len(q.sends), q.end.Err)
		}
	}
	if hedges > 3 {
		t.Errorf("%d hedges, want at most one to each backend, once it is idle", hedges)
	}
}

// When every backend hung and one answers again, those who wait are served by it, and
// not only who comes later.
func TestWhoHungIsServedWhenABackendAnswersAgain(t *testing.T) {
	for backends := 1; backends <= 3; backends++ {
		w := newWorld(4, backends)
		w.openAfter = 0
		w.usual(100 * time.Millisecond)
		well := w.now.Add(30 * time.Second)
		w.behaviour = func(slot, _ int) reaction {
			if slot > 0 || w.now.Before(well) {
				return hangs
			}
			return serves
		}
		for i := range 40 {
			w.arrive(time.Duration(i)*100*time.Millisecond, plain())
		}
		w.arrive(30*time.Second, plain())
		w.run()
		for _, q := range w.requests {
			if after := q.ended.Sub(well); q.end.Err != nil || after > 4*time.Second || q.maxAlive > 2 {
				t.Errorf("%d backends: %v %v after the first is well again, %d attempts", backends, q.end.Err, after, len(q.sends))
			}
		}
	}
}

// The only stand-in is throttled for a moment: it is asked again.
func TestSilentRequestAsksAThrottledStandInAgain(t *testing.T) {
	w := newWorld(4, 2)
	w.behaviour = func(slot, n int) reaction {
		switch {
		case slot == 0:
			return hangs
		case n < 2:
			return reaction{after: time.Millisecond, status: 429, outcome: health.Outcome{Class: health.Throttled, Wait: time.Second}}
		}
		return serves
	}
	w.usual(100 * time.Millisecond)
	q := w.arrive(0, plain())
	w.run()
	if took := q.ended.Sub(q.began); q.end.Err != nil || took > 7*time.Second {
		t.Errorf("%v after %v, %d attempts", q.end.Err, took, len(q.sends))
	}
}

// Where answers usually take 4.5 s, two of three backends hang, and callers wait 30 s,
// the third is asked in time.
func TestSecondHangingBackendIsWaitedForLess(t *testing.T) {
	w := newWorld(4, 3)
	w.openAfter = 0
	usual := reaction{after: 4500 * time.Millisecond}
	w.behaviour = always(hangs, usual, hangs) // by priority: a, c, b
	for s := range 3 {
		w.pool.Backends[s].Priority = []int{1, 3, 2}[s]
	}
	w.usual(4500 * time.Millisecond)
	for i := range 80 {
		w.arrive(time.Duration(i)*100*time.Millisecond, plain()).budget = 30 * time.Second
	}
	w.run()
	for i, q := range w.requests {
		if took := q.ended.Sub(q.began); q.end.Err != nil || q.over {
			t.Errorf("request %d: %v after %v, %d attempts", i, q.end.Err, took, len(q.sends))
		}
	}
}

// What is usual becomes known while a request waits.
func TestThresholdIsThatOfNow(t *testing.T) {
	w := newWorld(4, 2)
	w.openAfter = 0
	w.behaviour = always(hangs, serves)
	w.env.Latency = latency.New([]int{0, 0})
	q := w.arrive(0, plain())
	w.in(3*time.Second, func() {
		w.usual(100*time.Millisecond, 1)
	})
	w.run()
	if took := q.ended.Sub(q.began); q.end.Err != nil || took > 5*time.Second {
		t.Errorf("%v after %v: want the threshold of the model, which is known after 3 s", q.end.Err, took)
	}
}

// The only stand-in failed the hedge, and serves others later: the request is repeated
// there.
func TestStandInThatFailedIsAskedAgainOnceItServes(t *testing.T) {
	w := newWorld(4, 2)
	w.openAfter = 0
	well := w.now.Add(5 * time.Second)
	w.behaviour = func(slot, _ int) reaction {
		switch {
		case slot == 0:
			return hangs
		case w.now.Before(well):
			return reaction{after: time.Millisecond, status: 500, outcome: health.Outcome{Class: health.Failed, Reason: "500"}}
		}
		return serves
	}
	w.usual(100 * time.Millisecond)
	for i := range 40 {
		w.arrive(time.Duration(i)*200*time.Millisecond, plain())
	}
	w.run()
	for i, q := range w.requests {
		if took := q.ended.Sub(q.began); q.end.Err != nil || took > 9*time.Second || q.maxAlive > 2 {
			t.Errorf("request %d: %v after %v, %d attempts", i, q.end.Err, took, len(q.sends))
		}
	}
}

// Who waits is not sent to the probe of a backend where it hung while another is left.
func TestUntriedBackendGoesBeforeARepeat(t *testing.T) {
	w := newWorld(4, 3)
	w.openAfter = 0
	w.behaviour = always(hangs, serves, hangs)
	for s := range 3 {
		w.pool.Backends[s].Priority = []int{1, 3, 2}[s]
	}
	w.usual(100 * time.Millisecond)
	q := w.arrive(0, plain())
	w.in(3500*time.Millisecond, func() { w.health[0].State, w.health[0].Probe = health.HalfOpen, true })
	w.run()
	if q.end.Err != nil || len(q.sends) != 3 || q.sends[2].slot != 1 {
		t.Errorf("%v, sent to %+v", q.end.Err, q.sends)
	}
}

// The probe that a waiting request was sent to hung as well: it is sent again when a
// backend answers.
func TestProbeThatHungIsNotTheLastTry(t *testing.T) {
	w := newWorld(4, 1)
	w.openAfter = 0
	well := w.now.Add(20 * time.Second)
	w.behaviour = func(int, int) reaction {
		if w.now.Before(well) {
			return hangs
		}
		return serves
	}
	w.usual(100*time.Millisecond, 0)
	q := w.arrive(0, plain())
	w.in(10*time.Second, func() { w.health[0].State, w.health[0].Probe = health.HalfOpen, true })
	w.in(11*time.Second, func() { w.health[0].State, w.health[0].Probe = health.Closed, false })
	w.arrive(21*time.Second, plain())
	w.run()
	if after := q.ended.Sub(well); q.end.Err != nil || after > 4*time.Second || len(q.sends) != 3 {
		t.Errorf("%v %v after the return, %d attempts", q.end.Err, after, len(q.sends))
	}
}
