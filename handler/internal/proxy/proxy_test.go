package proxy_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// world is a proxy among fakes: each backend answers what its script says, and
// the keeper believes what it is told at once.
type world struct {
	t       *testing.T
	proxy   *proxy.Proxy
	pool    *balancer.Pool
	health  []health.Health
	scripts map[string][]answer
	sent    []string
	wanted  []health.Slot
	reports []health.Outcome
	left    int
	lost    atomic.Bool
	deliver func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery
}

type answer struct {
	status  int
	outcome health.Outcome
	late    health.Outcome // what delivering it turns out to be, uncommitted
	hang    bool
}

var (
	ok        = answer{status: 200}
	throttled = answer{outcome: health.Outcome{Class: health.Throttled, Wait: time.Second, Reason: "429"}}
	failing   = answer{outcome: health.Outcome{Class: health.Failed, Reason: "503"}}
)

// newWorld makes one backend per priority, named a, b, c …
func newWorld(t *testing.T, priorities ...int) *world {
	w := &world{t: t, pool: &balancer.Pool{Model: "m"}, health: make([]health.Health, len(priorities)), scripts: map[string][]answer{}}
	for i, p := range priorities {
		w.pool.Backends = append(w.pool.Backends, balancer.Backend{Name: string(rune('a' + i)), Slot: health.Slot(i), Priority: p, Weight: 1})
	}
	w.proxy = &proxy.Proxy{
		Health: w, Sender: w, Load: proxy.NewLoad(len(priorities)), RoundRobin: new(proxy.RoundRobin), RetryBudget: &proxy.RetryBudget{Share: 0.2, Floor: 10},
		Now: time.Now, Rand: func() float64 { return 0 }, Queue: new(proxy.WaitQueue),
	}
	return w
}

func (w *world) Snapshot() *health.Snapshot {
	return &health.Snapshot{Slots: append([]health.Health{}, w.health...)}
}
func (w *world) RequestProbe(s health.Slot)                     { w.wanted = append(w.wanted, s) }
func (w *world) RenewProbe(health.Permit) (time.Duration, bool) { return time.Second, !w.lost.Load() }
func (w *world) Release(health.Permit)                          { w.left++ }
func (w *world) ReportSignals(health.Slot, health.Signals)      {}
func (w *world) Acquire(s health.Slot) (health.Permit, bool) {
	return health.Permit{Slot: s, Probe: w.health[s].Probe}, w.health[s].SkipReason(time.Now(), 0) == health.NotSkipped
}

func (w *world) ReportOutcome(t health.Permit, o health.Outcome) {
	w.reports = append(w.reports, o)
	if o.Class == health.Throttled {
		w.health[t.Slot].Throttle = health.Throttle{Until: time.Now().Add(o.Wait)}
	}
}

func (w *world) Send(ctx context.Context, b *balancer.Backend, _ *proxy.Request, before func() error) (*http.Response, health.Outcome) {
	if before() != nil {
		return nil, health.Outcome{Class: health.Abandoned}
	}
	w.sent = append(w.sent, b.Name)
	a := ok
	if s := w.scripts[b.Name]; len(s) > 0 {
		a, w.scripts[b.Name] = s[0], s[1:]
	}
	if a.hang {
		<-ctx.Done()
		return nil, health.Outcome{Class: health.Abandoned, Reason: "caller left"}
	}
	if a.status == 0 {
		return nil, a.outcome
	}
	res := &http.Response{StatusCode: a.status, Header: http.Header{"Late": {a.late.Reason}}, Body: io.NopCloser(strings.NewReader("body of " + b.Name))}
	if a.late.Class != health.Served {
		w.deliver = func(context.Context, *proxy.BackendResponse) proxy.Delivery {
			w.deliver = nil
			return proxy.Delivery{Outcome: a.late}
		}
	}
	return res, a.outcome
}

