package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

func (f *fixture) forward(r *proxy.Request) *proxy.Result {
	f.t.Helper()
	return f.proxy.Do(f.t.Context(), []*balancer.Pool{f.pool}, r, func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
		a.Hooks.Committed()
		return proxy.Delivery{Committed: true, FirstToken: a.Start}
	})
}

func pinned(to string) *proxy.Request { return &proxy.Request{PinnedTo: &proxy.Pin{Backend: to}} }

var notHeld = scripted{status: 400, outcome: health.Outcome{Reason: proxy.NotHeld}}

func TestPinnedRequestUsesOneBackendAndRelaysItsError(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.scripts["b"] = []scripted{{status: 429, outcome: health.Outcome{Class: health.Throttled, Wait: time.Minute, Reason: "429 tokens"}}}
	r := f.forward(pinned("b"))
	f.wantSent("b")
	if r.Err != nil || r.Status() != 429 || len(f.reports) != 1 || f.reports[0].Class != health.Throttled {
		t.Errorf("err %v, status %d, reports %+v: want the 429 delivered and reported", r.Err, r.Status(), f.reports)
	}
	if r := f.forward(pinned("b")); !errors.Is(r.Err, proxy.ErrThrottled) || r.RetryAt.IsZero() {
		t.Errorf("err %v until %v, want throttled without another attempt", r.Err, r.RetryAt)
	}
	f.wantSent("b")
}

func TestStoredReadsIgnoreHealth(t *testing.T) {
	f := newFixture(t, 1, 2)
	f.health[1] = health.Health{State: 1, Until: time.Now().Add(time.Hour)}
	f.scripts["b"] = []scripted{ok, failing}
	request := pinned("b")
	request.Operation = operations.Operation{State: operations.ByID}
	if r := f.forward(request); r.Err != nil {
		t.Errorf("an open circuit prevented the read: %v", r.Err)
	}
	if r := f.forward(request); !errors.Is(r.Err, proxy.ErrUnavailable) {
		t.Errorf("err %v, want unavailable", r.Err)
	}
	if len(f.reports) != 0 || f.released != 0 {
		t.Errorf("reports %+v of a stored read", f.reports)
	}
}

func TestRecentlyCreatedIsRequestedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for age, want := range map[time.Duration]string{time.Second: "bb", time.Minute: "b"} {
			f := newFixture(t, 1, 2)
			f.scripts["b"] = []scripted{notHeld, ok}
			request := pinned("b")
			request.PinnedTo.CreatedAt = time.Now().Add(-age)
			r := f.forward(request)
			f.wantSent(want)
			if status := map[string]int{"bb": 200, "b": 400}[want]; r.Status() != status || r.Err != nil && status == 200 {
				t.Errorf("age %v: status %d, %v, want %d", age, r.Status(), r.Err, status)
			}
		}
	})
}

func TestUnknownPinAsksEachBackendOnce(t *testing.T) {
	f := newFixture(t, 1, 1, 2)
	f.scripts["a"], f.scripts["b"] = []scripted{notHeld}, []scripted{notHeld}
	wantServed(t, f.forward(pinned("")), "c")
	f = newFixture(t, 1, 2)
	f.scripts["a"], f.scripts["b"] = []scripted{notHeld}, []scripted{notHeld}
	if r := f.forward(pinned("")); r.Err != nil || r.Status() != 400 {
		t.Errorf("err %v, status %d, want the first error", r.Err, r.Status())
	}
	f.wantSent("ab")
	f = newFixture(t, 1, 2)
	f.scripts["a"], f.scripts["b"] = []scripted{throttled}, []scripted{notHeld}
	if r := f.forward(pinned("")); !errors.Is(r.Err, proxy.ErrThrottled) {
		t.Errorf("err %v, want throttled: the throttled backend may hold it", r.Err)
	}
}

func TestStreamedBodyIsSentOnce(t *testing.T) {
	f := newFixture(t, 1, 2)
	tail := proxy.NewStreamedBody(strings.NewReader("rest"), 4)
	f.proxy.Sender = sender(func(b *balancer.Backend) (*http.Response, health.Outcome) {
		f.sent = append(f.sent, b.Name)
		if b.Name == "a" {
			return nil, failing.outcome // before the tail was touched
		}
		_, _ = io.ReadAll(tail.Open())
		return nil, failing.outcome
	})
	f.pool.Backends = append(f.pool.Backends, balancer.Backend{Name: "c", Slot: 1, Priority: 3, Weight: 1})
	if r := f.forward(&proxy.Request{StreamedBody: tail}); !errors.Is(r.Err, proxy.ErrUnavailable) {
		t.Errorf("err %v", r.Err)
	}
	f.wantSent("ab")
}

// sender is a Sender without a script.
type sender func(b *balancer.Backend) (*http.Response, health.Outcome)

func (s sender) Send(_ context.Context, b *balancer.Backend, _ *proxy.Request, _ func() error) (*http.Response, health.Outcome) {
	return s(b)
}

