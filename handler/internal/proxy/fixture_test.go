package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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

func (f *fixture) RequestProbe(s health.Slot) { f.wanted = append(f.wanted, s) }

func (f *fixture) RenewProbe(health.Permit) (time.Duration, bool) { return time.Second, !f.lost.Load() }

func (f *fixture) ReportSignals(health.Slot, health.Signals) {}

func (f *fixture) Release(health.Permit) { f.record(func() { f.released++ }) }

func (f *fixture) AwaitRefresh(context.Context) { f.refreshes++ }

func (f *fixture) ReportAnswered(health.Permit) { f.record(func() { f.answered++ }) }

func (f *fixture) TakeBack(failed []health.Permit) { f.takenBack += len(failed) }

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