func (w *world) do(ctx context.Context, c *consumer.Consumer, pools ...*balancer.Pool) *proxy.Result {
	w.t.Helper()
	if len(pools) == 0 {
		pools = []*balancer.Pool{w.pool}
	}
	return w.proxy.Do(ctx, pools, &proxy.Request{Consumer: c}, func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
		if w.deliver != nil {
			return w.deliver(ctx, a)
		}
		a.Hooks.Committed()
		return proxy.Delivery{Committed: true, FirstToken: a.Began}
	})
}

func (w *world) wantSent(want string) {
	w.t.Helper()
	if got := strings.Join(w.sent, ""); got != want {
		w.t.Errorf("sent to %q, want %q", got, want)
	}
}

func wantServed(t *testing.T, r *proxy.Result, by string) {
	t.Helper()
	if r.Err != nil || r.ServedBy == nil || r.ServedBy.Name != by {
		t.Errorf("served by %+v, err %v, want %s", r.ServedBy, r.Err, by)
	}
}

func TestThrottledBackendIsLeftForTheNextAtOnce(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.scripts["a"] = []answer{throttled}
	wantServed(t, w.do(t.Context(), nil), "b")
	w.wantSent("ab")
	wantServed(t, w.do(t.Context(), nil), "b")
	w.wantSent("abb")
}

func TestEveryBackendIsTriedOnce(t *testing.T) {
	w := newWorld(t, 1, 2, 2, 3)
	for _, name := range []string{"a", "b", "c", "d"} {
		w.scripts[name] = []answer{failing, failing}
	}
	r := w.do(t.Context(), nil)
	if !errors.Is(r.Err, proxy.ErrUnavailable) || len(r.Attempts) != 4 {
		t.Errorf("err %v after %d attempts, want unavailable after 4", r.Err, len(r.Attempts))
	}
	w.wantSent("abcd")
}

func TestMixedExhaustionIsThrottled(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.scripts["a"], w.scripts["b"] = []answer{throttled}, []answer{failing}
	r := w.do(t.Context(), nil)
	if !errors.Is(r.Err, proxy.ErrThrottled) {
		t.Errorf("err = %v, want throttled", r.Err)
	}
	if left := time.Until(r.RetryAt); left <= 0 || left > time.Second {
		t.Errorf("retry in %v, want within the throttle's second", left)
	}
}

func TestRefusalFoundWhileDeliveringGoesOn(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.scripts["a"] = []answer{{status: 200, late: health.Outcome{Class: health.Throttled, Wait: time.Second, Reason: "in-stream 429"}}}
	wantServed(t, w.do(t.Context(), nil), "b")
	if w.reports[0].Class != health.Throttled {
		t.Errorf("first report = %+v, want the in-stream throttle", w.reports[0])
	}
}

func TestNothingIsTriedAfterTheFirstByte(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.deliver = func(context.Context, *proxy.BackendResponse) proxy.Delivery {
		return proxy.Delivery{Committed: true, Broken: true, Outcome: health.Outcome{Class: health.Failed, Reason: "reset"}}
	}
	r := w.do(t.Context(), nil)
	w.wantSent("a")
	if !r.Delivery.Broken || w.reports[0].Class != health.Failed {
		t.Errorf("delivery %+v, report %+v: want a broken delivery reported as a failure", r.Delivery, w.reports[0])
	}
}

func TestCallerGoneEndsTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 2)
		w.scripts["a"] = []answer{{hang: true}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := w.do(ctx, nil); !errors.Is(r.Err, proxy.ErrCallerLeft) {
			t.Errorf("err = %v, want the caller to have left", r.Err)
		}
		w.wantSent("a")
		if len(w.reports) != 1 || w.reports[0].Class != health.Abandoned {
			t.Errorf("reports = %+v, want one that says nothing of the backend", w.reports)
		}
	})
}

func TestDeadlineOfTheCallerIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 2)
		w.scripts["a"] = []answer{{hang: true}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r := w.do(ctx, nil); !errors.Is(r.Err, proxy.ErrTimeout) {
			t.Errorf("err = %v, want a timeout", r.Err)
		}
	})
}

func TestShortThrottleIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.proxy.MaxWait = 2 * time.Second
		w.scripts["a"] = []answer{{outcome: health.Outcome{Class: health.Throttled, Wait: 3 * time.Second}}}
		w.scripts["b"] = []answer{{outcome: health.Outcome{Class: health.Throttled, Wait: 700 * time.Millisecond}}}
		began := time.Now()
		r := w.do(t.Context(), nil)
		wantServed(t, r, "b")
		if took := time.Since(began); took != 700*time.Millisecond {
			t.Errorf("waited %v, want until the soonest reopening, 700ms", took)
		}
	})
}

func TestLongThrottleIsNotWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.proxy.MaxWait = 500 * time.Millisecond
		w.scripts["a"] = []answer{throttled}
		began := time.Now()
		if r := w.do(t.Context(), nil); !errors.Is(r.Err, proxy.ErrThrottled) || time.Since(began) != 0 {
			t.Errorf("err = %v after %v, want throttled at once", r.Err, time.Since(began))
		}
	})
}

func TestThrottleOfNoLengthDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.proxy.MaxWait = time.Second
		for range 1000 {
			w.scripts["a"] = append(w.scripts["a"], answer{outcome: health.Outcome{Class: health.Throttled}})
		}
		r := w.do(t.Context(), nil)
		if !errors.Is(r.Err, proxy.ErrThrottled) || len(w.sent) > 40 {
			t.Errorf("err = %v after %d attempts, want throttled after a bounded number", r.Err, len(w.sent))
		}
	})
}

func TestRetryBudgetBoundsAnOutage(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	for range 1000 {
		for _, name := range []string{"a", "b", "c"} {
			w.scripts[name] = append(w.scripts[name], failing)
		}
	}
	for range 1000 {
		w.do(t.Context(), nil)
	}
	if got := len(w.sent); got > 1210+5 {
		t.Errorf("1000 requests made %d attempts, want at most 1.2x + 10", got)
	}
}

func TestThrottlesCostNoRetryBudget(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.proxy.RetryBudget = &proxy.RetryBudget{}
	w.scripts["a"] = []answer{throttled}
	wantServed(t, w.do(t.Context(), nil), "b")
}

func TestBudgetRefillsAsTimeGoesBy(t *testing.T) {
	b, now := &proxy.RetryBudget{Share: 0.2, Floor: 1}, time.UnixMilli(0)
	if !b.Withdraw(now) || b.Withdraw(now) {
		t.Fatal("want exactly the floor at first")
	}
	if !b.Withdraw(now.Add(10 * time.Second)) {
		t.Error("want the floor again after the window")
	}
}

func TestLostProbeIsGivenBackAndTheNextBackendTried(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.health[0].Probe = true
	w.lost.Store(true)
	wantServed(t, w.do(t.Context(), nil), "b")
	w.wantSent("b")
	if w.left != 1 || len(w.reports) != 1 {
		t.Errorf("left %d, reports %d: want the ticket given back and one report", w.left, len(w.reports))
	}
}

func TestProbeThatOutlivesItsLeaseIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 2)
		w.health[0].Probe = true
		w.scripts["a"] = []answer{{hang: true}}
		time.AfterFunc(2500*time.Millisecond, func() { w.lost.Store(true) }) // renewed twice, then lost
		began := time.Now()
		wantServed(t, w.do(t.Context(), nil), "b")
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("broken off after %v, want at the first refusal, 3s", took)
		}
		w.wantSent("ab")
	})
}

