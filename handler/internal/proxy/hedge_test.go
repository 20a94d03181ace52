package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// hedgeFixture is a proxy whose backends send their first token after a given
// delay, and whose deliveries send nothing before MayCommit, as the relay's do.
type hedgeFixture struct {
	*proxy.Proxy
	pool     *balancer.Pool
	mu       sync.Mutex
	delays   map[string][]time.Duration // of the next attempts; 0 = 50 ms
	refuses  map[string]health.Outcome
	reports  map[string][]health.Outcome
	sent     []string
	released int
	wasted   usage.Tokens // usage of a response that was not committed
	another  func() (func(), bool)
}

func newHedgeFixture(hedge balancer.Hedge) *hedgeFixture {
	t := &hedgeFixture{
		pool: &balancer.Pool{Model: "m", Hedge: hedge, Backends: []balancer.Backend{
			{Name: "a", Slot: 0, Priority: 1, Weight: 1, Deployment: "d"},
			{Name: "b", Slot: 1, Priority: 2, Weight: 1, Deployment: "d"},
			{Name: "c", Slot: 2, Priority: 3, Weight: 1, Deployment: "d"},
		}},
		delays: map[string][]time.Duration{}, refuses: map[string]health.Outcome{}, reports: map[string][]health.Outcome{},
	}
	t.Proxy = &proxy.Proxy{
		Health: t, Sender: t, Load: proxy.NewLoad(3), RoundRobin: new(proxy.RoundRobin),
		Hedges: new(proxy.Hedges), Now: time.Now, Rand: func() float64 { return 0 }, Queue: new(proxy.WaitQueue),
	}
	return t
}

func (t *hedgeFixture) Snapshot() *health.Snapshot {
	return &health.Snapshot{Slots: make([]health.Health, 3)}
}
func (t *hedgeFixture) RequestProbe(health.Slot)                       {}
func (t *hedgeFixture) RenewProbe(health.Permit) (time.Duration, bool) { return time.Second, true }
func (t *hedgeFixture) ReportSignals(health.Slot, health.Signals)      {}
func (t *hedgeFixture) AwaitRefresh(context.Context)                   {}
func (t *hedgeFixture) ReportAnswered(health.Permit)                   {}
func (t *hedgeFixture) ReportSilent(health.Permit)                     {}
func (t *hedgeFixture) TakeBack([]health.Permit)                       {}
func (t *hedgeFixture) AcquireTrial(s health.Slot) (health.Permit, bool) {
	return health.Permit{Slot: s, Trial: true}, true
}

func (t *hedgeFixture) Acquire(s health.Slot, _ string) (health.Permit, bool) {
	return health.Permit{Slot: s}, true
}

func (t *hedgeFixture) Release(health.Permit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.released++
}

func (t *hedgeFixture) ReportOutcome(k health.Permit, o health.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := t.pool.Backends[k.Slot].Name
	t.reports[name] = append(t.reports[name], o)
}

