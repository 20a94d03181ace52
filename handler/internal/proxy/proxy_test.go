package proxy_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// fixture is a proxy over fakes: each backend answers as scripted, and a
// reported outcome takes effect at once.
type fixture struct {
	mu        sync.Mutex
	t         *testing.T
	proxy     *proxy.Proxy
	pool      *balancer.Pool
	health    []health.Health
	scripts   map[string][]scripted
	sent      []string
	wanted    []health.Slot
	reports   []health.Outcome
	released  int
	refreshes int
	answered  int
	takenBack int
	silent    []health.Slot
	ended     error // why the context of an attempt ended
	lost      atomic.Bool
	deliver   func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery
}

type scripted struct {
	status  int
	body    string // "" = "body of" the backend
	outcome health.Outcome
	late    health.Outcome // of its delivery, which is not committed
	hang    bool           // until the context ends, or
	takes   time.Duration  // that long
}

var (
	ok        = scripted{status: 200}
	throttled = scripted{outcome: health.Outcome{Class: health.Throttled, Wait: time.Second, Reason: "429"}}
	failing   = scripted{outcome: health.Outcome{Class: health.Failed, Reason: "503"}}
)

// newFixture makes one backend per priority, named a, b, c …
func newFixture(t *testing.T, priorities ...int) *fixture {
	f := &fixture{t: t, pool: &balancer.Pool{Model: "m"}, health: make([]health.Health, len(priorities)), scripts: map[string][]scripted{}}
	for i, p := range priorities {
		f.pool.Backends = append(f.pool.Backends, balancer.Backend{Name: string(rune('a' + i)), Slot: health.Slot(i), Priority: p, Weight: 1})
	}
	f.proxy = &proxy.Proxy{
		Health: f, Sender: f, Load: proxy.NewLoad(len(priorities)), RoundRobin: new(proxy.RoundRobin),
		Now: time.Now, Rand: func() float64 { return 0 }, Queue: new(proxy.WaitQueue),
	}
	return f
}

func (f *fixture) Snapshot() *health.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &health.Snapshot{Slots: append([]health.Health{}, f.health...)}
}

func (f *fixture) record(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

func (f *fixture) RequestProbe(s health.Slot)                     { f.wanted = append(f.wanted, s) }
func (f *fixture) RenewProbe(health.Permit) (time.Duration, bool) { return time.Second, !f.lost.Load() }
func (f *fixture) ReportSignals(health.Slot, health.Signals)      {}
func (f *fixture) Release(health.Permit)                          { f.record(func() { f.released++ }) }
func (f *fixture) AwaitRefresh(context.Context)                   { f.refreshes++ }
func (f *fixture) ReportAnswered(health.Permit)                   { f.record(func() { f.answered++ }) }
func (f *fixture) TakeBack(failed []health.Permit)                { f.takenBack += len(failed) }

func (f *fixture) ReportSilent(t health.Permit) {
	f.record(func() { f.silent = append(f.silent, t.Slot) })
}

func (f *fixture) Acquire(s health.Slot, _ string) (health.Permit, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return health.Permit{Slot: s, Probe: f.health[s].Probe}, f.health[s].SkipReason(time.Now(), 0) == health.NotSkipped
}

func (f *fixture) AcquireTrial(s health.Slot) (health.Permit, bool) {
	return health.Permit{Slot: s, Trial: true}, true
}

func (f *fixture) ReportOutcome(t health.Permit, o health.Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports = append(f.reports, o)
	if o.Class == health.Throttled {
		f.health[t.Slot].Throttle = health.Throttle{Until: time.Now().Add(o.Wait)}
	}
}

// next is what the backend does with the request that it gets now.
func (f *fixture) next(name string) scripted {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, name)
	a := ok
	if s := f.scripts[name]; len(s) > 0 {
		a, f.scripts[name] = s[0], s[1:]
	}
	if a.hang {
		a.takes = time.Hour
	}
	return a
}

func (f *fixture) Send(ctx context.Context, b *balancer.Backend, _ *proxy.Request, before func() error) (*http.Response, health.Outcome) {
	if before != nil && before() != nil {
		return nil, health.Outcome{Class: health.Abandoned}
	}
	a := f.next(b.Name)
	select {
	case <-ctx.Done():
		f.record(func() { f.ended = context.Cause(ctx) })
		return nil, health.Outcome{Class: health.Abandoned, Reason: "caller left"}
	case <-time.After(a.takes):
	}
	if a.status == 0 {
		return nil, a.outcome
	}
	res := &http.Response{StatusCode: a.status, Header: http.Header{"Late": {a.late.Reason}}, Body: bodyOr(a.body, "body of "+b.Name)}
	if a.late.Class != health.Served {
		f.deliver = func(context.Context, *proxy.BackendResponse) proxy.Delivery {
			f.deliver = nil
			return proxy.Delivery{Outcome: a.late}
		}
	}
	return res, a.outcome
}

func (f *fixture) do(ctx context.Context, c *consumer.Consumer, pools ...*balancer.Pool) *proxy.Result {
	f.t.Helper()
	if len(pools) == 0 {
		pools = []*balancer.Pool{f.pool}
	}
	return f.proxy.Do(ctx, pools, &proxy.Request{Consumer: c}, func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
		if f.deliver != nil {
			return f.deliver(ctx, a)
		}
		a.Hooks.Committed()
		return proxy.Delivery{Committed: true, FirstToken: a.Start}
	})
}

func (f *fixture) wantSent(want string) {
	f.t.Helper()
	if got := strings.Join(f.sent, ""); got != want {
		f.t.Errorf("sent to %q, want %q", got, want)
	}
}

func wantServed(t *testing.T, r *proxy.Result, by string) {
	t.Helper()
	if r.Err != nil || r.ServedBy == nil || r.ServedBy.Name != by {
		t.Errorf("served by %+v, err %v, want %s", r.ServedBy, r.Err, by)
	}
}

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