func TestProbeIsReportedWhenItsAnswerMeansSomething(t *testing.T) {
	w := newWorld(t, 1)
	w.health[0].Probe = true
	w.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
		a.Hooks.Committed()
		if len(w.reports) != 1 || w.reports[0].Class != health.Served {
			t.Errorf("reports at commit = %+v, want the probe's success", w.reports)
		}
		return proxy.Delivery{Committed: true}
	}
	w.do(t.Context(), nil)
	if len(w.reports) != 1 {
		t.Errorf("%d reports, want exactly one", len(w.reports))
	}
}

func TestOpenCircuitIsWanted(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.health[0].State = 1
	wantServed(t, w.do(t.Context(), nil), "b")
	if len(w.wanted) != 1 || w.wanted[0] != 0 {
		t.Errorf("wanted = %v, want slot 0", w.wanted)
	}
}

func TestPromptTooLongForTheProvisionedGoesToTheNextGroupOnce(t *testing.T) {
	w := newWorld(t, 1, 1, 2)
	w.pool.Backends[0].Provisioned, w.pool.Backends[1].Provisioned = true, true
	long := answer{status: 400, outcome: health.Outcome{Reason: proxy.ContextLength}}
	w.scripts["a"], w.scripts["b"] = []answer{long}, []answer{long}
	wantServed(t, w.do(t.Context(), nil), "c")
	if len(w.sent) != 2 {
		t.Errorf("sent to %v, want one of the first group, then the second", w.sent)
	}
}

func TestPromptTooLongForAllIsToldAsTheFirstSaidIt(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.pool.Backends[0].Provisioned = true
	long := answer{status: 400, outcome: health.Outcome{Reason: proxy.ContextLength}}
	w.scripts["a"], w.scripts["b"] = []answer{long}, []answer{failing}
	var told string
	w.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
		body, _ := io.ReadAll(a.Response.Body)
		told = string(body)
		return proxy.Delivery{Committed: true}
	}
	wantServed(t, w.do(t.Context(), nil), "a")
	if told != "body of a" {
		t.Errorf("told %q, want the answer that was set aside", told)
	}
}

func TestFallbackModelIsTriedWhenThePoolIsExhausted(t *testing.T) {
	w := newWorld(t, 1, 1)
	first, second := &balancer.Pool{Model: "big", Backends: w.pool.Backends[:1]}, &balancer.Pool{Model: "small", Backends: w.pool.Backends[1:]}
	w.scripts["a"] = []answer{failing}
	r := w.do(t.Context(), nil, first, second)
	wantServed(t, r, "b")
	if r.Pool != second {
		t.Errorf("pool = %s, want the fallback's", r.Pool.Model)
	}
}

func TestFencedConsumerIsToldSo(t *testing.T) {
	w := newWorld(t, 1, 2)
	r := w.do(t.Context(), &consumer.Consumer{Geographies: []string{"eu"}})
	if !errors.Is(r.Err, proxy.ErrConstrainedOut) || len(w.sent) != 0 {
		t.Errorf("err = %v, sent %v: want fenced, nothing sent", r.Err, w.sent)
	}
}

func TestPanicWhileDeliveringLosesNoTicket(t *testing.T) {
	w := newWorld(t, 1)
	w.deliver = func(context.Context, *proxy.BackendResponse) proxy.Delivery { panic(http.ErrAbortHandler) }
	defer func() {
		if recover() == nil || w.left != 1 || w.proxy.Load.InFlight(0) != 0 {
			t.Errorf("left %d, in flight %d: want the ticket back and nothing in flight", w.left, w.proxy.Load.InFlight(0))
		}
	}()
	w.do(t.Context(), nil)
}

func TestFirstTokenIsRememberedAsAnAverage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for _, took := range []time.Duration{800, 1600} {
			w.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
				return proxy.Delivery{Committed: true, FirstToken: a.Began.Add(took * time.Millisecond)}
			}
			w.do(t.Context(), nil)
		}
		if got := w.proxy.Load.FirstToken(0).Seconds(); math.Abs(got-0.9) > 1e-9 {
			t.Errorf("average = %v s, want 0.9", got)
		}
	})
}
