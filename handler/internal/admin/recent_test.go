package admin

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

func TestRecentKeepsTheLatestRequests(t *testing.T) {
	w := newFakeFleet(time.Now, []string{"gpt-4o"}, threeBackends())
	r := NewRecent("a", w.cfg.Slots, 3, time.Now)
	w.cfg.Recent = r
	p := &w.cfg.Pools[0]
	if n, since := r.retained(); n != 0 || !since.IsZero() || r.find("", 5) != nil {
		t.Errorf("of nothing, %d since %v", n, since)
	}
	for i := range 5 {
		w.finish(fakeRequest{id: fmt.Sprint("req_", i), pool: p, status: 200, attempts: []proxy.Attempt{served(&p.Backends[i%3], time.Second, -1)}})
	}
	var ids []string
	for _, d := range r.find("", 10) {
		ids = append(ids, d.id)
	}
	if got := strings.Join(ids, " "); got != "req_4 req_3 req_2" {
		t.Errorf("kept %s, want the newest first", got)
	}
	if n, _ := r.retained(); n != 3 {
		t.Errorf("%d kept, want 3", n)
	}
	if len(r.find("req_1", 1)) != 0 || len(r.find("req_2", 1)) != 1 {
		t.Error("a dropped request is found, or a kept one is not")
	}
}

// A found request must not change while new ones are recorded.
func TestFoundRequestIsACopy(t *testing.T) {
	w := newFakeFleet(time.Now, []string{"gpt-4o"}, threeBackends())
	r := NewRecent("a", w.cfg.Slots, 1, time.Now)
	w.cfg.Recent = r
	p := &w.cfg.Pools[0]
	w.finish(fakeRequest{id: "first", pool: p, status: 200, attempts: []proxy.Attempt{failedBy(&p.Backends[0], "503", 503), served(&p.Backends[1], time.Second, -1)}})
	found := r.find("first", 1)[0]
	w.finish(fakeRequest{id: "second", pool: p, status: 200, attempts: []proxy.Attempt{served(&p.Backends[2], time.Second, -1), served(&p.Backends[2], time.Second, -1)}})
	if found.id != "first" || found.attempts[0].Backend.Name != "ptu-uksouth" || found.candidates[1].Backend.Name != "payg-sweden" {
		t.Errorf("now it reads %+v", found)
	}
}

// The candidates of a decision are allocated together with the request and its
// body: retaining them would retain every body.
func TestRecentDoesNotRetainRequestBodies(t *testing.T) {
	w := newFakeFleet(time.Now, []string{"gpt-4o"}, threeBackends())
	p := &w.cfg.Pools[0]
	type loop struct {
		inline [8]balancer.Candidate
		body   []byte
	}
	r := NewRecent("a", w.cfg.Slots, 10, time.Now)
	held := func() weak.Pointer[loop] {
		l := &loop{body: make([]byte, 1<<20)}
		l.inline[0].Backend = &p.Backends[0]
		r.RequestDone(&api.RequestRecord{ID: "req", Start: time.Now(), Result: &proxy.Result{Pool: p, Decision: balancer.Decision{Candidates: l.inline[:1], Eligible: 1}}})
		return weak.Make(l)
	}()
	runtime.GC()
	runtime.GC()
	if held.Value() != nil {
		t.Error("a recorded request retains the memory of its body")
	}
	if got := r.find("req", 1); len(got) != 1 || got[0].candidates[0].Backend.Name != "ptu-uksouth" {
		t.Errorf("kept %+v", got)
	}
}

