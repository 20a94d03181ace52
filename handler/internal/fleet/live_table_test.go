package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/storetest"
)

// countingStore counts exchanges.
type countingStore struct {
	tablestore.Store
	exchanges *atomic.Int64
}

func (c countingStore) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	c.exchanges.Add(1)
	return c.Store.Get(ctx, partition, key)
}

func (c countingStore) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	c.exchanges.Add(1)
	return c.Store.Replace(ctx, row)
}

func (c countingStore) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	c.exchanges.Add(1)
	return c.Store.List(ctx, partition, from, to)
}

// liveFleet is n replicas on one live table, each with its own client and its own
// wrong clock.
type liveFleet struct {
	replicas  []*Replica
	skews     []time.Duration
	stores    []*chaos.Store
	exchanges atomic.Int64
	stop      func()
}

func newLiveFleet(t *testing.T, connection string, n int, cfg Config, faults chaos.Faults) *liveFleet {
	t.Helper()
	f := &liveFleet{}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	name := fmt.Sprintf("t%d", time.Now().UnixNano()%1e12)
	for i := range n {
		store, err := azure.Connect(connection, name, azure.Options{})
		if err != nil {
			t.Fatal(err)
		}
		skew := time.Duration(rand.Int64N(int64(10*time.Minute))) - 5*time.Minute
		faulty := &chaos.Store{Inner: countingStore{store, &f.exchanges}, Faults: faults}
		c := cfg
		c.Store, c.Instance = faulty, fmt.Sprintf("i%02d", i)
		c.Environment.Now = func() time.Time { return time.Now().Add(skew) }
		c.Environment.Wall = func() time.Time { return time.Now().Round(0).Add(skew) }
		replica := New(c)
		replica.Snapshot()
		running.Go(func() { replica.Run(ctx) })
		f.replicas, f.skews, f.stores = append(f.replicas, replica), append(f.skews, skew), append(f.stores, faulty)
	}
	f.stop = func() {
		cancel()
		running.Wait()
		for _, store := range f.stores {
			store.Wait()
		}
	}
	t.Cleanup(f.stop)
	for _, r := range f.replicas {
		eventually(t, func() bool { return r.Counters().ClockUncertainty > 0 })
	}
	return f
}

// flappingBackend fails in turn, and records when it was probed.
type flappingBackend struct {
	mu     sync.Mutex
	up     bool
	probes []interval
}

type interval struct{ from, to time.Time }

// serve is one request. A probe ends with its lease at the latest, unless it is
// renewed; one whose lease ended before it was sent is not recorded.
func (b *flappingBackend) serve(replica *Replica, permit health.Permit) health.Outcome {
	takes := time.Duration(10+rand.IntN(60)) * time.Millisecond
	if rand.IntN(10) == 0 {
		takes = time.Duration(200+rand.IntN(4000)) * time.Millisecond
	}
	began := time.Now()
	var granted time.Time
	for ends := began.Add(takes); time.Now().Before(ends); {
		asked := time.Now() // a busy machine may suspend this goroutine after any line
		left, ok := replica.RenewProbe(permit)
		if !ok {
			break
		}
		granted = asked.Add(min(left, time.Hour))
		time.Sleep(min(time.Until(ends), left))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if permit.Probe && !granted.IsZero() {
		to := time.Now()
		if granted.Before(to) {
			to = granted // later only because this machine is busy: the sender breaks off at the end of the lease
		}
		b.probes = append(b.probes, interval{began, to})
	}
	if !b.up {
		return health.Outcome{Class: health.Failed, Reason: "503", Signals: health.NoSignals()}
	}
	return health.Outcome{Signals: health.NoSignals()}
}

func (b *flappingBackend) flap(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		b.set(false)
		time.Sleep(time.Duration(300+rand.IntN(1200)) * time.Millisecond)
		b.set(true)
	}
}

func (b *flappingBackend) set(up bool) {
	b.mu.Lock()
	b.up = up
	b.mu.Unlock()
}

