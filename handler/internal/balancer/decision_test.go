package balancer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

var instant = time.UnixMilli(1_900_000_000_000)

// load is a fixed load.
type load struct {
	inFlight   map[health.Slot]int64
	firstToken map[health.Slot]time.Duration
}

func (l load) InFlight(s health.Slot) int64           { return l.inFlight[s] }
func (l load) FirstToken(s health.Slot) time.Duration { return l.firstToken[s] }

// backends makes one backend per weight, all in priority group 1.
func backends(weights ...int) []balancer.Backend {
	bs := make([]balancer.Backend, len(weights))
	for i, w := range weights {
		bs[i] = balancer.Backend{Name: fmt.Sprintf("b%d", i), Slot: health.Slot(i), Priority: 1, Weight: w}
	}
	return bs
}

func query(r *rand.Rand) *balancer.Query {
	return &balancer.Query{Now: instant, Rand: r.Float64, Load: load{}}
}

func healthy(n int) *health.Snapshot { return &health.Snapshot{Slots: make([]health.Health, n)} }

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// shares is how often each backend is first in n decisions.
func shares(p *balancer.Pool, q *balancer.Query, s *health.Snapshot, n int) []float64 {
	first := make([]float64, len(p.Backends))
	for range n {
		d := p.Decide(q, s, nil)
		first[d.Candidates[0].Backend.Slot] += 1 / float64(n)
		q.Sequence++
	}
	return first
}

func wantShares(t *testing.T, got []float64, tolerance float64, want ...float64) {
	t.Helper()
	for i := range want {
		if math.Abs(got[i]-want[i]) > tolerance {
			t.Errorf("shares = %.4f, want %.4f within %g", got, want, tolerance)
			return
		}
	}
}

func TestSharesFollowWeights(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 3, 6)}
	wantShares(t, shares(p, query(seeded()), healthy(3), 200_000), 0.005, 0.1, 0.3, 0.6)
}

func TestSharesFollowWeightsOfAvailableBackends(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 3, 6)}
	s := healthy(3)
	s.Slots[2].Throttle = health.Throttle{Until: instant.Add(time.Second)}
	wantShares(t, shares(p, query(seeded()), s, 200_000), 0.005, 0.25, 0.75, 0)
}

func TestRoundRobinIsExactOverEveryCycle(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 2, 4), Strategy: balancer.RoundRobin}
	q := query(seeded())
	for cycle := range 50 {
		q.Sequence = uint64(cycle) * 3 // a cycle may begin at any request
		count := map[string]int{}
		for range 7 {
			count[p.Decide(q, healthy(3), nil).Candidates[0].Backend.Name]++
			q.Sequence++
		}
		if count["b0"] != 1 || count["b1"] != 2 || count["b2"] != 4 {
			t.Fatalf("cycle from request %d: %v, want 1, 2, 4", cycle*3, count)
		}
	}
}

func TestRoundRobinSpreadsOneBackend(t *testing.T) {
	p := &balancer.Pool{Backends: backends(50, 50), Strategy: balancer.RoundRobin}
	q := query(seeded())
	run, longest, last := 0, 0, ""
	for range 1000 {
		name := p.Decide(q, healthy(2), nil).Candidates[0].Backend.Name
		if run++; name != last {
			run, last = 1, name
		}
		longest = max(longest, run)
		q.Sequence++
	}
	if longest > 2 {
		t.Errorf("one of two equal backends was first %d times in a row, want at most 2", longest)
	}
}

func TestLeastBusyPrefersLessLoadedBackend(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1), Strategy: balancer.LeastBusy}
	q := query(seeded())
	q.Load = load{inFlight: map[health.Slot]int64{0: 5, 1: 4}}
	wantShares(t, shares(p, q, healthy(2), 1000), 1e-9, 0, 1)
}

func TestLeastBusyMeasuresLoadByWeight(t *testing.T) {
	p := &balancer.Pool{Backends: backends(10, 1), Strategy: balancer.LeastBusy}
	q := query(seeded())
	q.Load = load{inFlight: map[health.Slot]int64{0: 15, 1: 4}}
	wantShares(t, shares(p, q, healthy(2), 1000), 1e-9, 1, 0)
}

func TestLowestLatencySharesAmongFastBackendsByWeight(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 3, 9), Strategy: balancer.LowestLatency, LatencySensitivity: 50 * time.Millisecond}
	q := query(seeded())
	q.Load = load{firstToken: map[health.Slot]time.Duration{0: 300 * time.Millisecond, 1: 349 * time.Millisecond, 2: 351 * time.Millisecond}}
	wantShares(t, shares(p, q, healthy(3), 100_000), 0.005, 0.25, 0.75, 0)
}