func TestLocateReturnsTheBackendThatHolds(t *testing.T) {
	f := newFixture(t, 1, 1, 1)
	reply := func(status int) *http.Response { return &http.Response{StatusCode: status, Body: http.NoBody} }
	for name, c := range map[string]struct {
		answers map[string]int
		found   string
		err     error
	}{
		"one holds":            {map[string]int{"a": 404, "b": 200, "c": 404}, "b", nil},
		"none holds":           {map[string]int{"a": 404, "b": 404, "c": 400}, "", nil},
		"one fails":            {map[string]int{"a": 404, "b": 0, "c": 404}, "", proxy.ErrLocateIncomplete},
		"one holds, one fails": {map[string]int{"a": 200, "b": 0, "c": 429}, "a", nil},
	} {
		f.proxy.Sender = sender(func(b *balancer.Backend) (*http.Response, health.Outcome) {
			if c.answers[b.Name] == 0 {
				return nil, failing.outcome
			}
			return reply(c.answers[b.Name]), health.Outcome{}
		})
		among := []*balancer.Backend{&f.pool.Backends[0], &f.pool.Backends[1], &f.pool.Backends[2]}
		got, err := f.proxy.Locate(t.Context(), among, &proxy.Request{})
		if (got == nil) != (c.found == "") || got != nil && got.Name != c.found || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v, want %q, %v", name, got, err, c.found, c.err)
		}
	}
	if len(f.reports) != 0 {
		t.Errorf("reports %+v of a search", f.reports)
	}
}

// An object that was made later than a search asks for is not found.
func TestLocateOfWhatWasMadeBefore(t *testing.T) {
	instant := time.Unix(1_900_000_000, 500_000_000)
	for answer, found := range map[string]bool{
		`{"id":"f","created_at":1899999999}`: true, `{"id":"f","created_at":1900000000}`: true, `{"id":"f","created_at":1900000001}`: false,
		`{"id":"chatcmpl-1","created":1899999999}`: true, `{"id":"chatcmpl-1","created":1900000001}`: false,
		`{"id":"f"}`: false, `{"id":"f","created_at":0}`: false, `{"id":"f","created_at":"soon"}`: false, `not JSON`: false, ``: false,
		`{"id":"f","metadata":{"created_at":1},"created_at":1900000001}`: false,
	} {
		f := newFixture(t, 1)
		f.proxy.Sender = sender(func(*balancer.Backend) (*http.Response, health.Outcome) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(answer))}, health.Outcome{}
		})
		got, err := f.proxy.Locate(t.Context(), []*balancer.Backend{&f.pool.Backends[0]}, &proxy.Request{MadeBefore: map[string]time.Time{"a": instant}})
		if (got != nil) != found || err != nil {
			t.Errorf("%s: %v, %v; want it found: %v", answer, got, err, found)
		}
	}
}

func TestLocateAsksAsManyAtOnceAsAreGranted(t *testing.T) {
	for _, granted := range []int{0, 1, 9} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, 1, 1, 1)
			var mu sync.Mutex
			now, most, extra := 0, 0, granted
			count := func(n int) {
				mu.Lock()
				defer mu.Unlock()
				now += n
				most = max(most, now)
			}
			f.proxy.Sender = sender(func(*balancer.Backend) (*http.Response, health.Outcome) {
				count(1)
				defer count(-1)
				time.Sleep(time.Second)
				return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, health.Outcome{}
			})
			r := &proxy.Request{Another: func() (func(), bool) {
				mu.Lock()
				defer mu.Unlock()
				if extra == 0 {
					return nil, false
				}
				extra--
				return func() {
					mu.Lock()
					defer mu.Unlock()
					extra++
				}, true
			}}
			among := []*balancer.Backend{&f.pool.Backends[0], &f.pool.Backends[1], &f.pool.Backends[2]}
			if got, err := f.proxy.Locate(t.Context(), among, r); got != nil || err != nil || most > granted+1 || extra != granted {
				t.Errorf("%d more granted: %v, %v, %d at once, %d left", granted, got, err, most, extra)
			}
		})
	}
}

func TestMissingDeploymentOfPassedOnNameIsNoFailure(t *testing.T) {
	f := newFixture(t, 1, 2)
	undeployed := scripted{outcome: health.Outcome{Class: health.Misconfigured, Reason: proxy.NotDeployed}}
	f.scripts["a"], f.scripts["b"] = []scripted{undeployed}, []scripted{undeployed}
	if r := f.forward(&proxy.Request{}); !errors.Is(r.Err, proxy.ErrNotDeployed) {
		t.Errorf("err %v, want not offered", r.Err)
	}
	for _, o := range f.reports {
		if o.Class != health.Abandoned {
			t.Errorf("reported %+v", o)
		}
	}
	f = newFixture(t, 1)
	f.pool.Backends[0].Deployment = "configured"
	f.scripts["a"] = []scripted{undeployed}
	if r := f.forward(&proxy.Request{}); !errors.Is(r.Err, proxy.ErrUnavailable) || f.reports[0].Class != health.Misconfigured {
		t.Errorf("err %v, reports %+v: want a missing configured deployment reported", r.Err, f.reports)
	}
}