// countOverlaps counts the probes that began while another was in flight.
func (b *flappingBackend) countOverlaps() (probes, overlaps int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.SortFunc(b.probes, func(x, y interval) int { return x.from.Compare(y.from) })
	var busy time.Time
	for _, p := range b.probes {
		if p.from.Before(busy) {
			overlaps++
		}
		if p.to.After(busy) {
			busy = p.to
		}
	}
	return len(b.probes), overlaps
}

// Instances with clocks up to five minutes off, on a live table with injected
// faults, open and half-open the circuits of flapping backends many times. The
// long form has twenty of them and ten backends.
func TestLiveTableGrantsOneProbeAtATime(t *testing.T) {
	skipIfShort(t)
	connection := storetest.Azurite(t)
	instances, slots, cycles := 6, 4, int64(20)
	soak, long := soakTime(t)
	if long {
		instances, slots, cycles = 20, 10, max(150, int64(1200*min(1, soak.Minutes()/10)))
	}
	var seen transitions
	cfg := Config{
		Refresh: 250 * time.Millisecond, Timeout: 2 * time.Second, OnChange: seen.record,
	}
	backends := make([]*flappingBackend, slots)
	for i := range backends {
		backends[i] = &flappingBackend{up: true}
		cfg.Slots = append(cfg.Slots, fmt.Sprintf("b%d/gpt", i))
		cfg.Breakers = append(cfg.Breakers, health.BreakerPolicy{Failures: 3, TripDuration: 300 * time.Millisecond, MaxTripDuration: 600 * time.Millisecond, ProbeLease: 3 * time.Second, SlowStartStep: -1})
	}
	f := newLiveFleet(t, connection, instances, cfg, chaos.TypicalFaults())
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for n, b := range backends {
		load.Go(func() { b.flap(ctx) })
		for i, replica := range f.replicas {
			load.Go(func() { f.sendRequests(ctx, replica, f.skews[i], health.Slot(n), b) })
		}
	}
	began := time.Now()
	if long {
		for seen.leased.Load() < cycles && time.Since(began) < max(soak, 40*time.Second) {
			time.Sleep(100 * time.Millisecond)
		}
	} else {
		eventually(t, func() bool { return seen.leased.Load() >= cycles })
	}
	took := time.Since(began)
	cancel()
	load.Wait()
	f.stop()
	var probes, overlaps int
	for _, b := range backends {
		p, o := b.countOverlaps()
		probes, overlaps = probes+p, overlaps+o
	}
	var sum Counters
	for _, replica := range f.replicas {
		c := replica.Counters()
		sum.Conflicts, sum.UnknownOutcomes, sum.Writes = sum.Conflicts+c.Conflicts, sum.UnknownOutcomes+c.UnknownOutcomes, sum.Writes+c.Writes
	}
	t.Logf("%v: %d trips, %d leases, %d probes, %d overlapping; %d writes, %d conflicts, %d unknown; %.0f exchanges/s; faults %+v",
		took.Round(time.Second), seen.opened.Load(), seen.leased.Load(), probes, overlaps, sum.Writes, sum.Conflicts, sum.UnknownOutcomes,
		float64(f.exchanges.Load())/took.Seconds(), f.stores[0].Counts())
	if overlaps > 0 || probes < int(cycles)/3 {
		t.Errorf("%d probes, %d overlapping; want about %d and none", probes, overlaps, cycles)
	}
}

// transitions counts those of a fleet, each once, whichever instance applies it
// first.
type transitions struct {
	seen           sync.Map
	opened, leased atomic.Int64
}

func (s *transitions) record(n health.Slot, _, after health.Record) {
	c := after.Circuit
	if _, known := s.seen.LoadOrStore([2]uint64{uint64(n), c.Epoch}, true); known {
		return
	}
	switch {
	case c.State == health.Open:
		s.opened.Add(1)
	case c.State == health.HalfOpen && c.Lease == c.Epoch:
		s.leased.Add(1)
	}
}

