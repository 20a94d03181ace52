package proxy_test

import (
	"context"
	"errors"
	"testing"

	"spillway/handler/internal/balancer"
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