func TestLowestLatencyTriesBackendsOfUnknownLatency(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1), Strategy: balancer.LowestLatency}
	q := query(seeded())
	q.Load = load{firstToken: map[health.Slot]time.Duration{0: time.Millisecond}}
	wantShares(t, shares(p, q, healthy(2), 100_000), 0.01, 0.5, 0.5)
}

func TestAffinityIsStableAndFollowsWeights(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1, 2)}
	q := query(seeded())
	owner := map[uint64]string{}
	count := make([]float64, 3)
	const prefixes = 20_000
	for key := range uint64(prefixes) {
		q.Affinity = key*2_654_435_761 + 1
		first := p.Decide(q, healthy(3), nil).Candidates[0].Backend
		owner[q.Affinity] = first.Name
		count[first.Slot] += 1.0 / prefixes
	}
	wantShares(t, count, 0.02, 0.25, 0.25, 0.5)
	for q.Affinity = range owner {
		if got := p.Decide(q, healthy(3), nil).Candidates[0].Backend.Name; got != owner[q.Affinity] {
			t.Fatalf("affinity %d went to %s, then to %s", q.Affinity, owner[q.Affinity], got)
		}
	}
}

func TestAffinityMovesOnlyWhenItsBackendIsSkipped(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1, 1)}
	q := query(seeded())
	s := healthy(3)
	for key := range uint64(2000) {
		q.Affinity = key*2_654_435_761 + 1
		before := p.Decide(q, healthy(3), nil).Candidates[0].Backend
		s.Slots[2].State = health.Open
		after := p.Decide(q, s, nil).Candidates[0].Backend
		if before.Slot != 2 && after != before {
			t.Fatalf("affinity %d moved from %s to %s though its backend stayed", q.Affinity, before.Name, after.Name)
		}
	}
}

func TestAffinityYieldsToOverload(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1)}
	q := query(seeded())
	q.Affinity = 7
	owner := p.Decide(q, healthy(2), nil).Candidates[0].Backend.Slot
	q.Load = load{inFlight: map[health.Slot]int64{owner: 100, 1 - owner: 10}}
	if got := p.Decide(q, healthy(2), nil).Candidates[0].Backend.Slot; got == owner {
		t.Error("an overloaded backend was preferred by affinity")
	}
}

func TestSkippedCandidatesHaveReasons(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1, 1, 1, 0, 1, 1, 1)}
	p.Backends[5].Geography = "us"
	p.Backends[6].Priority = 0
	for i := range p.Backends {
		if p.Backends[i].Geography == "" {
			p.Backends[i].Geography = "eu"
		}
	}
	s := healthy(8)
	s.Slots[0].Drained = true
	s.Slots[1] = health.Health{State: health.Open, Until: instant.Add(3 * time.Second), Own: true, Reason: "503"}
	s.Slots[2] = health.Health{State: health.HalfOpen, Until: instant.Add(2 * time.Second)}
	s.Slots[3].Throttle.Until = instant.Add(time.Second)
	q := query(seeded())
	q.Geographies, q.MinPriority = []string{"eu"}, 1
	d := p.Decide(q, s, nil)
	want := map[string]health.SkipReason{
		"b0": health.SkipDrained, "b1": health.SkipOpen, "b2": health.SkipProbing, "b3": health.SkipThrottled,
		"b4": balancer.ZeroWeight, "b5": balancer.OutsideGeographies, "b6": balancer.ReservedPriority, "b7": health.NotSkipped,
	}
	for _, c := range d.Candidates {
		if c.Reason != want[c.Backend.Name] {
			t.Errorf("%s: %q, want %q", c.Backend.Name, c.Reason, want[c.Backend.Name])
		}
		if of1 := c.Backend.Name == "b1"; c.Own != of1 || (c.Cause == "503") != of1 {
			t.Errorf("%s: own %v, cause %q", c.Backend.Name, c.Own, c.Cause)
		}
	}
	if d.Eligible != 1 || d.Candidates[0].Backend.Name != "b7" {
		t.Errorf("%d are eligible, the first is %s: want b7 alone", d.Eligible, d.Candidates[0].Backend.Name)
	}
	if got := d.ReopensAt(true); !got.Equal(instant.Add(time.Second)) {
		t.Errorf("throttled reopen %v, want in 1 s", got.Sub(instant))
	}
}

