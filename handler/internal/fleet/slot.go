package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// slot is the replica's part of one backend × model. All but the atomic part is
// guarded by the replica's lock.
type slot struct {
	name                   string
	column                 string // of the shared row
	row                    int    // index of the shared row
	storedColumn           string // the column as last seen
	record                 health.Record
	unreadable             bool  // the stored record cannot be read: it is never acted on
	replacementIncarnation int64 // the incarnation that will replace it; 0 = not dated yet

	// newerVersion: a newer version wrote the record and this one cannot read it.
	// It is neither acted on nor replaced; the slot is kept locally.
	newerVersion bool

	localWindows       [len(health.ThrottleWindows{}.ByKind)]localWindow // waits of this instance's own 429s
	saturation         health.Saturation                                 // as last seen here, if worth publishing
	local              localOverride                                     // the circuit that binds this instance alone
	probe              probe                                             // the fleet's one probe, while this instance holds it
	unreportedFailures int                                               // failures of this epoch that are in no report yet
	report             health.FailureReport                              // not seen in the table yet; Failures 0 = none
	misconfigured      bool                                              // seen here, not in the table yet
	claimAfter         time.Duration                                     // when to try for the probe, random
	reason             string                                            // of the next transition that this instance writes

	demandedAt atomic.Int64  // local instant of the last request that would have used it
	servedAt   atomic.Int64  // local instant of the last served request
	sent       windowCounter // requests sent
	outcomes   windowCounter // outcomes in the breaker's window …
	failures   windowCounter // … and failures among them
}

// localWindow is the wait of a 429 that this instance received, exact in its own
// clock.
type localWindow struct {
	until        time.Duration
	serviceUntil int64 // the same in the service's clock, as published; 0 = not known yet
	maxTokens    int64
	reason       string
}

func newSlot(name string, row int, p health.BreakerPolicy) *slot {
	return &slot{
		name: name, column: columnOf(name), row: row,
		sent:     newWindowCounter(8*time.Second, 160),
		outcomes: newWindowCounter(p.Interval, 16),
		failures: newWindowCounter(p.Interval, 16),
	}
}

// columnOf returns a property name that the service accepts, whatever the slot's
// name is.
func columnOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "b_" + hex.EncodeToString(sum[:10])
}

// sameEpoch reports whether the permit's attempt began in the present epoch.
func (s *slot) sameEpoch(t health.Permit) bool {
	return s.record.Circuit.Incarnation == t.Incarnation && s.record.Circuit.Epoch == t.Epoch
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

func (w *windowCounter) add(now time.Duration) {
	n := int64(max(now, 0)/w.slice) + 1
	c := &w.cells[n%int64(len(w.cells))]
	if old := c.slice.Load(); old != n && c.slice.CompareAndSwap(old, n) {
		c.count.Store(0)
	}
	c.count.Add(1)
}

// since sums the slices that end after from.
func (w *windowCounter) since(from, now time.Duration) (sum int64) {
	first, last := int64(max(from, 0)/w.slice)+1, int64(max(now, 0)/w.slice)+1
	for i := range w.cells {
		if n := w.cells[i].slice.Load(); n >= first && n <= last {
			sum += w.cells[i].count.Load()
		}
	}
	return sum
}

func (w *windowCounter) clear() {
	for i := range w.cells {
		w.cells[i].slice.Store(0)
	}
}
