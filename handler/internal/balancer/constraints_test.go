package balancer_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

func TestAffinityIgnoresSmallLoads(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1)}
	q := query(seeded())
	q.Affinity = 7
	owner := p.Decide(q, healthy(2), nil).Candidates[0].Backend.Slot
	q.Load = load{inFlight: map[health.Slot]int64{owner: 10}}
	if got := p.Decide(q, healthy(2), nil).Candidates[0].Backend.Slot; got != owner {
		t.Error("ten requests in flight counted as overload")
	}
}

func TestNoAffinity(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1), Affinity: balancer.NoAffinity}
	q := query(seeded())
	q.Affinity = 7
	wantShares(t, shares(p, q, healthy(2), 100_000), 0.01, 0.5, 0.5)
}

func TestPinnedRequestHasOneCandidate(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 0, 1)}
	q := query(seeded())
	q.PinnedTo = "b1"
	d := p.Decide(q, healthy(3), nil)
	if d.Eligible != 1 || d.Candidates[0].Backend.Name != "b1" || d.Candidates[1].Reason != balancer.NotPinned {
		t.Errorf("%+v, want only the pinned backend, though its weight is 0", d)
	}
	s := healthy(3)
	s.Slots[1].Throttle = health.Throttle{Until: instant.Add(time.Second)}
	if d := p.Decide(q, s, nil); d.Eligible != 0 || d.ReopensAt(true) != instant.Add(time.Second) {
		t.Errorf("%+v, want none until the pinned backend reopens", d)
	}
	q.ReadsStored = true
	s.Slots[1].State = health.Open
	if d := p.Decide(q, s, nil); d.Eligible != 1 {
		t.Errorf("%+v: want stored data readable whatever the circuit", d)
	}
	s.Slots[1].Drained = true
	if d := p.Decide(q, s, nil); d.Eligible != 0 {
		t.Errorf("%+v: want none: the operator drained it", d)
	}
}

func TestUnsupportedOperationsSkipAzureBackends(t *testing.T) {
	p := &balancer.Pool{Backends: backends(1, 1, 1)}
	p.Backends[2].OpenAI, p.Backends[2].Priority = true, 9
	q := query(seeded())
	q.OpenAIOnly = true
	if d := p.Decide(q, healthy(3), nil); d.Eligible != 1 || d.Candidates[0].Backend.Name != "b2" || d.Candidates[1].Reason != balancer.UnsupportedOperation {
		t.Errorf("%+v, want the compatible backend alone", d)
	}
}

// Geographies and least priority hold whatever pin, affinity, strategy and health.
func FuzzConstraints(f *testing.F) {
	f.Add(uint64(1), uint8(4))
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		r := rand.New(rand.NewPCG(seed, 5))
		p, s := randomPool(r, int(n%16)+1)
		places := []string{"eu", "uk", "us", ""}
		for i := range p.Backends {
			p.Backends[i].Geography, p.Backends[i].OpenAI = places[r.IntN(4)], r.IntN(3) == 0
		}
		q := query(r)
		q.Geographies, q.MinPriority = places[:1+r.IntN(2)], r.IntN(3)
		q.Affinity, q.ReadsStored, q.OpenAIOnly = r.Uint64()*uint64(r.IntN(2)), r.IntN(2) == 0, r.IntN(4) == 0
		if r.IntN(2) == 0 {
			q.PinnedTo = p.Backends[r.IntN(len(p.Backends))].Name
		}
		d := p.Decide(q, s, nil)
		for _, c := range d.Candidates[:d.Eligible] {
			if !slices.Contains(q.Geographies, c.Backend.Geography) || c.Backend.Priority < q.MinPriority || !c.Backend.Permits(q.Geographies, q.MinPriority) {
				t.Fatalf("%+v is eligible for %v from priority %d", c.Backend, q.Geographies, q.MinPriority)
			}
			if q.PinnedTo != "" && c.Backend.Name != q.PinnedTo {
				t.Fatalf("%s is eligible, though the request is pinned to %s", c.Backend.Name, q.PinnedTo)
			}
		}
	})
}