// sendRequests is one instance's requests to one backend.
func (f *liveFleet) sendRequests(ctx context.Context, replica *Replica, skew time.Duration, n health.Slot, b *flappingBackend) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rand.ExpFloat64() * float64(300*time.Millisecond)))
		if replica.Snapshot().Of(n).SkipReason(time.Now().Add(skew), 100) != health.NotSkipped {
			replica.RequestProbe(n)
			continue
		}
		permit, ok := replica.Acquire(n, "")
		if !ok {
			continue
		}
		if _, ok := replica.RenewProbe(permit); !ok {
			replica.Release(permit)
			continue
		}
		calls.Go(func() { replica.ReportOutcome(permit, b.serve(replica, permit)) })
	}
}

// How long after a 429 at one instance all others obey it, at the default refresh.
// It measures real time and runs in make soak; TestPropagationBound is the same in
// virtual time.
func TestSoakLiveTablePropagation(t *testing.T) {
	soak, long := soakTime(t)
	if !long {
		t.Skip("a long test: make soak, or set SPILLWAY_SOAK=10m")
	}
	connection := storetest.Azurite(t)
	rounds := max(20, min(300, int(soak/(2*time.Second))))
	const slots = 60 // each is throttled again long after its last window ended
	var cfg Config
	for i := range slots {
		cfg.Slots = append(cfg.Slots, fmt.Sprintf("b%d/gpt", i))
	}
	f := newLiveFleet(t, connection, 20, cfg, chaos.Faults{})
	before := f.exchanges.Load()
	began := time.Now()
	var one, last []time.Duration
	for round := range rounds {
		n := health.Slot(round % slots)
		time.Sleep(time.Duration(rand.Int64N(int64(500 * time.Millisecond))))
		first := rand.IntN(len(f.replicas))
		began := time.Now()
		f.replicas[first].ReportOutcome(health.Permit{Slot: n}, throttled(10*time.Second, health.LimitCapacity))
		late := time.Duration(0)
		for obeying := map[int]bool{}; len(obeying) < len(f.replicas) && late < 10*time.Second; time.Sleep(time.Millisecond) {
			late = time.Since(began)
			for i, replica := range f.replicas {
				if !obeying[i] && replica.Snapshot().Of(n).SkipReason(time.Now().Add(f.skews[i]), 1) == health.SkipThrottled {
					obeying[i] = true
					one = append(one, late)
				}
			}
		}
		last = append(last, late)
	}
	perSecond := float64(f.exchanges.Load()-before) / time.Since(began).Seconds()
	t.Logf("20 instances at a refresh of 500 ms, %d rounds: an instance obeys after p50 %v p99 %v, the last of the fleet after p50 %v p99 %v max %v; %.0f exchanges/s",
		rounds, at(one, .5), at(one, .99), at(last, .5), at(last, .99), at(last, 1), perSecond)
	// The goal is 0.65 s (docs/shared-state.md#bounds); a busy machine is given more.
	if at(last, .5) > time.Second {
		t.Errorf("the last of the fleet obeys after %v, want 0.65 s", at(last, .5))
	}
}

// The table is lost with all its rows, and comes back empty.
func TestLiveTableMayComeBackEmpty(t *testing.T) {
	skipIfShort(t)
	service := storetest.StartAzurite(t)
	f := newLiveFleet(t, service.ConnectionString, 3, Config{Slots: []string{"a/m", "b/m"}}, chaos.Faults{})
	f.replicas[0].ReportOutcome(health.Permit{Slot: 0}, throttled(time.Minute, health.LimitCapacity))
	f.await(t, 0, health.SkipThrottled)
	service.Stop()
	service.Start()
	f.replicas[1].ReportOutcome(health.Permit{Slot: 1}, throttled(time.Minute, health.LimitCapacity))
	f.await(t, 1, health.SkipThrottled)
	f.await(t, 0, health.SkipThrottled) // the instance that saw it writes it again
}

// await waits until every instance skips the slot for that reason.
func (f *liveFleet) await(t *testing.T, n health.Slot, want health.SkipReason) {
	t.Helper()
	for i, r := range f.replicas {
		eventually(t, func() bool { return r.Snapshot().Of(n).SkipReason(time.Now().Add(f.skews[i]), 1) == want })
	}
}

// eventually waits for an event, however busy the machine is.
func eventually(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting after three minutes")
		}
	}
}
