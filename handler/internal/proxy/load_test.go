package proxy_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// idle is the health of backends that are always healthy.
type idle struct{}

func (idle) Snapshot() *health.Snapshot                     { return new(health.Snapshot) }
func (idle) RequestProbe(health.Slot)                       {}
func (idle) RenewProbe(health.Permit) (time.Duration, bool) { return time.Second, true }
func (idle) ReportSignals(health.Slot, health.Signals)      {}
func (idle) Release(health.Permit)                          {}
func (idle) ReportOutcome(health.Permit, health.Outcome)    {}
func (idle) AwaitRefresh(context.Context)                   {}
func (idle) ReportAnswered(health.Permit)                   {}
func (idle) ReportSilent(health.Permit)                     {}
func (idle) TakeBack([]health.Permit)                       {}

func (idle) Acquire(s health.Slot, _ string) (health.Permit, bool) {
	return health.Permit{Slot: s}, true
}

func (idle) AcquireTrial(s health.Slot) (health.Permit, bool) {
	return health.Permit{Slot: s, Trial: true}, true
}

func TestRoundRobinIsExactUnderConcurrency(t *testing.T) {
	p := &balancer.Pool{Model: "m", Strategy: balancer.RoundRobin}
	for i, weight := range []int{1, 2, 5} {
		p.Backends = append(p.Backends, balancer.Backend{Name: string(rune('a' + i)), Slot: health.Slot(i), Priority: 1, Weight: weight})
	}
	var mu sync.Mutex
	served := map[string]int{}
	loop := &proxy.Proxy{
		Health: idle{}, Load: proxy.NewLoad(3), RoundRobin: new(proxy.RoundRobin),
		Now: time.Now, Rand: func() float64 { return 0 }, Queue: new(proxy.WaitQueue),
		Sender: sender(func(*balancer.Backend) (*http.Response, health.Outcome) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, health.Outcome{}
		}),
	}
	var requests sync.WaitGroup
	for range 16 {
		requests.Go(func() {
			for range 500 {
				loop.Do(context.Background(), []*balancer.Pool{p}, &proxy.Request{}, func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
					mu.Lock()
					defer mu.Unlock()
					served[a.Backend.Name]++
					return proxy.Delivery{Committed: true}
				})
			}
		})
	}
	requests.Wait()
	if served["a"] != 1000 || served["b"] != 2000 || served["c"] != 5000 {
		t.Errorf("%v, want exactly 1000, 2000 and 5000 of 8000", served)
	}
}
