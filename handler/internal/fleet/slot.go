package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// slot is what the keeper holds of one backend × model. All but the atomic
// part is guarded by the keeper's lock.
type slot struct {
	name                   string
	column                 string // of the shared row
	row                    int    // which row
	storedColumn           string // what that column held when last seen
	record                 health.Record
	unreadable             bool  // the stored record cannot be read: it is never acted on
	replacementIncarnation int64 // the incarnation that will replace it; 0 = not dated yet

	// newerVersion: a newer version wrote it and this one understands nothing of it.
	// It is neither acted on nor replaced; the slot is kept without the fleet.
	newerVersion bool

	localWindows       [len(health.RetryWindows{}.ByKind)]localWindow // waits that this instance was told itself
	saturation         health.Saturation                              // how full it last saw it, as far as that is news
	override           localOverride                                  // what it holds to alone
	probe              probe                                          // the fleet's one probe, when it is here
	unreportedFailures int                                            // failures of this epoch that are in no batch yet
	report             health.FailureReport                           // failures on their way to the table; 0 = none
	misconfigured      bool                                           // it is misconfigured, and the table does not know yet
	claimAfter         time.Duration                                  // when to try for the probe, spread over the fleet
	reason             string                                         // of the next transition that this instance writes

	demandedAt atomic.Int64  // local instant of the last request that would have used it
	servedAt   atomic.Int64  // local instant of the last service
	sent       windowCounter // requests sent
	outcomes   windowCounter // outcomes in the window …
	failures   windowCounter // … and failures among them
}

// localWindow is a wait as this instance was localWindow it: exact in its own clock.
type localWindow struct {
	until        time.Duration
	serviceUntil int64 // the same in the service's clock, once known; what is published
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

// columnOf is a property name that the service accepts whatever the slot is
// called.
func columnOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "b_" + hex.EncodeToString(sum[:10])
}
