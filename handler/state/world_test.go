package state

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"spillway/handler/breaker"
	"spillway/handler/health"
	"spillway/handler/table"
	"spillway/handler/table/chaos"
	"spillway/handler/table/memory"
	"spillway/handler/throttle"
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
func simPolicy() breaker.Policy {
	return breaker.Policy{Failures: 3, TripDuration: time.Second, MaxTripDuration: 4 * time.Second, Lease: 4 * time.Second, Ramp: time.Second}
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

// machine is one instance with its clocks and its way to the table.
type machine struct {
	w      *world
	n      int
	boots  int
	keeper *Keeper
	chaos  *chaos.Store
	run    *task
	pacer  *simPacer
	calls  []*task       // requests under way
	frozen time.Duration // suspended until
	skew   time.Duration // of both clocks
	step   time.Duration // of the monotonic clock against the wall clock
	drift  float64
	fe     time.Duration
}

// local is the machine's monotonic clock, wall its wall clock.
func (m *machine) local() time.Time {
	return epoch0.Add(m.skew + m.step + time.Duration(float64(m.w.now)*m.drift))
}
func (m *machine) wall() time.Time { return epoch0.Add(m.w.now + m.skew/2) }

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

// boot starts the instance, with nothing left of its former life.
func (m *machine) boot() {
	w := m.w
	m.boots++
	m.pacer = &simPacer{s: w.sched}
	m.chaos = &chaos.Store{
		Under:  &tapped{m: m, under: w.store},
		Faults: chaos.Usual().Times(w.plan.faults),
		World: chaos.World{
			Chance:  w.chance.Float64,
			Sleep:   func(_ context.Context, d time.Duration) error { w.pass(d); return nil },
			Go:      func(f func()) { w.spawn(nil, worldTask, 1, f) },
			Timeout: simTimeout,
		},
	}
	var names []string
	for n := range w.plan.slots {
		names = append(names, fmt.Sprintf("b%d/gpt", n))
	}
	boots := m.boots
	k := New(Config{
		Store: overheard{m.chaos, m}, Slots: names, Instance: fmt.Sprintf("i%02d.%d", m.n, m.boots), Breaker: simPolicy(),
		Refresh: simRefresh, Timeout: simTimeout, MaxInstances: w.plan.machines,
		World: World{Now: m.local, Wall: m.wall, Rand: w.chance.Int64N, Pacer: m.pacer},
		OnChange: func(n health.Slot, before, after health.Record) {
			if m.boots == boots {
				w.oracle.adopted(m, n, before, after)
			}
		},
	})
	m.keeper = k
	m.run = w.spawn(m, keeperTask, w.between(0, time.Second), func() { k.Run(context.Background()) })
	m.pacer.task = m.run
	w.oracle.born(m)
}

// freeze suspends the process for a while.
func (m *machine) freeze(d time.Duration) { m.frozen = max(m.frozen, m.w.now+d) }

// die is SIGKILL: what was under way ends where it stands.
func (m *machine) die() {
	m.w.kill(m.run)
	for _, t := range m.calls {
		m.w.kill(t)
	}
	m.calls = nil
	for _, b := range m.w.backends {
		b.hangUp(m)
	}
}

// tapped is the table as one machine reaches it: with latency, watched by the
// oracle, and broken where a mutant is asked for.
type tapped struct {
	m     *machine
	under *memory.Store
}

// reach is the way there or back, a few milliseconds, seldom more.
func (s *tapped) reach() {
	w := s.m.w
	d := w.between(time.Millisecond, 5*time.Millisecond)
	if w.one(.01) {
		d = w.between(0, 300*time.Millisecond)
	}
	w.pass(d)
}

func (s *tapped) date(reply table.Reply) table.Reply {
	if s.m.w.plan.localClocks {
		return table.Reply{Date: s.m.local().Add(-500 * time.Millisecond)} // as if each machine's clock were the service's
	}
	return reply
}

func (s *tapped) Get(ctx context.Context, partition, key string) (table.Row, table.Reply, error) {
	s.reach()
	row, reply, err := s.under.Get(context.WithoutCancel(ctx), partition, key)
	read := s.m.w.oracle.readAt()
	s.reach()
	s.m.w.oracle.willSee(s.m, read)
	return row, s.date(reply), err
}

func (s *tapped) Put(ctx context.Context, row table.Row) (version table.Version, reply table.Reply, err error) {
	s.reach()
	ctx = context.WithoutCancel(ctx)
	if s.m.w.plan.noSwap {
		version, reply, err = s.under.Set(ctx, row)
	} else {
		version, reply, err = s.under.Put(ctx, row)
	}
	if err == nil {
		s.m.w.oracle.written(s.m, row)
	}
	s.reach()
	return version, s.date(reply), err
}

func (s *tapped) Set(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	s.reach()
	version, reply, err := s.under.Set(context.WithoutCancel(ctx), row)
	s.reach()
	return version, s.date(reply), err
}

func (s *tapped) List(ctx context.Context, partition, from, to string) ([]table.Row, table.Reply, error) {
	s.reach()
	rows, reply, err := s.under.List(context.WithoutCancel(ctx), partition, from, to)
	s.reach()
	return rows, s.date(reply), err
}

func (s *tapped) Delete(ctx context.Context, row table.Row) (table.Reply, error) {
	s.reach()
	reply, err := s.under.Delete(context.WithoutCancel(ctx), row)
	return s.date(reply), err
}

// overheard is the top of a machine's way to the table: the oracle hears each
// attempt, and the mutant without nonces forgets each that failed.
type overheard struct {
	table.Store
	m *machine
}

func (o overheard) Get(ctx context.Context, partition, key string) (table.Row, table.Reply, error) {
	o.m.w.oracle.speaks(o.m)
	return o.Store.Get(ctx, partition, key)
}

func (o overheard) Put(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	o.m.w.oracle.speaks(o.m)
	version, reply, err := o.Store.Put(ctx, row)
	if err != nil && o.m.w.plan.noNonce {
		o.m.forget()
	}
	return version, reply, err
}

func (o overheard) Set(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	o.m.w.oracle.speaks(o.m)
	return o.Store.Set(ctx, row)
}

// forget is the mutant without nonces: it takes a write whose answer it did
// not get for one that did not happen.
func (m *machine) forget() {
	m.keeper.mu.Lock()
	m.keeper.nonces = nonces{}
	m.keeper.mu.Unlock()
}

// backend is one that fails, is slow, and refuses, in turn.
type backend struct {
	w      *world
	n      health.Slot
	up     bool
	shut   int64 // 429 until, by the true clock
	leaks  map[*machine]int
	probes []*call // the fleet's probes that are being served
}

// call is one probe in the backend's hands.
type call struct {
	m       *machine
	granted time.Duration // until when its sender may let it run
}

// hangUp ends the calls of a machine that died.
func (b *backend) hangUp(m *machine) {
	kept := b.probes[:0]
	for _, c := range b.probes {
		if c.m != m {
			kept = append(kept, c)
		}
	}
	b.probes = kept
}

func (b *backend) done(c *call) {
	for i, other := range b.probes {
		if other == c {
			b.probes = append(b.probes[:i], b.probes[i+1:]...)
			return
		}
	}
}

// live makes it fail and refuse now and then.
func (b *backend) live() {
	w := b.w
	w.spawn(nil, worldTask, 1, func() {
		for !w.stopping {
			if w.plan.throttles {
				w.pass(w.between(10*time.Second, 30*time.Second))
				b.leaks = map[*machine]int{}
				b.shut = w.serviceNow() + w.between(5*time.Second, 20*time.Second).Milliseconds()
				w.oracle.result.windows++
				w.pass(21 * time.Second)
				continue
			}
			w.pass(w.between(time.Second, 4*time.Second))
			b.up = w.stopping
			w.pass(w.between(time.Second, 6*time.Second))
			b.up = true
		}
	})
}

// answer is what the backend says in the end.
func (b *backend) answer() health.Outcome {
	if !b.up {
		return health.Outcome{Verdict: health.Failed, Why: "503", Signals: health.NoSignals()}
	}
	return health.Outcome{Signals: health.NoSignals()}
}

// refuse is its 429, exact to the millisecond.
func (b *backend) refuse() health.Outcome {
	left := time.Duration(b.shut-b.w.serviceNow()) * time.Millisecond
	return health.Outcome{Verdict: health.Throttled, Wait: left, Kind: throttle.Provisioned, Why: "429", Signals: health.NoSignals()}
}

// traffic is the machine's requests.
func (w *world) traffic(m *machine) {
	slowest := 900 * time.Millisecond
	if w.plan.thin {
		slowest = 40 * time.Second
	}
	for _, b := range w.backends {
		w.spawn(m, requestTask, w.between(0, time.Second), func() {
			for {
				w.pass(w.between(100*time.Millisecond, slowest))
				w.request(m, b)
			}
		})
	}
}

// request is one attempt, as the proxy makes it.
func (w *world) request(m *machine, b *backend) {
	if m.run.over {
		return // the process is dead
	}
	k := m.keeper
	h := k.Look().Of(b.n)
	if h.Refuses(m.local(), 100) != health.Admitted {
		if h.Phase != breaker.Closed {
			k.Want(b.n)
		}
		return
	}
	ticket, ok := k.Enter(b.n)
	if !ok {
		return
	}
	w.oracle.entered(m, b, ticket)
	granted, _ := k.Recheck(ticket)
	var t *task
	t = w.spawn(m, requestTask, 1, func() {
		w.attempt(m, b, ticket, granted)
		for i, c := range m.calls {
			if c == t {
				m.calls = append(m.calls[:i], m.calls[i+1:]...)
				break
			}
		}
	})
	m.calls = append(m.calls, t)
}

// attempt sends the request and waits for its answer; a probe only as long as
// its lease surely lasts, asking again when the time is up.
func (w *world) attempt(m *machine, b *backend, ticket health.Ticket, granted time.Duration) {
	k := m.keeper
	asked := w.now
	if ticket.Probe && w.plan.hostile && w.one(.2) {
		m.freeze(w.between(0, 8*time.Second))
		w.pass(1)
	}
	if ticket.Probe && !w.plan.noRecheck {
		left, ok := k.Recheck(ticket)
		if !ok {
			k.Leave(ticket)
			return
		}
		granted, asked = left, w.now
	}
	if b.shut > w.serviceNow() { // it refuses at the door
		o := b.refuse()
		w.oracle.refused(m, b)
		w.pass(w.between(5*time.Millisecond, 25*time.Millisecond))
		k.Report(ticket, o)
		return
	}
	takes := w.between(20*time.Millisecond, 220*time.Millisecond)
	if w.one(.1+w.plan.slow) && !w.stopping {
		takes = w.between(0, 9*time.Second)
	}
	if !ticket.Probe {
		w.pass(takes)
		k.Report(ticket, b.answer())
		return
	}
	c := &call{m: m, granted: asked + granted}
	w.oracle.probeSent(b, c)
	k.Report(ticket, w.serveProbe(m, b, ticket, c, takes))
}

// serveProbe is the probe in the backend's hands. The backend works on whether
// or not the sender is suspended meanwhile.
func (w *world) serveProbe(m *machine, b *backend, ticket health.Ticket, c *call, takes time.Duration) health.Outcome {
	ends := w.now + takes
	served := w.spawn(nil, worldTask, takes, func() { b.done(c) })
	for w.now < ends {
		w.pass(max(min(ends, c.granted)-w.now, 1))
		if w.now >= ends {
			break
		}
		left, ok := m.keeper.Recheck(ticket)
		if !ok || w.plan.noRecheck {
			w.kill(served)
			b.done(c)
			return health.Outcome{Verdict: health.Failed, Why: "lease lost", Signals: health.NoSignals()}
		}
		c.granted = w.now + left
	}
	return b.answer()
}

// misfortunes are what befalls the world while it is not healing.
func (w *world) misfortunes() {
	befall := func(yes bool, every, spread time.Duration, f func()) {
		if !yes {
			return
		}
		w.spawn(nil, worldTask, 1, func() {
			for {
				w.pass(every + w.between(0, spread))
				if w.stopping {
					return
				}
				f()
			}
		})
	}
	some := func() *machine { return w.machines[w.chance.IntN(len(w.machines))] }
	befall(w.plan.outages, 20*time.Second, 40*time.Second, w.outage)
	befall(w.plan.pauses, 2*time.Second, 5*time.Second, func() { some().freeze(w.between(0, 15*time.Second)) })
	befall(w.plan.steps, 5*time.Second, 10*time.Second, func() { some().step += w.between(-5*time.Second, 5*time.Second) })
	befall(w.plan.poison, 10*time.Second, 10*time.Second, w.poison)
	befall(w.plan.deaths, time.Second, 4*time.Second, func() { w.death(some()) })
	befall(w.plan.drains, 5*time.Second, 20*time.Second, func() { w.drain(some()) })
}

func (w *world) outage() {
	if w.one(.5) {
		w.down = true
		for _, m := range w.machines {
			m.chaos.Cut(true)
		}
	} else {
		for _, m := range w.machines {
			m.chaos.Cut(w.one(1. / 3))
		}
	}
	w.pass(w.between(3*time.Second, 23*time.Second))
	w.heal()
}

func (w *world) heal() {
	w.down = false
	for _, m := range w.machines {
		m.chaos.Cut(false)
	}
}

func (w *world) death(m *machine) {
	m.die()
	w.oracle.result.deaths++
	w.pass(w.between(0, 3*time.Second))
	m.frozen = 0
	m.boot()
	m.chaos.Cut(w.down)
}

func (w *world) drain(m *machine) {
	name := fmt.Sprintf("b%d", w.chance.IntN(len(w.backends)))
	w.spawn(m, keeperTask, 1, func() {
		_ = m.keeper.Drain(context.Background(), name, "sim") // out of reach or not: both happen
		w.pass(w.between(time.Second, 5*time.Second))
		for m.keeper.Restore(context.Background(), name, "sim") != nil {
			w.pass(time.Second)
		}
	})
}

// poison spoils one column behind everybody's back.
func (w *world) poison() {
	b := w.backends[w.chance.IntN(len(w.backends))]
	k := w.machines[0].keeper
	column := k.slots[b.n].column
	row, _, err := w.store.Get(context.Background(), k.partition(), k.rows[0].key)
	if err != nil {
		return
	}
	was, ok := row.Columns[column]
	if !ok {
		return
	}
	foreign := false
	switch w.chance.IntN(5) {
	case 0:
		row.Columns = map[string]string{column: `{"v":1,"i":`}
	case 1:
		row.Columns = map[string]string{column: `{"v":1,"i":0,"e":-7,"p":9}`}
	case 2:
		row.Columns = map[string]string{column: `{"v":1,"i":9,"e":9000000000000000000}`}
	case 3:
		row.Columns = map[string]string{column: `{"v":2,"p":7,"of":"a later world"}`}
		foreign = true
	case 4:
		row.Columns = map[string]string{"new_column": "from a newer version"}
	}
	w.oracle.poisoned(b.n, row.Columns[column] != "", foreign)
	w.store.Set(context.Background(), row) //nolint:errcheck // memory does not fail
	if !foreign {
		return
	}
	w.pass(w.between(time.Second, 10*time.Second))
	w.oracle.restored(b.n)
	row.Columns = map[string]string{column: was}
	w.store.Set(context.Background(), row) //nolint:errcheck // memory does not fail
}

// traceOf is a hash of all that happened.
func traceOf() *trace { return &trace{h: fnv.New64a()} }
