package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// slot is the replica's part of one backend × model. All but the atomic part is
// guarded by the replica's lock.
type slot struct {
	name     string
	column   string // of the shared row
	breaker  health.BreakerPolicy
	throttle health.ThrottlePolicy

	storedColumn string        // the column as last seen; "" = none
	record       health.Record // what it says
	unreadable   bool          // the stored column is no record: it is never acted on
	newerVersion bool          // a newer version wrote it so that this one cannot read it: it is not replaced either

	localWindows [len(health.ThrottleWindows{}.ByKind)]localWindow // waits of this instance's own 429s
	models       modelThrottles
	saturation   health.Saturation // as last seen here, if worth publishing
	evidence     health.Evidence   // failures seen here
	silent       []uint64          // attempts past their threshold that count as failures until answered
	own          ownCircuit
	leftOut      bool          // the full row has no space for its record
	publishOpen  bool          // the own circuit opened, which is not in the table yet
	probe        probe         // the fleet's one probe, while this instance holds it
	claimAfter   time.Duration // when to try for the probe, random
	objectAt     time.Duration // when to object, random; 0 = there is nothing to object to
	changedAt    time.Duration // attempts that began before say nothing about the present
	voidBefore   time.Duration // failures that an objection voided, though it is in the table no more
	recoveredAt  time.Duration // when a circuit closed
	ramp         bool          // its traffic grows from recoveredAt on
	lastTrips    int           // of the circuit that closed then
	brokeAfter   int64         // ended, plus one, when a circuit opened after answers that broke off
	lastFailer   string        // the consumer whose request failed the last probe here
	reason       string        // of the next transition that this instance writes

	demandedAt  atomic.Int64  // local instant of the last request that would have used it
	servedAt    atomic.Int64  // local instant of the last success
	servedSince atomic.Int64  // local instant of the first success of those that came without a gap of a window
	servedFrom  atomic.Int64  // local instant at which the latest attempt that was served began
	ended       atomic.Int64  // order of the latest attempt that was served to its end
	attention   atomic.Bool   // a success changes more than its counters
	begun       atomic.Uint64 // attempts
	decided     atomic.Uint64 // of those: answered, silent or ended
	sent        windowCounter // requests sent
	served      windowCounter // successes in the breaker's window
}

// localWindow is the wait of a 429 that this instance received, exact in its own
// clock.
type localWindow struct {
	until        time.Duration
	received     time.Duration
	serviceUntil int64 // the same in the service's clock, as published; 0 = not known yet
	maxTokens    int64
	reason       string
}

func newSlot(name, identity string, breaker health.BreakerPolicy, throttle health.ThrottlePolicy) *slot {
	return &slot{
		name: name, column: columnOf(identity), breaker: breaker, throttle: throttle,
		sent: newWindowCounter(8*time.Second, 160), served: newWindowCounter(breaker.Interval, 16),
	}
}

// columnPrefix is that of the columns that hold records.
const columnPrefix = "s_"

// columnOf returns a property name that the service accepts, whatever the slot's
// identity is; "" of a spare.
func columnOf(identity string) string {
	if identity == Spare {
		return ""
	}
	sum := sha256.Sum256([]byte(identity))
	return columnPrefix + hex.EncodeToString(sum[:10])
}

// inDemand reports whether a request would have used the slot lately.
func (s *slot) inDemand(now time.Duration) bool {
	demandedAt := s.demandedAt.Load()
	return demandedAt != 0 && now-time.Duration(demandedAt) < demandWindow
}

// matches reports whether the name is the slot's, or that of its backend.
func (s *slot) matches(backend string) bool {
	return backend != "" && (s.name == backend || strings.HasPrefix(s.name, backend+"/"))
}

// lastServed is the local instant of the last success; 0 = there was none.
func (s *slot) lastServed() time.Duration { return time.Duration(s.servedAt.Load()) }

// opens reports whether the evidence opens the own circuit.
func (s *slot) opens(now time.Duration) bool {
	return s.evidence.Opens(now, s.successes(now), s.breaker)
}

