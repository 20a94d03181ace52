package proxy_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

func TestThrottledBackendFailsOverAtOnce(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.scripts["a"] = []scripted{throttled}
	wantServed(t, f.do(t.Context(), nil), "b")
	f.wantSent("ab")
	wantServed(t, f.do(t.Context(), nil), "b")
	f.wantSent("abb")
}

func TestEveryBackendIsTriedOnceAndOneRepeated(t *testing.T) {
	f := newFixture(t, 1, 2, 2, 3)
	for _, name := range []string{"a", "b", "c", "d"} {
		f.scripts[name] = []scripted{failing, failing}
	}
	r := f.do(t.Context(), nil)
	if !errors.Is(r.Err, proxy.ErrUnavailable) || len(r.Attempts) != 5 || !r.Attempts[4].Repeat {
		t.Errorf("err %v after %+v, want unavailable after 4 attempts and a repetition", r.Err, r.Attempts)
	}
	f.wantSent("abcda")
	if f.takenBack != 5 {
		t.Errorf("%d failures were taken back, want all 5: it failed everywhere", f.takenBack)
	}
}

func TestARepetitionServes(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.scripts["a"], f.scripts["b"] = []scripted{failing}, []scripted{failing}
	wantServed(t, f.do(t.Context(), nil), "a")
	f.wantSent("aba")
	if f.takenBack != 0 {
		t.Errorf("%d failures were taken back although the request was served", f.takenBack)
	}
}

func TestAttemptsBoundsTheBackendsOfARequest(t *testing.T) {
	f := newFixture(t, 1, 2, 3)
	f.pool.Attempts = 2
	for _, name := range []string{"a", "b", "c"} {
		f.scripts[name] = []scripted{failing, failing}
	}
	f.do(t.Context(), nil)
	f.wantSent("aba")
}

func TestExhaustionIsWhatMostBackendsAre(t *testing.T) {
	for want, scripts := range map[error]string{proxy.ErrThrottled: "ttf", proxy.ErrUnavailable: "tff"} {
		f := newFixture(t, 1, 2, 3)
		for i, kind := range scripts {
			f.scripts[string(rune('a'+i))] = map[rune][]scripted{'t': {throttled}, 'f': {failing, failing}}[kind]
		}
		r := f.do(t.Context(), nil)
		if !errors.Is(r.Err, want) {
			t.Errorf("%s: err = %v, want %v", scripts, r.Err, want)
		}
		left := time.Until(r.RetryAt)
		if errors.Is(want, proxy.ErrThrottled) && (left <= 0 || left > time.Second) {
			t.Errorf("retry in %v, want within the throttle's second", left)
		}
		if errors.Is(want, proxy.ErrUnavailable) && left > 0 {
			t.Errorf("retry in %v, want at once: the circuits are closed", left)
		}
	}
}

func TestErrorDuringDeliveryFailsOver(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.scripts["a"] = []scripted{{status: 200, late: health.Outcome{Class: health.Throttled, Wait: time.Second, Reason: "in-stream 429"}}}
	wantServed(t, f.do(t.Context(), nil), "b")
	if f.reports[0].Class != health.Throttled {
		t.Errorf("first report = %+v, want the in-stream throttle", f.reports[0])
	}
}

func TestNoFailoverAfterCommit(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.deliver = func(context.Context, *proxy.BackendResponse) proxy.Delivery {
		return proxy.Delivery{Committed: true, Broken: true, Outcome: health.Outcome{Class: health.Failed, Reason: "reset"}}
	}
	r := f.do(t.Context(), nil)
	f.wantSent("a")
	if !r.Delivery.Broken || f.reports[0].Class != health.Failed {
		t.Errorf("delivery %+v, report %+v: want a broken delivery reported as a failure", r.Delivery, f.reports[0])
	}
}

func TestCallerDisconnectEndsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		f.scripts["a"] = []scripted{{hang: true}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := f.do(ctx, nil); !errors.Is(r.Err, proxy.ErrCallerLeft) {
			t.Errorf("err = %v, want ErrCallerLeft", r.Err)
		}
		f.wantSent("a")
		if len(f.reports) != 1 || f.reports[0].Class != health.Abandoned {
			t.Errorf("reports = %+v, want one that delays nothing of the backend", f.reports)
		}
	})
}

func TestContextDeadlineIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		f.scripts["a"] = []scripted{{hang: true}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r := f.do(ctx, nil); !errors.Is(r.Err, proxy.ErrTimeout) {
			t.Errorf("err = %v, want a timeout", r.Err)
		}
	})
}

func TestWaitsForShortThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 1)
		f.proxy.MaxWait = 2 * time.Second
		f.scripts["a"] = []scripted{{outcome: health.Outcome{Class: health.Throttled, Wait: 3 * time.Second}}}
		f.scripts["b"] = []scripted{{outcome: health.Outcome{Class: health.Throttled, Wait: 700 * time.Millisecond}}}
		began := time.Now()
		r := f.do(t.Context(), nil)
		wantServed(t, r, "b")
		if took := time.Since(began); took != 700*time.Millisecond {
			t.Errorf("waited %v, want until the soonest reopening, 700ms", took)
		}
	})
}

func TestDoesNotWaitForLongThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1)
		f.proxy.MaxWait = 500 * time.Millisecond
		f.scripts["a"] = []scripted{throttled}
		began := time.Now()
		if r := f.do(t.Context(), nil); !errors.Is(r.Err, proxy.ErrThrottled) || time.Since(began) != 0 {
			t.Errorf("err = %v after %v, want throttled at once", r.Err, time.Since(began))
		}
	})
}

func TestThrottleWithoutWaitIsRetriedBoundedly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1)
		f.proxy.MaxWait = time.Second
		for range 1000 {
			f.scripts["a"] = append(f.scripts["a"], scripted{outcome: health.Outcome{Class: health.Throttled}})
		}
		r := f.do(t.Context(), nil)
		if !errors.Is(r.Err, proxy.ErrThrottled) || len(f.sent) > 40 {
			t.Errorf("err = %v after %d attempts, want throttled after a bounded number", r.Err, len(f.sent))
		}
	})
}

func TestLostProbeIsReleasedAndFailsOver(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.health[0].Probe = true
	f.lost.Store(true)
	wantServed(t, f.do(t.Context(), nil), "b")
	f.wantSent("b")
	if f.released != 1 || len(f.reports) != 1 {
		t.Errorf("left %d, reports %d: want the permit released and one report", f.released, len(f.reports))
	}
}

func TestProbeIsCancelledWhenItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		f.health[0].Probe = true
		f.scripts["a"] = []scripted{{hang: true}}
		time.AfterFunc(2500*time.Millisecond, func() { f.lost.Store(true) }) // renewed twice, then lost
		began := time.Now()
		wantServed(t, f.do(t.Context(), nil), "b")
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("cancelled after %v, want when its lease could not be renewed, 3s", took)
		}
		f.wantSent("ab")
	})
}

func TestProbeSuccessIsReportedAtCommit(t *testing.T) {
	f := newFixture(t, 1)
	f.health[0].Probe = true
	f.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
		a.Hooks.Committed()
		if f.answered != 1 {
			t.Errorf("%d answers reported at commit, want the probe's", f.answered)
		}
		return proxy.Delivery{Committed: true}
	}
	f.do(t.Context(), nil)
	if len(f.reports) != 1 || f.answered != 1 {
		t.Errorf("%d outcomes and %d answers, want exactly one of each", len(f.reports), f.answered)
	}
}

func TestOpenCircuitRequestsProbe(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.health[0].State = 1
	wantServed(t, f.do(t.Context(), nil), "b")
	if len(f.wanted) != 1 || f.wanted[0] != 0 {
		t.Errorf("wanted = %v, want slot 0", f.wanted)
	}
}

func TestContextLengthErrorOfProvisionedFailsOverToNextGroupOnce(t *testing.T) {
	f := newFixture(t, 1, 1, 2)
	f.pool.Backends[0].Provisioned, f.pool.Backends[1].Provisioned = true, true
	long := scripted{status: 400, outcome: health.Outcome{Reason: proxy.ContextLength}}
	f.scripts["a"], f.scripts["b"] = []scripted{long}, []scripted{long}
	wantServed(t, f.do(t.Context(), nil), "c")
	if len(f.sent) != 2 {
		t.Errorf("sent to %v, want one of the first group, then one of the second", f.sent)
	}
}

