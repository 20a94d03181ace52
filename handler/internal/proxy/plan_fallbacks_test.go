package proxy_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// A fallback is asked for when a request comes to it, and skipped where it may not
// serve.
func TestFallbackThatMayNotServeIsSkipped(t *testing.T) {
	for name, c := range map[string]struct {
		first, second []scripted
		may           string
		asked, sent   string
		by            string // "" = nobody
	}{
		"the model itself serves":     {nil, nil, "", "", "a", "a"},
		"the next may":                {[]scripted{failing}, nil, "bc", "b", "ab", "b"},
		"the next may and fails":      {[]scripted{failing}, []scripted{failing}, "bc", "bc", "abc", "c"},
		"the next may not":            {[]scripted{failing}, nil, "c", "bc", "ac", "c"},
		"none may, and it is retried": {[]scripted{failing}, nil, "", "bc", "aa", "a"},
		"none may":                    {[]scripted{throttled, throttled}, nil, "", "bc", "a", ""},
	} {
		f := newFixture(t, 1, 1, 1)
		f.scripts["a"], f.scripts["b"] = c.first, c.second
		var pools []*balancer.Pool
		for i := range f.pool.Backends {
			pools = append(pools, &balancer.Pool{Model: f.pool.Backends[i].Name, Backends: f.pool.Backends[i : i+1]})
		}
		asked := ""
		r := f.proxy.Do(t.Context(), pools, &proxy.Request{Fallback: func(_ context.Context, p *balancer.Pool) bool {
			asked += p.Model
			for _, may := range c.may {
				if string(may) == p.Model {
					return true
				}
			}
			return false
		}}, func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
			a.Hooks.Committed()
			return proxy.Delivery{Committed: true, FirstToken: a.Start}
		})
		f.wantSent(c.sent)
		if c.by == "" && !errors.Is(r.Err, proxy.ErrThrottled) {
			t.Errorf("%s: %v", name, r.Err)
		} else if c.by != "" {
			wantServed(t, r, c.by)
		}
		if asked != c.asked || len(pools) != 3 {
			t.Errorf("%s: asked for %q, want %q", name, asked, c.asked)
		}
	}
}

// Who waits at the only backend of a model while its circuit opens goes where new
// requests go. One request that takes long keeps its attempt.
func TestSilentRequestsGoToTheFallbackOnceTheCircuitOpens(t *testing.T) {
	for name, opens := range map[string]bool{"the circuit opens": true, "it stays closed": false} {
		w := newWorld(4, 2)
		w.behaviour = always(hangs, serves)
		w.fallback = []*balancer.Pool{{Model: "small", Backends: slices.Clone(w.pool.Backends[1:])}}
		w.pool.Backends = w.pool.Backends[:1]
		w.usual(100 * time.Millisecond)
		for i := range 20 {
			w.arrive(time.Duration(i)*100*time.Millisecond, plain())
		}
		w.in(4500*time.Millisecond, func() {
			if opens {
				w.health[0].State, w.health[0].Until = health.Open, w.now.Add(time.Hour)
			}
		})
		w.run()
		for _, q := range w.requests {
			if took := q.ended.Sub(q.began); opens && (q.end.Err != nil || took > 5600*time.Millisecond) || len(q.sends) > 1 != opens {
				t.Fatalf("%s: %v after %v, %d attempts", name, q.end.Err, took, len(q.sends))
			}
		}
	}
}

// A request that was given up for a fallback which may not serve is tried once more where
// it was given up.
func TestRequestGivenUpForAFallbackThatMayNotServe(t *testing.T) {
	w := newWorld(4, 2)
	w.behaviour = func(_, n int) reaction {
		if n == 0 {
			return hangs
		}
		return serves
	}
	w.fallback = []*balancer.Pool{{Model: "small", Backends: slices.Clone(w.pool.Backends[1:])}}
	w.pool.Backends = w.pool.Backends[:1]
	w.usual(100*time.Millisecond, 0)
	q := w.arrive(0, &proxy.Request{Fallback: func(context.Context, *balancer.Pool) bool { return false }})
	w.in(time.Second, func() { w.health[0].State, w.health[0].Until = health.Open, w.now.Add(time.Hour) })
	w.run()
	if took := q.ended.Sub(q.began); q.end.Err != nil || took > 3*time.Second {
		t.Errorf("%v after %v, %d attempts", q.end.Err, took, len(q.sends))
	}
}