func TestProbeHolderIsEligible(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1)}
	s := healthy(1)
	s.Slots[0] = health.Health{State: health.HalfOpen, Probe: true, Until: instant.Add(time.Second)}
	if d := p.Decide(query(seeded()), s, nil); d.Eligible != 1 {
		t.Error("the holder of the probe was skipped")
	}
}

// Whatever the strategy and affinity, but never ahead of a better group.
func TestProbeIsFirstOfItsGroup(t *testing.T) {
	for _, strategy := range []balancer.Strategy{balancer.Weighted, balancer.RoundRobin, balancer.LeastBusy, balancer.LowestLatency} {
		p := &balancer.Pool{Strategy: strategy, Backends: backends(5, 5, 1, 5)}
		p.Backends[0].Priority = 0
		s := healthy(4)
		s.Slots[2] = health.Health{State: health.HalfOpen, Probe: true, Until: instant.Add(time.Second)}
		q := query(seeded())
		for turn := range uint64(200) {
			q.Sequence, q.Affinity = turn, turn%3*0x9e3779b97f4a7c15
			d := p.Decide(q, s, nil)
			if first, second := d.Candidates[0].Backend.Name, d.Candidates[1].Backend.Name; first != "b0" || second != "b2" {
				t.Fatalf("strategy %v: %s, then %s; want b0 of the better group, then b2, whose probe this instance holds", strategy, first, second)
			}
		}
	}
}

func TestRecoveringBackendTakesItsShareAndIsTriedLast(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1)}
	p.Backends[1].Priority = 2
	s := healthy(2)
	s.Slots[0].TrafficPercent = 10
	wantShares(t, shares(p, query(seeded()), s, 100_000), 0.005, 0.1, 0.9)
	if d := p.Decide(query(seeded()), s, nil); d.Eligible != 2 {
		t.Errorf("%d are eligible, want the recovering backend to be tried last", d.Eligible)
	}
}

// For any pool and any health.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(1), uint8(4))
	f.Add(uint64(99), uint8(20))
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		r := rand.New(rand.NewPCG(seed, 3))
		p, s := randomPool(r, int(n%32)+1)
		q := query(r)
		q.Sequence, q.Affinity, q.Tokens = r.Uint64(), r.Uint64()*uint64(r.IntN(2)), int64(r.IntN(4000))
		d := p.Decide(q, s, nil)
		seen := map[string]bool{}
		for i := range d.Candidates {
			c := &d.Candidates[i]
			seen[c.Backend.Name] = true
			if c.Eligible() != (i < d.Eligible) {
				t.Fatalf("candidate %d, %d eligible: Eligible() = %v", i, d.Eligible, c.Eligible())
			}
			if admits := s.Of(c.Backend.Slot).SkipReason(q.Now, q.Tokens) == health.NotSkipped && c.Backend.Weight > 0; admits != c.Eligible() {
				t.Fatalf("%s: eligible = %v, available = %v", c.Backend.Name, c.Eligible(), admits)
			}
			if i > 0 && i < d.Eligible && c.Reason == d.Candidates[i-1].Reason && c.Backend.Priority < d.Candidates[i-1].Backend.Priority {
				t.Fatalf("priority %d follows %d", c.Backend.Priority, d.Candidates[i-1].Backend.Priority)
			}
		}
		if len(seen) != len(p.Backends) {
			t.Fatalf("%d of %d backends are in the decision", len(seen), len(p.Backends))
		}
	})
}

func randomPool(r *rand.Rand, n int) (*balancer.Pool, *health.Snapshot) {
	p := &balancer.Pool{Backends: backends(make([]int, n)...), Strategy: balancer.Strategy(r.IntN(4))}
	s := healthy(n)
	for i := range p.Backends {
		p.Backends[i].Weight, p.Backends[i].Priority = r.IntN(5), r.IntN(4)
		s.Slots[i] = health.Health{
			State: health.CircuitState(r.IntN(3)), Probe: r.IntN(2) == 0, Drained: r.IntN(9) == 0, TrafficPercent: uint8(r.IntN(2) * 30),
			Throttle: health.Throttle{Until: instant.Add(time.Duration(r.IntN(3)-1) * time.Second), Kind: health.LimitKind(r.IntN(5)), MaxTokens: int64(r.IntN(3000))},
		}
	}
	return p, s
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 2, 8, 20, 64} {
		b.Run(fmt.Sprintf("backends=%d", n), func(b *testing.B) {
			weights := make([]int, n)
			for i := range weights {
				weights[i] = 1
			}
			p, s, q := &balancer.Pool{Backends: backends(weights...)}, healthy(n), query(seeded())
			dst := make([]balancer.Candidate, 0, n)
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(q, s, dst)
			}
		})
	}
}