func (s *slot) successes(now time.Duration) health.Successes {
	return health.Successes{
		Lately: s.servedLately(now), Last: s.lastServed(), LatestBegan: time.Duration(s.servedFrom.Load()), Ended: uint64(s.ended.Load()), Breaking: s.breaking(),
	}
}

// noteBreaks remembers, when a circuit opens, that this instance's last answers broke
// off.
func (s *slot) noteBreaks() {
	if ended := s.ended.Load(); s.evidence.Broke(uint64(ended)) {
		s.brokeAfter = ended + 1
	}
}

// breaking reports whether no attempt has come to its end since then.
func (s *slot) breaking() bool { return s.brokeAfter == s.ended.Load()+1 }

// servedLately is the number of successes in the breaker's window.
func (s *slot) servedLately(now time.Duration) int64 {
	return s.served.since(now-s.breaker.Interval, now)
}

// runFrom is since when failures count: of the breaker's window, and of a run that is
// longer because requests are rare.
func (s *slot) runFrom(now time.Duration) time.Duration {
	return min(now-s.breaker.Interval, max(s.lastServed(), now-health.MaxRunAge))
}

// decide counts an attempt as decided, once.
func (s *slot) decide(t health.Permit) {
	if t.Order > 0 {
		s.decided.Add(1)
	}
}

// older is how many attempts that began before this one are under way, as long as
// successes have not come for a whole window: after that they come as often as the
// backend serves. It is too low rather than too high when later ones have ended.
func (s *slot) older(t health.Permit, now time.Duration) int64 {
	servedSince := time.Duration(s.servedSince.Load())
	if servedSince > 0 && now-servedSince > s.breaker.Interval && now-s.lastServed() <= s.breaker.Interval {
		return 0
	}
	return max(int64(t.Order-s.decided.Load()), 0)
}

// endSilence reports whether the attempt counts as silent, which it does no more.
func (s *slot) endSilence(t health.Permit) bool {
	i := slices.Index(s.silent, t.ID)
	if i < 0 {
		return false
	}
	s.silent = slices.Delete(s.silent, i, i+1)
	return true
}

// countServed counts a success.
func (s *slot) countServed(now time.Duration) {
	if last := s.lastServed(); last == 0 || now-last > s.breaker.Interval {
		s.servedSince.Store(int64(max(now, 1)))
	}
	s.served.add(now, 1)
	raise(&s.servedAt, int64(now))
}

// raise sets an instant or a number, unless it is later already.
func raise(v *atomic.Int64, to int64) {
	if to = max(to, 1); v.Load() < to {
		v.Store(to)
	}
}

func (s *slot) clearEvidence() {
	s.evidence.Clear()
	s.served.clear()
}

// windowCounter counts events over a sliding window of time slices. It is for the
// request path: no lock, no allocation. Two events that open one slice at the same
// moment may count once; nothing depends on a single event.
type windowCounter struct {
	slice time.Duration
	cells []cell
}

type cell struct {
	slice atomic.Int64 // its number plus one, so that the zero cell counts none
	count atomic.Int64
}

// newWindowCounter counts over the window, in that many slices.
func newWindowCounter(over time.Duration, slices int) windowCounter {
	return windowCounter{slice: max(over/time.Duration(slices), 1), cells: make([]cell, slices+1)}
}

func (w *windowCounter) add(now time.Duration, count int64) {
	n := int64(max(now, 0)/w.slice) + 1
	c := &w.cells[n%int64(len(w.cells))]
	if old := c.slice.Load(); old != n && c.slice.CompareAndSwap(old, n) {
		c.count.Store(0)
	}
	c.count.Add(count)
}

// since sums the slices that end after from.
func (w *windowCounter) since(from, now time.Duration) (sum int64) {
	first, last := int64(max(from, 0)/w.slice)+1, int64(max(now, 0)/w.slice)+1
	for i := range w.cells {
		if n := w.cells[i].slice.Load(); n >= first && n <= last {
			sum += w.cells[i].count.Load()
		}
	}
	return max(sum, 0)
}

func (w *windowCounter) clear() {
	for i := range w.cells {
		w.cells[i].slice.Store(0)
	}
}
