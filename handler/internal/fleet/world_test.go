package fleet

import (
	"hash/fnv"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore/memory"
)

// plan is what a simulated run goes through.
type plan struct {
	machines, slots int
	lasts           time.Duration
	faults          float64       // how many times the usual ones
	skew            time.Duration // clocks are off by up to this, either way
	outages         bool          // of the table for all, and partitions
	pauses          bool          // processes suspended at any moment
	hostile         bool          // … and just before a probe's bytes leave
	steps           bool          // monotonic clocks that step against the wall clock
	poison          bool          // records cut off, edited, and of newer versions
	deaths          bool          // processes killed at any moment, and started again
	throttles       bool          // backends that answer 429
	drains          bool          // operators' words
	slow            float64       // how much more of the requests than a tenth take seconds
	thin            bool          // requests that come seldom: leases come back unused

	// The mutants: protocols with one part left out.
	noSwap, localClocks, noRecheck, noNonce bool
}

// The policy of the simulated fleet: short, so that much happens.
func simPolicy() health.BreakerPolicy {
	return health.BreakerPolicy{Failures: 3, TripDuration: time.Second, MaxTripDuration: 4 * time.Second, ProbeLease: 4 * time.Second, RampStep: time.Second}
}

const simRefresh, simTimeout = 500 * time.Millisecond, time.Second

// epoch0 is the service's clock when the simulation begins.
var epoch0 = time.UnixMilli(1_000_000_000_000).UTC() //nolint:gochecknoglobals // never written

// world is a fleet, its backends, its table, and all that goes wrong.
type world struct {
	*sched
	plan     plan
	store    *memory.Store
	machines []*machine
	backends []*backend
	oracle   *oracle
	stopping bool // no more faults: the world heals
	down     bool
}

// serviceNow is the true time by the table's clock.
func (w *world) serviceNow() int64 { return epoch0.Add(w.now).UnixMilli() }

func newWorld(seed uint64, p plan) *world {
	w := &world{sched: newSched(seed), plan: p}
	w.store = &memory.Store{Now: func() time.Time {
		// The service's front ends are not quite of one mind about the time.
		return epoch0.Add(w.now + []time.Duration{0, 20, -30, 45}[w.chance.IntN(4)]*time.Millisecond)
	}}
	w.oracle = newOracle(w)
	for n := range p.slots {
		w.backends = append(w.backends, &backend{w: w, n: health.Slot(n), up: true})
	}
	for n := range p.machines {
		m := &machine{w: w, n: n}
		m.skew = w.between(-p.skew, p.skew)
		m.drift = 1 + (w.chance.Float64()-.5)*2e-4 // up to 100 ppm
		w.machines = append(w.machines, m)
		m.boot()
		w.traffic(m)
	}
	for _, b := range w.backends {
		b.live()
	}
	w.misfortunes()
	w.after = w.oracle.check
	return w
}

// traceOf is a hash of all that happened.
func traceOf() *trace { return &trace{h: fnv.New64a()} }
