// Package laws_test holds what a fleet promises its callers, whatever the backends
// do, as laws of a simulation: real replicas, trackers and plans of many instances
// before one table, in virtual time.
package laws_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/fleet/coroutine"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/tablestore/memory"
)

// kind is that of all requests.
var kind = latency.KindOf(true, 0, 0)

var origin = time.UnixMilli(1_800_000_000_000)

const (
	settled       = 6 * time.Second // the instances know the table's clock
	callerTimeout = 60 * time.Second
	maxWait       = 2 * time.Second
	refresh       = 500 * time.Millisecond
	usualAnswer   = 200 * time.Millisecond
)

// world is a fleet before backends.
type world struct {
	scheduler
	setup
	store     memory.Store
	pool      balancer.Pool
	deployed  []*backend
	instances []*instance
	calls     []*call
	trouble   *trouble // of the table; nil = none
	exchanges int      // with the table
	during    func(time.Duration)
	streams   time.Duration // from the first content of an answer to its end
}

// setup is what differs between worlds.
type setup struct {
	size, backends   int     // of the fleet, and of the pool
	rate             float64 // requests per second and instance
	answers          time.Duration
	provisionedFirst bool
	neighbours       neighbours
	mutant           mutant
	seed             uint64
}

func (s setup) String() string {
	return fmt.Sprintf("n=%d backends=%d rate=%g answers=%v seed=%d", s.size, s.backends, s.rate, s.answers, s.seed)
}

// mutant is a defect that a law must find.
type mutant uint8

const (
	noMutant           mutant = iota
	countsWithoutShare        // opens after so many failures, whatever share of the requests they are
	neverLeaves               // does not open
	deafToSilence             // a silent attempt is no failure
	obedient                  // the fleet's circuit binds an instance that is being served
	noTrials                  // a circuit refuses although nobody else is left
	oneConsumer               // consumers are not distinguished
	noStalls                  // a stall of the process is taken for failures of the backends
	noHedges                  // a silent attempt is waited for
	neverHeals                // a backend does not recover
	ignoresUnderWay           // only what has ended counts
	publishesRefusals         // a wrong credential is a failure
	sharesByName              // a slot is known by the names in the document
	troubleIsConflict         // a table in trouble seems to be an empty one, whose writes conflict
	neverReads                // an instance that starts later reads nothing
	sizeless                  // a limit of tokens refuses every size
	countsOldFailures         // a backend that nobody tried counts as failing
)

func (m mutant) policy() health.BreakerPolicy {
	switch m { //nolint:exhaustive // the others are elsewhere
	case countsWithoutShare:
		return health.BreakerPolicy{Percentage: 1}
	case neverLeaves:
		return health.BreakerPolicy{Failures: 1 << 20}
	case publishesRefusals:
		return health.BreakerPolicy{Failures: 1, Percentage: 1}
	default:
		return health.BreakerPolicy{}
	}
}

// backend is one deployment and what it does.
type backend struct {
	takes    time.Duration        // to the first content, the median
	fails    float64              // share of requests
	hangs    float64              // share of requests
	breaks   float64              // share of answers, after their first content
	brokenAt int                  // instances below this number cannot reach it
	failsFor func(*instance) bool // whose requests fail; nil = everybody's

	throttledUntil time.Duration
	next           []int // statuses of the next responses
	sends          []send
	left           time.Duration // when its circuit first opened; 0 = it has not
}

// send is one attempt at a backend.
type send struct {
	at       time.Duration
	instance int
	first    bool // of its request
	as       proxy.SendKind
	permit   health.Permit
}

// ordinary reports whether the attempt was made because the circuit was closed.
func (s *send) ordinary() bool {
	return s.as != proxy.AsTrial && !s.permit.Probe && !s.permit.LocalProbe
}

// instance is one process. PlanHealth is its replica, with the world's mutant.
type instance struct {
	*fleet.Replica
	w       *world
	number  int
	skew    time.Duration
	drift   float64
	frozen  time.Duration // until
	read    time.Duration // when it last read the row
	met     time.Duration // when the table was last in trouble for it
	adopted int           // changes of records
	pacer   *coroutine.Pacer
	env     proxy.Environment
}

func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{setup: s, scheduler: scheduler{random: rand.New(rand.NewPCG(s.seed, 12))}}
	w.store.Now = func() time.Time { return origin.Add(w.now) }
	w.pool = balancer.Pool{Model: "m", Strategy: balancer.RoundRobin}
	for i := range s.backends {
		b := balancer.Backend{Name: fmt.Sprint("b", i), Slot: health.Slot(i), Priority: 1, Weight: 1, Deployment: "d"}
		if s.provisionedFirst && i > 0 {
			b.Priority = 2
		}
		w.pool.Backends = append(w.pool.Backends, b)
		w.deployed = append(w.deployed, &backend{takes: s.answers})
	}
	for i := range s.size {
		w.startInstance(i, w.between(0, time.Second))
	}
	t.Cleanup(func() {
		for _, i := range w.instances {
			i.pacer.Stop()
		}
	})
	w.run(settled)
	return w
}

