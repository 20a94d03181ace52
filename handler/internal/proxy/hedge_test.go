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

// track is a proxy whose backends say their first token when they are told
// to, and whose deliveries are carried like the relay's: nothing is sent
// before the gate has let it.
type track struct {
	*proxy.Proxy
	pool    *balancer.Pool
	mu      sync.Mutex
	says    map[string][]time.Duration // of the next attempts; 0 = 50 ms
	refuses map[string]health.Outcome
	told    map[string][]health.Outcome
	sent    []string
	left    int
	wasted  usage.Tokens // of an answer that was not committed
}

func newTrack(hedge balancer.Hedge) *track {
	t := &track{
		pool: &balancer.Pool{Model: "m", Hedge: hedge, Backends: []balancer.Backend{
			{Name: "a", Slot: 0, Priority: 1, Weight: 1, Deployment: "d"},
			{Name: "b", Slot: 1, Priority: 2, Weight: 1, Deployment: "d"},
			{Name: "c", Slot: 2, Priority: 3, Weight: 1, Deployment: "d"},
		}},
		says: map[string][]time.Duration{}, refuses: map[string]health.Outcome{}, told: map[string][]health.Outcome{},
	}
	t.Proxy = &proxy.Proxy{
		Health: t, Sender: t, Load: proxy.NewLoad(3), RoundRobin: new(proxy.RoundRobin), RetryBudget: &proxy.RetryBudget{Share: 0.2, Floor: 10},
		Hedges: new(proxy.Hedges), Now: time.Now, Rand: func() float64 { return 0 }, Queue: new(proxy.WaitQueue),
	}
	return t
}

func (t *track) Snapshot() *health.Snapshot                     { return &health.Snapshot{Slots: make([]health.Health, 3)} }
func (t *track) RequestProbe(health.Slot)                       {}
func (t *track) RenewProbe(health.Permit) (time.Duration, bool) { return time.Second, true }
func (t *track) ReportSignals(health.Slot, health.Signals)      {}
func (t *track) Acquire(s health.Slot) (health.Permit, bool)    { return health.Permit{Slot: s}, true }

func (t *track) Release(health.Permit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left++
}

func (t *track) ReportOutcome(k health.Permit, o health.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := t.pool.Backends[k.Slot].Name
	t.told[name] = append(t.told[name], o)
}

func (t *track) Send(_ context.Context, b *balancer.Backend, _ *proxy.Request, _ func() error) (*http.Response, health.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = append(t.sent, b.Name)
	if o, ok := t.refuses[b.Name]; ok {
		return nil, o
	}
	took := 50 * time.Millisecond
	if s := t.says[b.Name]; len(s) > 0 {
		took, t.says[b.Name] = s[0], s[1:]
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Took": {took.String()}}, Body: io.NopCloser(strings.NewReader(b.Name))}, health.Outcome{}
}

// caller is what reached the caller.
type caller struct {
	text    strings.Builder
	commits atomic.Int64
}

// ask carries a stream of ten words of the backend's name, 10 ms apart.
func (t *track) ask(ctx context.Context) (*proxy.Result, *caller) {
	var got caller
	request := &proxy.Request{Operation: operations.Operation{Dialect: operations.Chat}, Parsed: request.ParsedRequest{Stream: true}}
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
			got.text.WriteString(a.Backend.Name) // two at once would be a race that -race sees
			time.Sleep(10 * time.Millisecond)
		}
		return d
	})
	return result, &got
}

const second = 200 * time.Millisecond

func TestSlowFirstTokenIsOvertakenByTheNextBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: second, MaxPercent: 100})
		k.says["a"], k.wasted = []time.Duration{3 * time.Second}, usage.Tokens{Prompt: 7}
		began := time.Now()
		r, got := k.ask(t.Context())
		if r.ServedBy == nil || r.ServedBy.Name != "b" || got.text.String() != "bbbbbbbbbb" || time.Since(began) != second+150*time.Millisecond {
			t.Fatalf("served by %+v after %v: %q", r.ServedBy, time.Since(began), got.text.String())
		}
		if len(r.Attempts) != 2 || r.Attempts[0].Hedge || !r.Attempts[1].Hedge || r.Wasted().Prompt != 7 {
			t.Errorf("attempts %+v, wasted %+v", r.Attempts, r.Wasted())
		}
		if o := k.told["a"]; len(o) != 1 || o[0].Class != health.Abandoned || o[0].Reason != "another attempt won" {
			t.Errorf("the keeper was told of the loser: %+v", o)
		}
		if o := k.told["b"]; len(o) != 1 || o[0].Class != health.Served {
			t.Errorf("the keeper was told of the winner: %+v", o)
		}
	})
}

func TestFirstThatSpeaksInTimeHasNoRival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: second, MaxPercent: 100})
		for range 10 {
			if r, got := k.ask(t.Context()); r.ServedBy.Name != "a" || got.text.String() != "aaaaaaaaaa" || len(r.Attempts) != 1 {
				t.Fatalf("%+v: %q", r.Attempts, got.text.String())
			}
		}
		if s := strings.Join(k.sent, ""); s != "aaaaaaaaaa" {
			t.Errorf("sent to %s", s)
		}
	})
}

func TestFirstMayStillWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: second, MaxPercent: 100})
		k.says["a"], k.says["b"] = []time.Duration{300 * time.Millisecond}, []time.Duration{time.Hour}
		r, got := k.ask(t.Context())
		if r.ServedBy.Name != "a" || got.text.String() != "aaaaaaaaaa" || k.told["b"][0].Class != health.Abandoned {
			t.Errorf("%+v: %q, told %+v", r.Attempts, got.text.String(), k.told)
		}
	})
}

func TestWhoeverFailsLeavesTheRaceToTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: second, MaxPercent: 100})
		k.says["a"], k.refuses["b"] = []time.Duration{time.Second}, health.Outcome{Class: health.Failed, Reason: "503"}
		r, got := k.ask(t.Context())
		if r.ServedBy.Name != "a" || got.text.String() != "aaaaaaaaaa" || k.told["b"][0].Class != health.Failed {
			t.Errorf("%+v: %q, told %+v", r.Attempts, got.text.String(), k.told)
		}
		k.refuses["a"] = health.Outcome{Class: health.Throttled, Wait: time.Second, Reason: "429"}
		k.sent = nil
		if r, got := k.ask(t.Context()); r.ServedBy.Name != "c" || got.text.String() != "cccccccccc" {
			t.Errorf("%+v: %q, want the third", r.Attempts, got.text.String())
		}
		if s := strings.Join(k.sent, ""); s != "abc" {
			t.Errorf("sent to %s, want each once, in order, without a race", s)
		}
	})
}

func TestCallerThatLeavesEndsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: second, MaxPercent: 100})
		k.says["a"], k.says["b"] = []time.Duration{time.Hour}, []time.Duration{time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if r, _ := k.ask(ctx); r.Err == nil || time.Since(began) != time.Second || len(k.told["a"])+len(k.told["b"]) != 2 {
			t.Errorf("err %v after %v, told %+v", r.Err, time.Since(began), k.told)
		}
	})
}

func TestSecondAttemptsKeepWithinTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: second, MaxPercent: 5})
		const n = 400
		var asking sync.WaitGroup
		for i := range n {
			k.mu.Lock()
			k.says["a"] = []time.Duration{time.Minute} // every one of them is slow
			k.mu.Unlock()
			if i%2 == 0 {
				asking.Go(func() { k.ask(t.Context()) })
				synctest.Wait()
			} else {
				k.ask(t.Context())
			}
		}
		asking.Wait()
		if extra := len(k.sent) - n; extra == 0 || extra > n*5/100 {
			t.Errorf("%d second attempts for %d requests, want some, and at most 5 %%", extra, n)
		}
	})
}

func TestDelayFollowsThePercentileOfWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{Percentile: 0.9, MaxPercent: 50})
		for i := range 100 {
			if i%20 == 0 {
				k.says["a"] = []time.Duration{5 * time.Second}
			}
			k.ask(t.Context())
		}
		k.sent = nil
		k.says["a"] = []time.Duration{5 * time.Second}
		began := time.Now()
		if r, _ := k.ask(t.Context()); r.ServedBy.Name != "b" || time.Since(began) > 300*time.Millisecond {
			t.Errorf("served by %s after %v, want the second attempt soon behind the usual 50 ms", r.ServedBy.Name, time.Since(began))
		}
	})
}

func TestRequestsThatLeanAreNotRaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: time.Millisecond, MaxPercent: 100})
		for name, r := range map[string]*proxy.Request{
			"no stream": {}, "leaning": {Parsed: request.ParsedRequest{Stream: true}, PinnedTo: &proxy.Pin{Backend: "a"}},
			"with a tail": {Parsed: request.ParsedRequest{Stream: true}, StreamedBody: proxy.NewStreamedBody(strings.NewReader("x"), 1)},
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

// Both at the very same instant, a thousand times: one answer each time.
func TestTwoAnswersAreNeverMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(balancer.Hedge{After: second, MaxPercent: 100})
		won := map[string]int{}
		for range 1000 {
			k.says["a"] = []time.Duration{second + 50*time.Millisecond}
			r, got := k.ask(t.Context())
			if text := got.text.String(); text != strings.Repeat(r.ServedBy.Name, 10) || got.commits.Load() != 1 {
				t.Fatalf("%q by %s, committed %d times", text, r.ServedBy.Name, got.commits.Load())
			}
			won[r.ServedBy.Name]++
		}
		if won["a"] == 0 || won["b"] == 0 {
			t.Logf("the ties were all won by one: %v", won)
		}
	})
}

func TestPanicOfARunnerIsTheRequests(t *testing.T) {
	k := newTrack(balancer.Hedge{After: second, MaxPercent: 100})
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v", err)
		}
		if k.left != 1 {
			t.Errorf("%d tickets were given back, want 1", k.left)
		}
	}()
	k.Do(t.Context(), []*balancer.Pool{k.pool}, &proxy.Request{Parsed: request.ParsedRequest{Stream: true}}, func(context.Context, *proxy.BackendResponse) proxy.Delivery {
		panic(http.ErrAbortHandler)
	})
}
