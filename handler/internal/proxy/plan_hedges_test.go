package proxy_test

import (
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

func TestHangingBackendCostsTheThresholdNotTheTimeout(t *testing.T) {
	w := newWorld(4, 2)
	w.behaviour = always(hangs, serves)
	w.openAfter = 0
	for range 25 { // b is usually fast
		w.env.Latency.Record(1, 0, 100*time.Millisecond)
		w.env.Latency.Record(0, 0, 100*time.Millisecond)
	}
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
	for s := range 4 {
		for range 25 {
			w.env.Latency.Record(health.Slot(s), 0, 100*time.Millisecond)
		}
	}
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
	for s := range 2 {
		for range 25 {
			w.env.Latency.Record(health.Slot(s), 0, 100*time.Millisecond)
		}
	}
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
	for s := range 2 {
		for range 25 {
			w.env.Latency.Record(health.Slot(s), 0, 100*time.Millisecond)
		}
	}
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
	for s := range 3 {
		for range 25 {
			w.env.Latency.Record(health.Slot(s), 0, 100*time.Millisecond)
		}
	}
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
	for s := range 3 {
		for range 25 {
			w.env.Latency.Record(health.Slot(s), 0, 300*time.Millisecond)
		}
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
