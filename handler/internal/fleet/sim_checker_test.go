package fleet

import (
	"fmt"
	"hash"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// result is the totals of a simulated run.
type result struct {
	probes, overlaps, mostAtOnce int // coordinated probes; of them sent while another was in flight; most at once
	suspended                    int // probes that a suspended sender did not break off in time
	localProbes                  int // uncoordinated probes
	leases, orphans, trips       int
	windows, leaks, kills, steps int
	mostLeaks                    int             // of one instance into one window
	staleness                    []time.Duration // from a trip in the table to its application, by instance
	violations                   []string
	trace                        uint64
	writes, exchanges            int
}

func (r *result) add(o result) {
	r.probes += o.probes
	r.overlaps += o.overlaps
	r.mostAtOnce = max(r.mostAtOnce, o.mostAtOnce)
	r.suspended += o.suspended
	r.localProbes += o.localProbes
	r.leases += o.leases
	r.orphans += o.orphans
	r.trips += o.trips
	r.windows += o.windows
	r.leaks += o.leaks
	r.mostLeaks = max(r.mostLeaks, o.mostLeaks)
	r.kills += o.kills
	r.steps += o.steps
	r.writes += o.writes
	r.exchanges += o.exchanges
	r.staleness = append(r.staleness, o.staleness...)
	r.violations = append(r.violations, o.violations...)
}

// trace hashes all events, in order.
type trace struct{ h hash.Hash64 }

func (t *trace) note(format string, args ...any) { fmt.Fprintf(t.h, format+"|", args...) }

// checker knows the true state, which no instance does, and checks the invariants:
// I1 one probe at a time, I2 epochs only grow, I3 one epoch is one record, I4 no
// request where the snapshot forbids it, I5 trips are applied within the bound, I6
// healthy backends are closed in time, I8 requests do no I/O, I9 unreadable records
// are replaced safely, I10 no orphaned leases (docs/shared-state.md#proof).
type checker struct {
	w      *simulation
	trace  *trace
	result *result
	slots  []tableSlot
	views  map[*machine]*instanceView
	known  map[circuitKey]string // I3: the circuit of each epoch
	leases map[circuitKey]*lease
}

type circuitKey struct {
	slot  health.Slot
	epoch uint64
}

// tableSlot is a slot as the table has it.
type tableSlot struct {
	circuit      health.Circuit  // of the last readable record
	since        time.Duration   // when it was written
	unreadable   bool            // the column is no record
	uncertainty  map[int64]int64 // by the end of a window: the error of its writer's clock
	newerVersion bool
}

// instanceView is what one machine must have applied.
type instanceView struct {
	must  []health.Circuit // I5: what its last completed read showed, at least
	ended time.Duration    // its last exchange with the table, or when it needed none
	idle  bool             // no request yet
}

// lease is one in the table.
type lease struct {
	m     *machine
	boots int
	held  bool // its owner knew that it has it
}

func newChecker(w *simulation) *checker {
	return &checker{
		w: w, trace: traceOf(), result: &result{}, slots: make([]tableSlot, w.scenario.slots), views: map[*machine]*instanceView{},
		known: map[circuitKey]string{}, leases: map[circuitKey]*lease{},
	}
}

func (o *checker) violate(format string, args ...any) {
	if len(o.result.violations) < 50 {
		o.result.violations = append(o.result.violations, fmt.Sprintf("%v: "+format, append([]any{o.w.now}, args...)...))
	}
}

func (o *checker) started(m *machine) {
	o.views[m] = &instanceView{must: make([]health.Circuit, len(o.slots)), ended: o.w.now}
}

// attempted sees every attempt of an exchange. I8: none on a request's task.
func (o *checker) attempted(m *machine) {
	o.result.exchanges++
	if o.w.cur.kind == requestTask {
		o.violate("I8: i%02d makes an exchange on a request's task", m.n)
	}
	o.views[m].ended = o.w.now
}

// circuitText is a circuit without what is merged within an epoch.
func circuitText(c health.Circuit) string {
	c.Suspicions, c.SuspectedAt, c.LastObjection = nil, 0, 0
	return fmt.Sprintf("%+v", c)
}

// checkEpoch is I3: one epoch is one circuit on every instance.
func (o *checker) checkEpoch(n health.Slot, c health.Circuit, who string) {
	if c.Epoch == 0 {
		return // no record
	}
	key := circuitKey{n, c.Epoch}
	if was, ok := o.known[key]; ok && was != circuitText(c) {
		o.violate("I3: b%d as %s has it: %s, but %s", n, who, circuitText(c), was)
	}
	o.known[key] = circuitText(c)
}

// written sees every write that the table applied.
func (o *checker) written(m *machine, row tablestore.Row) {
	o.result.writes++
	for n, s := range m.replica.slots {
		column, ok := row.Columns[s.column]
		if !ok {
			o.removed(health.Slot(n))
			continue
		}
		r, err := health.Decode(column)
		if err != nil {
			if t := &o.slots[n]; t.unreadable || t.newerVersion {
				continue // carried along
			}
			o.violate("I9: i%02d wrote a record that cannot be read: %v", m.n, err)
			continue
		}
		o.wrote(m, health.Slot(n), r.Circuit)
		if until, _, _ := r.Windows.Combined(0); o.slots[n].uncertainty[until] == 0 {
			if o.slots[n].uncertainty == nil {
				o.slots[n].uncertainty = map[int64]int64{}
			}
			o.slots[n].uncertainty[until] = m.replica.clock.uncertainty().Milliseconds()/2 + 1
		}
	}
}

func (o *checker) wrote(m *machine, n health.Slot, c health.Circuit) {
	t := &o.slots[n]
	before := t.circuit
	if t.newerVersion {
		o.violate("I9: i%02d overwrote b%d, which a newer version wrote", m.n, n)
	}
	if t.unreadable && (c.State != health.Open || c.Epoch <= before.Epoch) {
		o.violate("I9: b%d was unreadable and became %s after %s", n, circuitText(c), circuitText(before))
	}
	t.unreadable = false
	if c.Epoch < before.Epoch {
		o.violate("I2: the table's b%d went from %s to %s", n, circuitText(before), circuitText(c))
	}
	o.checkEpoch(n, c, "the table")
	if l := o.leases[circuitKey{n, before.Lease}]; l != nil && before.State == health.HalfOpen && c.LastObjection > 0 {
		l.held = true // it was made needless before its owner could know of it
	}
	if c.Epoch != before.Epoch {
		t.since = o.w.now
		switch {
		case c.State == health.HalfOpen && c.Lease == c.Epoch:
			o.result.leases++
			o.leases[circuitKey{n, c.Lease}] = &lease{m: m, boots: m.boots}
		case c.State == health.Open && before.State == health.Closed:
			o.result.trips++
		}
	}
	t.circuit = c
	o.trace.note("w %d %d %d %d %d", o.w.now, n, c.Epoch, c.State, m.n)
}

// removed sees that the table has no record of the slot any more, which only a closed
// circuit may lose.
func (o *checker) removed(n health.Slot) {
	t := &o.slots[n]
	if t.circuit.State != health.Closed || t.unreadable || t.newerVersion {
		o.violate("I9: b%d was removed as %s", n, circuitText(t.circuit))
	}
	t.circuit = health.Circuit{}
}

func (o *checker) corrupted(n health.Slot, column, foreign bool) {
	if column {
		o.slots[n].unreadable, o.slots[n].newerVersion = !foreign, foreign
	}
}

// restored sees that a newer version's record was replaced by the one before it, which
// may have been unreadable too.
func (o *checker) restored(n health.Slot, column string) {
	_, err := health.Decode(column)
	o.slots[n].unreadable, o.slots[n].newerVersion = err != nil, false
}

// applied sees every change that an instance applies.
func (o *checker) applied(m *machine, n health.Slot, before, after health.Record) {
	if after.Circuit.Epoch == before.Circuit.Epoch {
		return
	}
	if after.Circuit.Epoch != 0 && after.Circuit.Epoch < before.Circuit.Epoch {
		o.violate("I2: i%02d went from %s to %s", m.n, circuitText(before.Circuit), circuitText(after.Circuit))
	}
	o.checkEpoch(n, after.Circuit, fmt.Sprintf("i%02d", m.n))
	c := after.Circuit
	if l := o.leases[circuitKey{n, c.Lease}]; l != nil && c.State == health.HalfOpen && m.replica != nil && m.replica.slots[n].probe.stage != probeNone {
		l.held = true
	}
	if t := o.slots[n]; t.circuit.Epoch == c.Epoch && c.State == health.Open && before.Circuit.State == health.Closed {
		o.result.staleness = append(o.result.staleness, o.w.now-t.since)
	}
	o.trace.note("a %d %d %d %d %d", o.w.now, n, c.Epoch, c.State, m.n)
}

// readAt is the table's state at the moment of a read.
func (o *checker) readAt() []health.Circuit {
	all := make([]health.Circuit, len(o.slots))
	for n, t := range o.slots {
		if !t.unreadable && !t.newerVersion {
			all[n] = t.circuit
		}
	}
	return all
}

// willSee records that the response of a read is on its way to the replica.
func (o *checker) willSee(m *machine, read []health.Circuit) {
	w := o.w
	w.spawn(nil, simulationTask, 1, func() { // chaos may still lose the response: check when it has arrived
		for n, c := range read {
			if m.replica.slots[n].record.Circuit.Epoch >= c.Epoch {
				o.views[m].must[n] = c
			}
		}
	})
}

// acquired is I4: no permit where the instance knows that it must not send.
func (o *checker) acquired(m *machine, b *backend, t health.Permit) {
	replica := m.replica
	s := replica.slots[b.n]
	o.trace.note("e %d %d %d %v %v", o.w.now, m.n, b.n, t.Probe, t.LocalProbe)
	if t.LocalProbe {
		o.result.localProbes++
	}
	if s.record.Override.Drained {
		o.violate("I4: i%02d sent to b%d, drained as it knows", m.n, b.n)
	}
	// The share of failures grows as successes leave the window, which a snapshot does not follow at once.
	now, last := replica.localNow(), s.lastServed()
	fresh := last > 0 && last >= s.evidence.LastFailed() && now-last <= replica.freshness(b.n, s)
	if s.record.Circuit.State != health.Closed && !t.Probe && !t.LocalProbe && !replica.disconnected && !fresh {
		o.violate("I4: i%02d sent to b%d, %v as it knows", m.n, b.n, s.record.Circuit.State)
	}
	bounds, sure := replica.clock.bounds(replica.readClocks())
	if until, _, _ := s.record.Windows.Combined(0); sure && !t.Probe && !t.LocalProbe {
		if early := until - o.w.serviceNow(); early > (bounds.Latest-bounds.Earliest)/2+1+o.slots[b.n].uncertainty[until] {
			o.violate("I4: i%02d sent to b%d %d ms before its window ended", m.n, b.n, early)
		}
	}
	if sure && !o.w.scenario.localClocks && (bounds.Earliest > o.w.serviceNow() || bounds.Latest < o.w.serviceNow()) {
		o.violate("clock: i%02d has the bounds %d..%d, it is %d", m.n, bounds.Earliest, bounds.Latest, o.w.serviceNow())
	}
}

// probeSent is I1: at most one of the fleet's probes at a time.
func (o *checker) probeSent(b *backend, c *call) {
	running := 1
	for _, other := range b.probes {
		if other.granted > o.w.now {
			running++
		} else {
			o.result.suspended++ // its sender is suspended and cannot break it off
		}
	}
	o.result.probes++
	o.result.mostAtOnce = max(o.result.mostAtOnce, running)
	if running > 1 {
		o.result.overlaps++
	}
	b.probes = append(b.probes, c)
	o.trace.note("p %d %d %d", o.w.now, c.m.n, b.n)
}

// throttled counts the requests that leak into a throttle window.
func (o *checker) throttled(m *machine, b *backend) {
	o.result.leaks++
	b.leaks[m]++
	o.result.mostLeaks = max(o.result.mostLeaks, b.leaks[m])
}

// boundTolerance is how long a running instance with traffic may be without an
// exchange: all writes of one iteration may time out.
const boundTolerance = lastRetry + firstRetry + (2*writeAttempts+2)*simTimeout + time.Second

// check runs after every event.
func (o *checker) check() {
	if m := o.w.cur.owner; m != nil { // no other instance has changed
		view := o.views[m]
		view.ended = max(view.ended, m.frozen)
		if m.frozen >= o.w.now || m.run.over || o.w.scenario.thin {
			view.ended = o.w.now
			return
		}
		if idle := m.replica.traffic.Load() == 0; idle || view.idle {
			view.ended, view.idle = o.w.now, idle // without traffic it need not read
		}
		if o.w.now-view.ended > boundTolerance {
			o.violate("I5: i%02d has made no exchange for %v", m.n, o.w.now-view.ended)
			view.ended = o.w.now
		}
		for n := range view.must {
			if must := view.must[n]; m.replica.slots[n].record.Circuit.Epoch != 0 && must.Epoch > m.replica.slots[n].record.Circuit.Epoch {
				o.violate("I5: i%02d read b%d as %s and lost it", m.n, n, circuitText(must))
				view.must[n] = health.Circuit{}
			}
		}
	}
}

// checkHealed is I6, some time after the last fault: all circuits are closed on every
// instance. One of a slot that is drained may be open: whoever drained it was killed
// before it was restored, and no request probes it.
func (o *checker) checkHealed() {
	for n, t := range o.slots {
		drained := func(m *machine) bool { return m.replica.slots[n].record.Override.Drained }
		if t.circuit.State != health.Closed && !drained(o.w.machines[0]) {
			o.violate("I6: b%d is still %s", n, circuitText(t.circuit))
		}
		for _, m := range o.w.machines {
			if c := m.replica.slots[n].record.Circuit; c.Epoch != t.circuit.Epoch {
				o.violate("I6: i%02d has b%d as %s, the table as %s", m.n, n, circuitText(c), circuitText(t.circuit))
			}
			if p := m.replica.Snapshot().Of(health.Slot(n)).State; p != health.Closed && !drained(m) {
				o.violate("I6: i%02d shows b%d as %v", m.n, n, p)
			}
		}
	}
}

// countOrphans is I10: leases whose owner was not killed and never knew of them.
func (o *checker) countOrphans() {
	for _, l := range o.leases {
		if !l.held && l.m.boots == l.boots {
			o.result.orphans++
		}
	}
}

// simulate runs one seed of a scenario.
func simulate(seed uint64, p scenario) result {
	w := newSimulation(seed, p)
	w.run(p.duration)
	w.stopping = true
	w.restoreTable()
	for _, b := range w.backends {
		b.up, b.throttledUntil = true, 0
	}
	for _, m := range w.machines {
		m.chaos.Faults = m.chaos.Faults.Scale(0)
	}
	w.run(w.now + healingTime(p))
	w.checker.checkHealed()
	w.checker.countOrphans()
	w.stop()
	w.checker.result.steps = w.steps
	w.checker.result.trace = w.checker.trace.h.Sum64()
	return *w.checker.result
}

// healingTime is I6's bound: a longest trip may have begun just before, and a lease
// may have been taken just before its holder was killed.
func healingTime(p scenario) time.Duration {
	policy := simPolicy()
	d := policy.MaxTripDuration + policy.ProbeLease + 2*simRefresh + 2*simTimeout + 9*time.Second // the slowest probe in flight
	if p.thin {
		d += 90 * time.Second // traffic is thin, and a probe needs a request
	}
	if p.throttles {
		d += 25 * time.Second // its last window must end
	}
	if p.pauses || p.pausesBeforeProbe {
		d += 15 * time.Second // suspended processes wake up first
	}
	if p.corruption {
		d += 20 * time.Second // a record of a newer version is restored
	}
	return d
}
