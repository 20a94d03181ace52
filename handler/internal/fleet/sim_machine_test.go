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

// machine is one instance with its clocks and its connection to the table.
type machine struct {
	w       *simulation
	n       int
	boots   int
	replica *Replica
	chaos   *chaos.Store
	run     *task
	pacer   *simPacer
	calls   []*task       // requests in flight
	frozen  time.Duration // suspended until
	skew    time.Duration // of both clocks
	step    time.Duration // of the monotonic clock against the wall clock
	drift   float64
}

// local is the machine's monotonic clock, wall its wall clock.
func (m *machine) local() time.Time {
	return epoch0.Add(m.skew + m.step + time.Duration(float64(m.w.now)*m.drift))
}
func (m *machine) wall() time.Time { return epoch0.Add(m.w.now + m.skew/2) }

// boot starts the instance, with no memory of an earlier run.
func (m *machine) boot() {
	w := m.w
	m.boots++
	m.pacer = &simPacer{scheduler: w.scheduler}
	m.chaos = &chaos.Store{
		Inner:  &observedStore{m: m, inner: w.store},
		Faults: chaos.TypicalFaults().Scale(w.scenario.faults),
		Environment: chaos.Environment{
			Rand:        w.rand.Float64,
			Sleep:       func(_ context.Context, d time.Duration) error { w.sleep(d); return nil },
			Go:          func(f func()) { w.spawn(nil, simulationTask, 1, f) },
			CallTimeout: simTimeout,
		},
	}
	var names []string
	for n := range w.scenario.slots {
		names = append(names, fmt.Sprintf("b%d/gpt", n))
	}
	boots := m.boots
	replica := New(Config{
		Store: attemptRecorder{m.chaos, m}, Slots: names, Instance: fmt.Sprintf("i%02d.%d", m.n, m.boots), Breakers: simPolicies(len(names)),
		Refresh: simRefresh, Timeout: simTimeout, MaxInstances: w.scenario.machines,
		Environment: Environment{Now: m.local, Wall: m.wall, Rand: w.rand.Int64N, Pacer: m.pacer},
		OnChange: func(n health.Slot, before, after health.Record) {
			if m.boots == boots {
				w.checker.applied(m, n, before, after)
			}
		},
	})
	m.replica = replica
	m.run = w.spawn(m, replicaTask, w.between(0, time.Second), func() { replica.Run(context.Background()) })
	m.pacer.task = m.run
	w.checker.started(m)
}

// freeze suspends the process for a while.
func (m *machine) freeze(d time.Duration) { m.frozen = max(m.frozen, m.w.now+d) }

// kill is SIGKILL: what is in flight ends at once.
func (m *machine) kill() {
	m.w.kill(m.run)
	for _, t := range m.calls {
		m.w.kill(t)
	}
	m.calls = nil
	for _, b := range m.w.backends {
		b.dropCalls(m)
	}
}

// observedStore is the table as one machine reaches it: with latency, observed by the
// checker, and broken where the scenario has a mutant.
type observedStore struct {
	m     *machine
	inner *memory.Store
}

// delay is the latency of one direction, a few milliseconds, rarely more.
func (s *observedStore) delay() {
	w := s.m.w
	d := w.between(time.Millisecond, 5*time.Millisecond)
	if w.happens(.01) {
		d = w.between(0, 300*time.Millisecond)
	}
	w.sleep(d)
}

func (s *observedStore) date(response tablestore.Response) tablestore.Response {
	if s.m.w.scenario.localClocks {
		return tablestore.Response{Date: s.m.local().Add(-500 * time.Millisecond)} // each machine takes its own clock for the service's
	}
	return response
}

func (s *observedStore) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	s.delay()
	row, response, err := s.inner.Get(context.WithoutCancel(ctx), partition, key)
	read := s.m.w.checker.readAt()
	s.delay()
	s.m.w.checker.willSee(s.m, read)
	return row, s.date(response), err
}

func (s *observedStore) Put(context.Context, tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	panic("the replica writes rows whole")
}

func (s *observedStore) Replace(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	s.delay()
	ctx = context.WithoutCancel(ctx)
	if s.m.w.scenario.noSwap {
		version, response, err = s.lastWriterWins(ctx, row)
	} else {
		version, response, err = s.inner.Replace(ctx, row)
	}
	if err == nil {
		s.m.w.checker.written(s.m, row)
	}
	s.delay()
	return version, s.date(response), err
}

// lastWriterWins is the mutant without compare-and-swap.
func (s *observedStore) lastWriterWins(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	there, _, _ := s.inner.Get(ctx, row.Partition, row.Key)
	row.Version = there.Version
	return s.inner.Replace(ctx, row)
}

func (s *observedStore) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.delay()
	version, response, err := s.inner.Upsert(context.WithoutCancel(ctx), row)
	s.delay()
	return version, s.date(response), err
}

func (s *observedStore) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	s.delay()
	rows, response, err := s.inner.List(context.WithoutCancel(ctx), partition, from, to)
	s.delay()
	return rows, s.date(response), err
}

func (s *observedStore) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	s.delay()
	response, err := s.inner.Delete(context.WithoutCancel(ctx), row)
	return s.date(response), err
}

// attemptRecorder is the outermost layer of a machine's store: the checker sees each
// attempt, and the mutant without nonces forgets each that failed.
type attemptRecorder struct {
	tablestore.Store
	m *machine
}

func (o attemptRecorder) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	o.m.w.checker.attempted(o.m)
	return o.Store.Get(ctx, partition, key)
}

func (o attemptRecorder) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	o.m.w.checker.attempted(o.m)
	version, response, err := o.Store.Replace(ctx, row)
	if err != nil && o.m.w.scenario.noNonce {
		o.m.forgetNonces()
	}
	return version, response, err
}

func (o attemptRecorder) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	o.m.w.checker.attempted(o.m)
	return o.Store.Upsert(ctx, row)
}

// forgetNonces is the mutant without nonces: it takes a write without a response for
// one that was not applied.
func (m *machine) forgetNonces() {
	m.replica.mu.Lock()
	m.replica.nonces = nonces{}
	m.replica.mu.Unlock()
}
