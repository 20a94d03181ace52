package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// lean asks for what a backend holds; unknown is that nobody knows which.
func (w *world) lean(r *proxy.Request) *proxy.Result {
	w.t.Helper()
	return w.proxy.Do(w.t.Context(), []*balancer.Pool{w.pool}, r, func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
		a.Hooks.Committed()
		return proxy.Delivery{Committed: true, FirstToken: a.Began}
	})
}

func presence(by string) *proxy.Request { return &proxy.Request{PinnedTo: &proxy.Pin{Backend: by}} }

var notHeld = answer{status: 400, outcome: health.Outcome{Reason: proxy.NotHeld}}

func TestOnlyTheHolderIsAskedAndItsRefusalIsTheCallers(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.scripts["b"] = []answer{{status: 429, outcome: health.Outcome{Class: health.Throttled, Wait: time.Minute, Reason: "429 tokens"}}}
	r := w.lean(presence("b"))
	w.wantSent("b")
	if r.Err != nil || r.Status() != 429 || len(w.reports) != 1 || w.reports[0].Class != health.Throttled {
		t.Errorf("err %v, status %d, reports %+v: want the 429 with the caller and the keeper", r.Err, r.Status(), w.reports)
	}
	if r := w.lean(presence("b")); !errors.Is(r.Err, proxy.ErrThrottled) || r.RetryAt.IsZero() {
		t.Errorf("err %v until %v, want throttled without another attempt", r.Err, r.RetryAt)
	}
	w.wantSent("b")
}

func TestReadingWhatIsHeldIsNoMatterOfHealth(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.health[1] = health.Health{State: 1, Until: time.Now().Add(time.Hour)}
	w.scripts["b"] = []answer{ok, failing}
	request := presence("b")
	request.Operation = operations.Operation{State: operations.ByID}
	if r := w.lean(request); r.Err != nil {
		t.Errorf("an open circuit kept it from being read: %v", r.Err)
	}
	if r := w.lean(request); !errors.Is(r.Err, proxy.ErrUnavailable) {
		t.Errorf("err %v, want the failure told", r.Err)
	}
	if len(w.reports) != 0 || w.left != 0 {
		t.Errorf("the keeper was told of it: %+v", w.reports)
	}
}

func TestWhatWasJustMadeIsAskedForOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for age, want := range map[time.Duration]string{time.Second: "bb", time.Minute: "b"} {
			w := newWorld(t, 1, 2)
			w.scripts["b"] = []answer{notHeld, ok}
			request := presence("b")
			request.PinnedTo.CreatedAt = time.Now().Add(-age)
			r := w.lean(request)
			w.wantSent(want)
			if status := map[string]int{"bb": 200, "b": 400}[want]; r.Status() != status || r.Err != nil && status == 200 {
				t.Errorf("age %v: status %d, %v, want %d", age, r.Status(), r.Err, status)
			}
		}
	})
}

func TestWhenNobodyKnowsTheHolderEachIsAskedOnce(t *testing.T) {
	w := newWorld(t, 1, 1, 2)
	w.scripts["a"], w.scripts["b"] = []answer{notHeld}, []answer{notHeld}
	wantServed(t, w.lean(presence("")), "c")
	w = newWorld(t, 1, 2)
	w.scripts["a"], w.scripts["b"] = []answer{notHeld}, []answer{notHeld}
	if r := w.lean(presence("")); r.Err != nil || r.Status() != 400 {
		t.Errorf("err %v, status %d, want the first refusal", r.Err, r.Status())
	}
	w.wantSent("ab")
	w = newWorld(t, 1, 2)
	w.scripts["a"], w.scripts["b"] = []answer{throttled}, []answer{notHeld}
	if r := w.lean(presence("")); !errors.Is(r.Err, proxy.ErrThrottled) {
		t.Errorf("err %v, want throttled: the one that was not asked may hold it", r.Err)
	}
}

func TestBodyThatIsSentOnceIsNotSentTwice(t *testing.T) {
	w := newWorld(t, 1, 2)
	tail := proxy.NewStreamedBody(strings.NewReader("rest"), 4)
	w.proxy.Sender = sender(func(b *balancer.Backend) (*http.Response, health.Outcome) {
		w.sent = append(w.sent, b.Name)
		if b.Name == "a" {
			return nil, failing.outcome // before the tail was touched
		}
		_, _ = io.ReadAll(tail.Open())
		return nil, failing.outcome
	})
	w.pool.Backends = append(w.pool.Backends, balancer.Backend{Name: "c", Slot: 1, Priority: 3, Weight: 1})
	if r := w.lean(&proxy.Request{StreamedBody: tail}); !errors.Is(r.Err, proxy.ErrUnavailable) {
		t.Errorf("err %v", r.Err)
	}
	w.wantSent("ab")
}

// sender answers by itself.
type sender func(b *balancer.Backend) (*http.Response, health.Outcome)

func (s sender) Send(_ context.Context, b *balancer.Backend, _ *proxy.Request, _ func() error) (*http.Response, health.Outcome) {
	return s(b)
}

func TestSearchEndsWithTheFirstThatHasIt(t *testing.T) {
	w := newWorld(t, 1, 1, 1)
	reply := func(status int) *http.Response { return &http.Response{StatusCode: status, Body: http.NoBody} }
	for name, c := range map[string]struct {
		answers map[string]int
		found   string
		err     error
	}{
		"one has it":          {map[string]int{"a": 404, "b": 200, "c": 404}, "b", nil},
		"none has":            {map[string]int{"a": 404, "b": 404, "c": 400}, "", nil},
		"one could not say":   {map[string]int{"a": 404, "b": 0, "c": 404}, "", proxy.ErrLocateIncomplete},
		"and yet it is found": {map[string]int{"a": 200, "b": 0, "c": 429}, "a", nil},
	} {
		w.proxy.Sender = sender(func(b *balancer.Backend) (*http.Response, health.Outcome) {
			if c.answers[b.Name] == 0 {
				return nil, failing.outcome
			}
			return reply(c.answers[b.Name]), health.Outcome{}
		})
		among := []*balancer.Backend{&w.pool.Backends[0], &w.pool.Backends[1], &w.pool.Backends[2]}
		got, err := w.proxy.Locate(t.Context(), among, &proxy.Request{})
		if (got == nil) != (c.found == "") || got != nil && got.Name != c.found || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v, want %q, %v", name, got, err, c.found, c.err)
		}
	}
	if len(w.reports) != 0 {
		t.Errorf("the keeper was told: %+v", w.reports)
	}
}

func TestNameThatIsPassedOnAndNotKnownClosesNothing(t *testing.T) {
	w := newWorld(t, 1, 2)
	undeployed := answer{outcome: health.Outcome{Class: health.Misconfigured, Reason: proxy.NotDeployed}}
	w.scripts["a"], w.scripts["b"] = []answer{undeployed}, []answer{undeployed}
	if r := w.lean(&proxy.Request{}); !errors.Is(r.Err, proxy.ErrNotDeployed) {
		t.Errorf("err %v, want not offered", r.Err)
	}
	for _, o := range w.reports {
		if o.Class != health.Abandoned {
			t.Errorf("the keeper was told %+v", o)
		}
	}
	w = newWorld(t, 1)
	w.pool.Backends[0].Deployment = "configured"
	w.scripts["a"] = []answer{undeployed}
	if r := w.lean(&proxy.Request{}); !errors.Is(r.Err, proxy.ErrUnavailable) || w.reports[0].Class != health.Misconfigured {
		t.Errorf("err %v, reports %+v: a configured name that is wrong is a fault", r.Err, w.reports)
	}
}