func (t *hedgeFixture) Send(_ context.Context, b *balancer.Backend, _ *proxy.Request, _ func() error) (*http.Response, health.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = append(t.sent, b.Name)
	if o, ok := t.refuses[b.Name]; ok {
		return nil, o
	}
	took := 50 * time.Millisecond
	if s := t.delays[b.Name]; len(s) > 0 {
		took, t.delays[b.Name] = s[0], s[1:]
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Took": {took.String()}}, Body: io.NopCloser(strings.NewReader(b.Name))}, health.Outcome{}
}

// caller records what the caller got.
type caller struct {
	text    strings.Builder
	commits atomic.Int64
}

// do delivers a stream of ten words, each the name of the backend, 10 ms apart.
func (t *hedgeFixture) do(ctx context.Context) (*proxy.Result, *caller) {
	var got caller
	request := &proxy.Request{Operation: operations.Operation{Dialect: operations.Chat}, Parsed: request.ParsedRequest{Stream: true}, Another: t.another}
	result := t.Do(ctx, []*balancer.Pool{t.pool}, request, func(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
		took, err := time.ParseDuration(a.Response.Header.Get("Took"))
		if err != nil {
			panic(err)
		}
		lost := proxy.Delivery{Outcome: health.Outcome{Class: health.Abandoned, Reason: "caller left"}, Usage: t.wasted}
		select {
		case <-ctx.Done():
			return lost
		case <-time.After(took):
		}
		if !a.Hooks.MayCommit() {
			return lost
		}
		got.commits.Add(1)
		a.Hooks.Committed()
		d := proxy.Delivery{Committed: true, FirstToken: time.Now()}
		for range 10 {
			got.text.WriteString(a.Backend.Name) // concurrent writes would be a data race
			time.Sleep(10 * time.Millisecond)
		}
		return d
	})
	return result, &got
}

const after = 200 * time.Millisecond

func TestHedgeAnswersWhenFirstTokenIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
		k.delays["a"], k.wasted = []time.Duration{3 * time.Second}, usage.Tokens{Prompt: 7}
		began := time.Now()
		r, got := k.do(t.Context())
		if r.ServedBy == nil || r.ServedBy.Name != "b" || got.text.String() != "bbbbbbbbbb" || time.Since(began) != after+150*time.Millisecond {
			t.Fatalf("served by %+v after %v: %q", r.ServedBy, time.Since(began), got.text.String())
		}
		if len(r.Attempts) != 2 || r.Attempts[0].Hedge || !r.Attempts[1].Hedge || r.Wasted().Prompt != 7 {
			t.Errorf("attempts %+v, wasted %+v", r.Attempts, r.Wasted())
		}
		if o := k.reports["a"]; len(o) != 1 || o[0].Class != health.Abandoned || o[0].Reason != "another attempt won" {
			t.Errorf("the loser was reported as: %+v", o)
		}
		if o := k.reports["b"]; len(o) != 1 || o[0].Class != health.Served {
			t.Errorf("the winner was reported as: %+v", o)
		}
	})
}

func TestNoHedgeWhenFirstTokenIsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
		for range 10 {
			if r, got := k.do(t.Context()); r.ServedBy.Name != "a" || got.text.String() != "aaaaaaaaaa" || len(r.Attempts) != 1 {
				t.Fatalf("%+v: %q", r.Attempts, got.text.String())
			}
		}
		if s := strings.Join(k.sent, ""); s != "aaaaaaaaaa" {
			t.Errorf("sent to %s", s)
		}
	})
}

func TestFirstAttemptMayWinAgainstHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
		k.delays["a"], k.delays["b"] = []time.Duration{300 * time.Millisecond}, []time.Duration{time.Hour}
		r, got := k.do(t.Context())
		if r.ServedBy.Name != "a" || got.text.String() != "aaaaaaaaaa" || k.reports["b"][0].Class != health.Abandoned {
			t.Errorf("%+v: %q, reports %+v", r.Attempts, got.text.String(), k.reports)
		}
	})
}

func TestFailedHedgeLeavesTheOtherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
		k.delays["a"], k.refuses["b"] = []time.Duration{time.Second}, health.Outcome{Class: health.Failed, Reason: "503"}
		r, got := k.do(t.Context())
		if r.ServedBy.Name != "a" || got.text.String() != "aaaaaaaaaa" || k.reports["b"][0].Class != health.Failed {
			t.Errorf("%+v: %q, reports %+v", r.Attempts, got.text.String(), k.reports)
		}
		k.refuses["a"] = health.Outcome{Class: health.Throttled, Wait: time.Second, Reason: "429"}
		k.sent = nil
		if r, got := k.do(t.Context()); r.ServedBy.Name != "c" || got.text.String() != "cccccccccc" {
			t.Errorf("%+v: %q, want the third", r.Attempts, got.text.String())
		}
		if s := strings.Join(k.sent, ""); s != "abc" {
			t.Errorf("sent to %s, want each once, in order, without a hedge", s)
		}
	})
}

func TestCallerDisconnectEndsBothAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
		k.delays["a"], k.delays["b"] = []time.Duration{time.Hour}, []time.Duration{time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if r, _ := k.do(ctx); r.Err == nil || time.Since(began) != time.Second || len(k.reports["a"])+len(k.reports["b"]) != 2 {
			t.Errorf("err %v after %v, reports %+v", r.Err, time.Since(began), k.reports)
		}
	})
}