func (w *world) startInstance(number int, delay time.Duration) {
	i := &instance{w: w, number: number, skew: w.between(0, time.Hour), drift: 1 + (w.random.Float64()-.5)*2e-4}
	i.pacer = &coroutine.Pacer{After: func(d time.Duration, do func()) { w.in(i, d, do) }}
	slots := make([]string, len(w.deployed))
	identities := make([]string, len(slots))
	policies := make([]health.BreakerPolicy, len(slots))
	for k := range slots {
		slots[k], policies[k] = w.pool.Backends[k].Name+"/m", w.mutant.policy()
		identities[k] = w.identity(k, number)
	}
	tracker := latency.New(make([]int, len(slots)))
	for range 30 { // what it served yesterday
		for k := range slots {
			tracker.Record(health.Slot(k), kind, w.spread(w.answers))
		}
	}
	i.Replica = fleet.New(fleet.Config{
		Store: &distantTable{&w.store, i}, Slots: slots, Identities: identities, Instance: fmt.Sprintf("i%03d", number), Breakers: policies, Refresh: refresh, Usual: tracker.Usual, OnChange: i.changed,
		Environment: fleet.Environment{Now: i.now, Wall: i.now, Rand: w.random.Int64N, Pacer: i.pacer},
	})
	i.env = proxy.Environment{
		Health: i, Latency: tracker, Load: proxy.NewLoad(len(slots)), RoundRobin: &proxy.RoundRobin{Start: w.random.Uint64()}, Trials: new(proxy.Trials),
		Queue: &proxy.WaitQueue{Capacity: 100}, Operations: new(proxy.OperationCircuits), Rand: w.random.Float64, MaxWait: maxWait,
	}
	w.instances = append(w.instances, i)
	i.Snapshot()
	i.pacer.Start(delay, func() { i.Run(context.Background()) })
	if w.mutant != noStalls {
		i.tick()
	}
}

func (i *instance) changed(n health.Slot, _, now health.Record) {
	w := i.w
	i.adopted++
	if b := w.deployed[n]; b.left == 0 && now.Circuit.State != health.Closed {
		b.left = w.now
	}
}

func (i *instance) tick() {
	i.Tick()
	i.w.in(i, 250*time.Millisecond, i.tick)
}

// now is the process's clock.
func (i *instance) now() time.Time {
	return origin.Add(i.skew + time.Duration(float64(i.w.now)*i.drift))
}

// after schedules something after a duration of the process's clock.
func (i *instance) after(d time.Duration, do func()) {
	i.w.in(i, time.Duration(float64(d)/i.drift)+1, do)
}

func (i *instance) Snapshot() *health.Snapshot {
	s := i.Replica.Snapshot()
	if i.w.mutant != obedient {
		return s
	}
	s = &health.Snapshot{Version: s.Version, Taken: s.Taken, Slots: append([]health.Health{}, s.Slots...)}
	for k := range s.Slots {
		if h := &s.Slots[k]; h.State == health.Closed && !h.Until.IsZero() {
			h.State = health.Open
		}
	}
	return s
}

func (i *instance) AcquireTrial(n health.Slot) (health.Permit, bool) {
	if i.w.mutant == noTrials {
		return health.Permit{}, false
	}
	return i.Replica.AcquireTrial(n)
}

func (i *instance) ReportSilent(p health.Permit) {
	if i.w.mutant != deafToSilence {
		i.Replica.ReportSilent(p)
	}
}

func (i *instance) report(p health.Permit, o health.Outcome) {
	if i.w.mutant == ignoresUnderWay {
		p.Order = 0
	}
	if i.w.mutant == sizeless {
		o.Limit = health.LimitUnknown
	}
	if i.w.mutant == publishesRefusals && o.Class == health.Misconfigured {
		o.Class = health.Failed
	}
	i.ReportOutcome(p, o)
}

// spread is a log-normal duration with this median; its 95th percentile is 1.6 times
// the median.
func (w *world) spread(median time.Duration) time.Duration {
	return time.Duration(float64(median) * math.Exp(.3*w.random.NormFloat64()))
}

// trips is how often any circuit opened.
func (w *world) trips() (n uint64) {
	for _, i := range w.instances {
		c := i.Counters()
		n += c.Trips + c.OwnTrips
	}
	return n
}

// load has requests arrive at random for a while, from now on, at all instances.
func (w *world) load(d time.Duration, rate float64, caller *consumer.Consumer, special *reaction) {
	end := w.now + d
	var arrival func()
	arrival = func() {
		if w.now < end {
			w.arrive(w.instances[w.random.IntN(len(w.instances))], caller, special)
			w.in(nil, w.pause(rate), arrival)
		}
	}
	w.in(nil, w.pause(rate), arrival)
}

func (w *world) pause(rate float64) time.Duration {
	return time.Duration(w.random.ExpFloat64() / (rate * float64(len(w.instances))) * float64(time.Second))
}

// own is the consumer of the world's load.
var own = &consumer.Consumer{Name: "own"}

// pass lets the world's load arrive for a while, and returns its requests when all
// have ended.
func (w *world) pass(d time.Duration) []*call {
	from := len(w.calls)
	w.load(d, w.rate, own, nil)
	w.run(w.now + d)
	return w.calls[from:]
}

// drain lets what is under way end.
func (w *world) drain() {
	for end := w.now + callerTimeout + time.Second; w.now < end && w.busy(); {
		w.run(w.now + time.Second)
	}
}

func (w *world) busy() bool {
	return slices.ContainsFunc(w.calls, func(c *call) bool { return !c.done })
}

// plainRequest is a stream of so many tokens.
func plainRequest(caller *consumer.Consumer, tokens int64) *proxy.Request {
	return &proxy.Request{Consumer: caller, Tokens: tokens, Parsed: request.ParsedRequest{Stream: true}}
}
