package proxy_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// forwardTimed forwards a request and returns how long that took. The delivery
// commits after commit, unless its context ends before.
func (f *fixture) forwardTimed(r *proxy.Request, commit, stream time.Duration) (*proxy.Result, time.Duration) {
	f.t.Helper()
	began := time.Now()
	result := f.proxy.Do(f.t.Context(), []*balancer.Pool{f.pool}, r, func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
		select {
		case <-ctx.Done():
			return proxy.Delivery{Outcome: health.Outcome{Class: health.Abandoned, Reason: "caller left"}}
		case <-time.After(commit):
		}
		if !a.Hooks.MayCommit() {
			return proxy.Delivery{Outcome: health.Outcome{Class: health.Abandoned, Reason: "another attempt won"}}
		}
		a.Hooks.Committed()
		select {
		case <-ctx.Done():
			return proxy.Delivery{Committed: true, Broken: true, Outcome: health.Outcome{Class: health.Failed, Reason: "cut"}}
		case <-time.After(stream):
		}
		return proxy.Delivery{Committed: true}
	})
	return result, time.Since(began)
}

func slow(takes time.Duration, o health.Outcome) scripted { return scripted{takes: takes, outcome: o} }

var failed = health.Outcome{Class: health.Failed, Reason: "503"}

func TestResponseTimeoutSpansAttemptsAndWaits(t *testing.T) {
	for name, stream := range map[string]bool{"stream": true, "no stream": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 1, 2, 3)
				f.proxy.ResponseTimeout, f.proxy.MaxWait = 220*time.Second, time.Minute
				f.scripts["a"] = []scripted{slow(100*time.Second, health.Outcome{Class: health.Throttled, Wait: 110 * time.Second}), {hang: true}}
				f.scripts["b"] = []scripted{slow(50*time.Second, failed)}
				f.scripts["c"] = []scripted{slow(20*time.Second, failed)}
				r, took := f.forwardTimed(&proxy.Request{Parsed: request.ParsedRequest{Stream: stream, Background: true}}, 0, 0) // never hedged
				if !errors.Is(r.Err, proxy.ErrTimeout) || took != 220*time.Second {
					t.Errorf("err %v after %v, want a timeout after 220 s", r.Err, took)
				}
				f.wantSent("abca") // 170 s of attempts, 40 s of waiting, and the last attempt gets the remaining 10 s
				if last := f.reports[len(f.reports)-1]; last.Class != health.Abandoned || last.Reason != "response timeout" {
					t.Errorf("the last attempt was reported as %+v: it had too little time to blame its backend", last)
				}
			})
		})
	}
}

func TestAttemptThatUsedUpTheResponseTimeoutFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		f.proxy.ResponseTimeout = 220 * time.Second
		f.scripts["a"] = []scripted{{hang: true}}
		r, took := f.forwardTimed(&proxy.Request{Parsed: request.ParsedRequest{Background: true}}, 0, 0)
		if !errors.Is(r.Err, proxy.ErrTimeout) || took != 220*time.Second {
			t.Errorf("err %v after %v, want a timeout after 220 s", r.Err, took)
		}
		f.wantSent("a")
		if !errors.Is(f.ended, context.DeadlineExceeded) {
			t.Errorf("the attempt ended by %v, want a deadline", f.ended)
		}
		if o := f.reports[0]; o.Class != health.Failed || o.Reason != "response timeout" {
			t.Errorf("reported %+v, want a failure", o)
		}
	})
}

func TestResponseTimeoutSpansDeliveryUntilCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1)
		f.proxy.ResponseTimeout = 220 * time.Second
		if r, took := f.forwardTimed(new(proxy.Request), 221*time.Second, 0); !errors.Is(r.Err, proxy.ErrTimeout) || took != 220*time.Second {
			t.Errorf("err %v after %v, want a timeout after 220 s", r.Err, took)
		}
		if o := f.reports[0]; o.Class != health.Failed || o.Reason != "response timeout" {
			t.Errorf("reported %+v, want a failure", o)
		}
		r, took := f.forwardTimed(new(proxy.Request), 219*time.Second, time.Hour)
		if r.Err != nil || r.Delivery.Broken || took != time.Hour+219*time.Second {
			t.Errorf("err %v after %v, broken %v: want a committed response without a limit", r.Err, took, r.Delivery.Broken)
		}
	})
}

func TestResponseTimeoutCountsFromArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1)
		f.proxy.ResponseTimeout = 220 * time.Second
		f.scripts["a"] = []scripted{{hang: true}}
		if _, took := f.forwardTimed(&proxy.Request{Received: time.Now().Add(-20 * time.Second)}, 0, 0); took != 200*time.Second {
			t.Errorf("timed out after %v, want the remaining 200 s", took)
		}
	})
}

func TestCallersDeadlineIsATimeoutAndNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		f.proxy.ResponseTimeout = 220 * time.Second
		f.scripts["a"], f.scripts["b"] = []scripted{{hang: true}}, []scripted{{hang: true}}
		r, took := f.forwardTimed(&proxy.Request{Deadline: time.Now().Add(20 * time.Second)}, 0, 0)
		if !errors.Is(r.Err, proxy.ErrTimeout) || took != 20*time.Second || f.reports[0].Class != health.Abandoned {
			t.Errorf("err %v after %v, reported %+v: want a timeout after 20 s, and no failure", r.Err, took, f.reports[0])
		}
		if r, took := f.forwardTimed(&proxy.Request{Deadline: time.Now().Add(30 * time.Second)}, 0, time.Hour); r.Err != nil || took != time.Hour {
			t.Errorf("err %v after %v, want a committed response without a limit", r.Err, took)
		}
	})
}

// A caller that waits for two seconds leaves before the usual threshold: half of its
// time is for another backend.
func TestCallerThatWaitsBrieflyIsServedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, known := range []bool{false, true} {
			f := newFixture(t, 1, 2)
			if known {
				usual(f, 100*time.Millisecond, 0, 1)
			}
			f.scripts["a"] = []scripted{{hang: true}}
			r, took := f.forwardTimed(&proxy.Request{Deadline: time.Now().Add(2 * time.Second)}, 0, 0)
			wantServed(t, r, "b")
			if took != time.Second || len(f.silent) != 1 {
				t.Errorf("after %v, silent %v; want 1 s and a silence", took, f.silent)
			}
			f = newFixture(t, 1, 2)
			f.proxy.ResponseTimeout = 2 * time.Second
			f.scripts["a"] = []scripted{{hang: true}}
			r, took = f.forwardTimed(&proxy.Request{Received: time.Now()}, 0, 0)
			wantServed(t, r, "b")
			if took != time.Second {
				t.Errorf("within a response timeout of 2 s: after %v, want 1 s", took)
			}
		}
	})
}

func TestHedgedAttemptsShareTheResponseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
		k.ResponseTimeout = time.Minute
		k.delays["a"], k.delays["b"] = []time.Duration{time.Hour}, []time.Duration{time.Hour}
		began := time.Now()
		r, _ := k.do(t.Context())
		if !errors.Is(r.Err, proxy.ErrTimeout) || time.Since(began) != time.Minute || len(r.Attempts) != 2 {
			t.Errorf("err %v after %v, %d attempts: want a timeout of both after a minute", r.Err, time.Since(began), len(r.Attempts))
		}
	})
}