func TestHedgesStayWithinMaxPercent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 5})
		const n = 400
		var requests sync.WaitGroup
		for i := range n {
			k.mu.Lock()
			k.delays["a"] = []time.Duration{5 * time.Second} // every one of them is slow, and none silent
			k.mu.Unlock()
			if i%2 == 0 {
				requests.Go(func() { k.do(t.Context()) })
				synctest.Wait()
			} else {
				k.do(t.Context())
			}
		}
		requests.Wait()
		if extra := len(k.sent) - n; extra == 0 || extra > n*5/100 {
			t.Errorf("%d hedges for %d requests, want some, and at most 5 %%", extra, n)
		}
	})
}

func TestHedgeDelayFollowsPercentile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{Percentile: 0.9, MaxPercent: 50})
		for i := range 100 {
			if i%20 == 0 {
				k.delays["a"] = []time.Duration{5 * time.Second}
			}
			k.do(t.Context())
		}
		k.sent = nil
		k.delays["a"] = []time.Duration{5 * time.Second}
		began := time.Now()
		if r, _ := k.do(t.Context()); r.ServedBy.Name != "b" || time.Since(began) > 300*time.Millisecond {
			t.Errorf("served by %s after %v, want the hedge soon after the usual 50 ms", r.ServedBy.Name, time.Since(began))
		}
	})
}

func TestPinnedAndUnrepeatableRequestsAreNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: time.Millisecond, MaxPercent: 100})
		for name, r := range map[string]*proxy.Request{
			"no stream": {}, "pinned": {Parsed: request.ParsedRequest{Stream: true}, PinnedTo: &proxy.Pin{Backend: "a"}},
			"with a streamed body": {Parsed: request.ParsedRequest{Stream: true}, StreamedBody: proxy.NewStreamedBody(strings.NewReader("x"), 1)},
		} {
			k.sent = nil
			k.Do(t.Context(), []*balancer.Pool{k.pool}, r, func(context.Context, *proxy.BackendResponse) proxy.Delivery {
				time.Sleep(time.Second)
				return proxy.Delivery{Committed: true, FirstToken: time.Now()}
			})
			if s := strings.Join(k.sent, ""); s != "a" {
				t.Errorf("%s: sent to %s, want one attempt", name, s)
			}
		}
	})
}

// A consumer's concurrency may leave no second attempt; one that is granted ends with
// the first of the two.
func TestHedgeNeedsLeaveForAnotherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, granted := range []bool{false, true} {
			k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
			k.delays["a"] = []time.Duration{3 * time.Second}
			asked, underWay := 0, 0
			k.another = func() (func(), bool) {
				asked++
				if !granted {
					return nil, false
				}
				underWay++
				return func() { underWay-- }, true
			}
			r, _ := k.do(t.Context())
			if want := map[bool]string{false: "a", true: "b"}[granted]; r.ServedBy == nil || r.ServedBy.Name != want || asked == 0 || underWay != 0 {
				t.Errorf("granted %t: served by %+v, asked %d times, %d attempts still count", granted, r.ServedBy, asked, underWay)
			}
		}
	})
}

// Both attempts commit at the same instant, a thousand times.
func TestHedgedResponsesAreNeverMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
		won := map[string]int{}
		for range 1000 {
			k.delays["a"] = []time.Duration{after + 50*time.Millisecond}
			r, got := k.do(t.Context())
			if text := got.text.String(); text != strings.Repeat(r.ServedBy.Name, 10) || got.commits.Load() != 1 {
				t.Fatalf("%q by %s, committed %d times", text, r.ServedBy.Name, got.commits.Load())
			}
			won[r.ServedBy.Name]++
		}
		if won["a"] == 0 || won["b"] == 0 {
			t.Logf("one attempt won every tie: %v", won)
		}
	})
}

func TestPanicInHedgedAttemptReachesCaller(t *testing.T) {
	k := newHedgeFixture(balancer.Hedge{After: after, MaxPercent: 100})
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v", err)
		}
		if k.released != 1 {
			t.Errorf("%d permits were released, want 1", k.released)
		}
	}()
	k.Do(t.Context(), []*balancer.Pool{k.pool}, &proxy.Request{Parsed: request.ParsedRequest{Stream: true}}, func(context.Context, *proxy.BackendResponse) proxy.Delivery {
		panic(http.ErrAbortHandler)
	})
}