func TestDeferredErrorIsDeliveredWhenNoBackendServes(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.pool.Backends[0].Provisioned = true
	long := scripted{status: 400, outcome: health.Outcome{Reason: proxy.ContextLength}}
	f.scripts["a"], f.scripts["b"] = []scripted{long}, []scripted{failing}
	var delivered string
	f.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
		body, _ := io.ReadAll(a.Response.Body)
		delivered = string(body)
		return proxy.Delivery{Committed: true}
	}
	wantServed(t, f.do(t.Context(), nil), "a")
	if delivered != "body of a" {
		t.Errorf("delivered %q, want the deferred response", delivered)
	}
}

func TestFallbackModelIsTriedWhenThePoolIsExhausted(t *testing.T) {
	f := newFixture(t, 1, 1)
	first, second := &balancer.Pool{Model: "big", Backends: f.pool.Backends[:1]}, &balancer.Pool{Model: "small", Backends: f.pool.Backends[1:]}
	f.scripts["a"] = []scripted{failing}
	r := f.do(t.Context(), nil, first, second)
	wantServed(t, r, "b")
	if r.Pool != second {
		t.Errorf("pool = %s, want the fallback's", r.Pool.Model)
	}
}

func TestFilteredPromptIsTriedAtTheFallbacks(t *testing.T) {
	filtered := scripted{status: 400, outcome: health.Outcome{Reason: proxy.ContentFilter}}
	for name, c := range map[string]struct {
		on      bool
		scripts map[string][]scripted
		backend string
		sent    int
	}{
		"the fallback serves":                   {true, map[string][]scripted{"a": {filtered}}, "c", 2},
		"the fallback refuses too":              {true, map[string][]scripted{"a": {filtered}, "c": {filtered}}, "a", 2},
		"the fallback fails":                    {true, map[string][]scripted{"a": {filtered}, "c": {failing}}, "a", 2},
		"refused after a failure":               {true, map[string][]scripted{"a": {failing}, "b": {filtered}}, "c", 3},
		"refused by the last model":             {true, map[string][]scripted{"a": {failing}, "b": {failing}, "c": {filtered}}, "c", 3},
		"the model does not say so":             {false, map[string][]scripted{"a": {filtered}}, "a", 1},
		"the model does not say so, a fallback": {false, map[string][]scripted{"a": {failing}, "b": {failing}, "c": {filtered}}, "c", 3},
	} {
		f := newFixture(t, 1, 2, 1)
		first := &balancer.Pool{Model: "big", Backends: f.pool.Backends[:2], FilteredFallBack: c.on}
		second := &balancer.Pool{Model: "small", Backends: f.pool.Backends[2:]}
		f.scripts = c.scripts
		wantServed(t, f.do(t.Context(), nil, first, second), c.backend)
		if len(f.sent) != c.sent {
			t.Errorf("%s: sent to %v, want %d attempts", name, f.sent, c.sent)
		}
	}
}

func TestConsumerBoundsWithoutBackend(t *testing.T) {
	f := newFixture(t, 1, 2)
	r := f.do(t.Context(), &consumer.Consumer{Geographies: []string{"eu"}})
	if !errors.Is(r.Err, proxy.ErrConstrainedOut) || len(f.sent) != 0 {
		t.Errorf("err = %v, sent %v: want ErrConstrainedOut, nothing sent", r.Err, f.sent)
	}
}

func TestPanicInDeliverReleasesPermit(t *testing.T) {
	f := newFixture(t, 1)
	f.deliver = func(context.Context, *proxy.BackendResponse) proxy.Delivery { panic(http.ErrAbortHandler) }
	defer func() {
		if recover() == nil || f.released != 1 || f.proxy.Load.InFlight(0) != 0 {
			t.Errorf("left %d, in flight %d: want the permit released and nothing in flight", f.released, f.proxy.Load.InFlight(0))
		}
	}()
	f.do(t.Context(), nil)
}

func TestFirstTokenIsMovingAverage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1)
		for _, took := range []time.Duration{800, 1600} {
			f.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
				return proxy.Delivery{Committed: true, FirstToken: a.Start.Add(took * time.Millisecond)}
			}
			f.do(t.Context(), nil)
		}
		if got := f.proxy.Load.FirstToken(0).Seconds(); math.Abs(got-0.9) > 1e-9 {
			t.Errorf("average = %v s, want 0.9", got)
		}
	})
}
