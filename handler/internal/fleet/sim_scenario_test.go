package fleet

import (
	"hash/fnv"
	"slices"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore/memory"
)

// scenario is what a simulated run consists of.
type scenario struct {
	machines, slots   int
	duration          time.Duration
	faults            float64       // times chaos.TypicalFaults
	skew              time.Duration // clocks are off by up to this, either way
	outages           bool          // of the table for all, and partitions
	pauses            bool          // processes suspended at any moment
	pausesBeforeProbe bool          // … and just before a probe is sent
	steps             bool          // monotonic clocks that step against the wall clock
	corruption        bool          // records truncated, edited, and of newer versions
	kills             bool          // processes killed at any moment, and restarted
	throttles         bool          // backends that answer 429
	drains            bool          // operators' commands
	slow              float64       // share of requests, beyond a tenth, that take seconds
	thin              bool          // rare requests: probes are returned unused

	// The mutants: protocols with one part left out.
	noSwap, localClocks, noLeaseCheck, noNonce bool
}

// The policy of the simulated fleet: short, so that there are many transitions.
func simPolicy() health.BreakerPolicy {
	return health.BreakerPolicy{Failures: 3, TripDuration: time.Second, MaxTripDuration: 4 * time.Second, ProbeLease: 4 * time.Second, SlowStartStep: time.Second}
}

func simPolicies(n int) []health.BreakerPolicy {
	return slices.Repeat([]health.BreakerPolicy{simPolicy()}, n)
}

const simRefresh, simTimeout = 500 * time.Millisecond, time.Second

// epoch0 is the service's clock when the simulation begins.
var epoch0 = time.UnixMilli(1_000_000_000_000).UTC() //nolint:gochecknoglobals // never written

// simulation is a fleet, its backends, its table, and its faults.
type simulation struct {
	*scheduler
	scenario scenario
	store    *memory.Store
	machines []*machine
	backends []*backend
	checker  *checker
	stopping bool // no more faults: the last phase
	down     bool
}

// serviceNow is the true time by the table's clock.
func (w *simulation) serviceNow() int64 { return epoch0.Add(w.now).UnixMilli() }

func newSimulation(seed uint64, p scenario) *simulation {
	w := &simulation{scheduler: newScheduler(seed), scenario: p}
	w.store = &memory.Store{Now: func() time.Time {
		// The clocks of the service's front ends differ.
		return epoch0.Add(w.now + []time.Duration{0, 20, -30, 45}[w.rand.IntN(4)]*time.Millisecond)
	}}
	w.checker = newChecker(w)
	for n := range p.slots {
		w.backends = append(w.backends, &backend{w: w, n: health.Slot(n), up: true})
	}
	for n := range p.machines {
		m := &machine{w: w, n: n}
		m.skew = w.between(-p.skew, p.skew)
		m.drift = 1 + (w.rand.Float64()-.5)*2e-4 // up to 100 ppm
		w.machines = append(w.machines, m)
		m.boot()
		w.traffic(m)
	}
	for _, b := range w.backends {
		b.run()
	}
	w.scheduleFaults()
	w.after = w.checker.check
	return w
}

// traceOf returns a hash of all events.
func traceOf() *trace { return &trace{h: fnv.New64a()} }
