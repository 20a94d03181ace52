package fleet

import (
	"context"
	"fmt"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/memory"
)

// machine is one instance with its clocks and its way to the table.
type machine struct {
	w      *world
	n      int
	boots  int
	keeper *Replica
	chaos  *chaos.Store
	run    *task
	pacer  *simPacer
	calls  []*task       // requests under way
	frozen time.Duration // suspended until
	skew   time.Duration // of both clocks
	step   time.Duration // of the monotonic clock against the wall clock
	drift  float64
}

// local is the machine's monotonic clock, wall its wall clock.
func (m *machine) local() time.Time {
	return epoch0.Add(m.skew + m.step + time.Duration(float64(m.w.now)*m.drift))
}
func (m *machine) wall() time.Time { return epoch0.Add(m.w.now + m.skew/2) }

// boot starts the instance, with nothing left of its former life.
func (m *machine) boot() {
	w := m.w
	m.boots++
	m.pacer = &simPacer{s: w.sched}
	m.chaos = &chaos.Store{
		Inner:  &tapped{m: m, under: w.store},
		Faults: chaos.TypicalFaults().Scale(w.plan.faults),
		Environment: chaos.Environment{
			Rand:        w.chance.Float64,
			Sleep:       func(_ context.Context, d time.Duration) error { w.pass(d); return nil },
			Go:          func(f func()) { w.spawn(nil, worldTask, 1, f) },
			CallTimeout: simTimeout,
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
		Environment: Environment{Now: m.local, Wall: m.wall, Rand: w.chance.Int64N, Pacer: m.pacer},
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

func (s *tapped) date(response tablestore.Response) tablestore.Response {
	if s.m.w.plan.localClocks {
		return tablestore.Response{Date: s.m.local().Add(-500 * time.Millisecond)} // as if each machine's clock were the service's
	}
	return response
}

func (s *tapped) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	s.reach()
	row, response, err := s.under.Get(context.WithoutCancel(ctx), partition, key)
	read := s.m.w.oracle.readAt()
	s.reach()
	s.m.w.oracle.willSee(s.m, read)
	return row, s.date(response), err
}

func (s *tapped) Put(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	s.reach()
	ctx = context.WithoutCancel(ctx)
	if s.m.w.plan.noSwap {
		version, response, err = s.under.Upsert(ctx, row)
	} else {
		version, response, err = s.under.Put(ctx, row)
	}
	if err == nil {
		s.m.w.oracle.written(s.m, row)
	}
	s.reach()
	return version, s.date(response), err
}

func (s *tapped) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.reach()
	version, response, err := s.under.Upsert(context.WithoutCancel(ctx), row)
	s.reach()
	return version, s.date(response), err
}

func (s *tapped) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	s.reach()
	rows, response, err := s.under.List(context.WithoutCancel(ctx), partition, from, to)
	s.reach()
	return rows, s.date(response), err
}

func (s *tapped) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	s.reach()
	response, err := s.under.Delete(context.WithoutCancel(ctx), row)
	return s.date(response), err
}

// overheard is the top of a machine's way to the table: the oracle hears each
// attempt, and the mutant without nonces forgets each that failed.
type overheard struct {
	tablestore.Store
	m *machine
}

func (o overheard) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	o.m.w.oracle.speaks(o.m)
	return o.Store.Get(ctx, partition, key)
}

func (o overheard) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	o.m.w.oracle.speaks(o.m)
	version, response, err := o.Store.Put(ctx, row)
	if err != nil && o.m.w.plan.noNonce {
		o.m.forget()
	}
	return version, response, err
}

func (o overheard) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	o.m.w.oracle.speaks(o.m)
	return o.Store.Upsert(ctx, row)
}

// forget is the mutant without nonces: it takes a write whose answer it did
// not get for one that did not happen.
func (m *machine) forget() {
	m.keeper.mu.Lock()
	m.keeper.nonces = nonces{}
	m.keeper.mu.Unlock()
}