func TestTrafficIsCountedPerBackendAndConsumer(t *testing.T) {
	at := loopingClock(time.Now())
	w := newFakeFleet(at, []string{"gpt-4o"}, threeBackends())
	w.addConsumers()
	p := &w.cfg.Pools[0]
	for range 3 {
		w.finish(fakeRequest{id: "a", consumer: &w.cfg.Consumers[0], pool: p, status: 200, took: time.Second, tokens: tokens(100, 20), attempts: []proxy.Attempt{
			throttledBy(&p.Backends[0], time.Second), failedBy(&p.Backends[1], "503", 503), served(&p.Backends[2], 800*time.Millisecond, -1),
		}})
	}
	now := at()
	for slot, want := range []counts{{Attempts: 3, Throttled: 3}, {Attempts: 3, Failed: 3}, {Attempts: 3, Served: 3, Tokens: 360}} {
		if got, _ := w.cfg.Recent.slots[slot].sum(now); got != want {
			t.Errorf("slot %d: %+v, want %+v", slot, got, want)
		}
	}
	if got := w.cfg.Recent.consumers.sum("team-a", now); got != (counts{Attempts: 3, Served: 3, Tokens: 360}) {
		t.Errorf("team-a: %+v", got)
	}
	if got := w.cfg.Recent.consumers.sum("nobody", now); got != (counts{}) {
		t.Errorf("nobody: %+v", got)
	}
	if _, h := w.cfg.Recent.slots[2].sum(now); h.total() != 3 || h.quantile(0.5) < 180 || h.quantile(0.5) > 220 {
		t.Errorf("the first token came after %v ms of %d, want 200 from its own attempt", h.quantile(0.5), h.total())
	}
}

func TestConsumerRatesAreBounded(t *testing.T) {
	var c consumerRates
	for i := range 3 * maxConsumers {
		c.add(fmt.Sprint("consumer-", i), time.Now(), counts{Attempts: 1})
	}
	if len(c.by) != maxConsumers {
		t.Errorf("%d, want %d", len(c.by), maxConsumers)
	}
}

func TestRecentIsSafeForConcurrentUse(t *testing.T) {
	w := newFakeFleet(time.Now, []string{"gpt-4o"}, threeBackends())
	w.addConsumers()
	p := &w.cfg.Pools[0]
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				w.finish(fakeRequest{id: "x", consumer: &w.cfg.Consumers[0], pool: p, status: 200, attempts: []proxy.Attempt{served(&p.Backends[0], time.Millisecond, 50)}})
				w.cfg.Recent.Changed(0, health.Record{}, health.Record{Override: health.OperatorOverride{Drained: true, Operator: "x"}})
			}
		})
		all.Go(func() {
			o := New(w.cfg)
			for range 50 {
				o.currentStatus()
				w.cfg.Recent.find("x", 20)
			}
		})
	}
	all.Wait()
	if n, _ := w.cfg.Recent.slots[0].sum(time.Now()); n.Attempts != 800 {
		t.Errorf("%d attempts were counted of 800", n.Attempts)
	}
}

// Recording reuses the memory of the request that it replaces.
func TestRecordingDoesNotAllocate(t *testing.T) {
	r, x := busyRecent()
	for range cap(r.ring) {
		r.RequestDone(x)
	}
	if n := testing.AllocsPerRun(200, func() { r.RequestDone(x) }); n > 0 {
		t.Errorf("%v allocations for each request", n)
	}
	x.Cause = errors.New(strings.Repeat("x", 5000))
	r.RequestDone(x)
	if got := r.find("", 1)[0].cause; len(got) > 310 {
		t.Errorf("a cause of %d bytes is kept", len(got))
	}
}

func BenchmarkSaw(b *testing.B) {
	r, x := busyRecent()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.RequestDone(x)
		}
	})
}

// busyRecent is a Recent, and a request of three attempts in a pool of eight.
func busyRecent() (*Recent, *api.RequestRecord) {
	var many []backendSpec
	for i := range 8 {
		many = append(many, backendSpec{fmt.Sprint("backend-", i), "region", 1 + i/4, 1, false})
	}
	w := newFakeFleet(time.Now, []string{"gpt-4o"}, many)
	w.addConsumers()
	p := &w.cfg.Pools[0]
	x := &api.RequestRecord{ID: "req_busy", Start: time.Now(), Duration: time.Second, Consumer: &w.cfg.Consumers[0], Model: p.Model, Status: 200}
	x.Result = &proxy.Result{Pool: p, ServedBy: &p.Backends[2], Attempts: []proxy.Attempt{
		throttledBy(&p.Backends[0], time.Second), failedBy(&p.Backends[1], "503", 503), served(&p.Backends[2], time.Second, 70),
	}}
	x.Result.Delivery = proxy.Delivery{Usage: tokens(900, 100), FirstToken: time.Now()}
	for i := range p.Backends {
		x.Result.Decision.Candidates = append(x.Result.Decision.Candidates, balancer.Candidate{Backend: &p.Backends[i]})
	}
	return NewRecent("a", make([]string, 8), 2000, time.Now), x
}
