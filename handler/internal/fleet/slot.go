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
	name   string
	column string // of the shared row
	row    int    // which row
	stored string // what that column held when last seen
	record health.Record
	poison bool  // the stored record cannot be read: it is never acted on
	anew   int64 // the incarnation that will replace it; 0 = not dated yet

	// foreign: a newer version wrote it and this one understands nothing of it.
	// It is neither acted on nor replaced; the slot is kept without the fleet.
	foreign bool

	told  [len(health.Windows{}.By)]told // waits that this instance was told itself
	mark  health.Mark                    // how full it last saw it, as far as that is news
	own   overlay                        // what it holds to alone
	probe probe                          // the fleet's one probe, when it is here
	fresh int                            // failures of this epoch that are in no batch yet
	batch health.Suspect                 // failures on their way to the table; 0 = none
	doom  bool                           // it is misconfigured, and the table does not know yet
	tryAt time.Duration                  // when to try for the probe, spread over the fleet
	why   string                         // of the next transition that this instance writes

	wanted atomic.Int64 // local instant of the last request that would have used it
	served atomic.Int64 // local instant of the last service
	sent   tally        // requests sent
	asked  tally        // outcomes in the window …
	failed tally        // … and failures among them
}

// told is a wait as this instance was told it: exact in its own clock.
type told struct {
	until   time.Duration
	service int64 // the same in the service's clock, once known; what is published
	room    int64
	why     string
}

func newSlot(name string, row int, p health.BreakerPolicy) *slot {
	return &slot{
		name: name, column: columnOf(name), row: row,
		sent:   newTally(8*time.Second, 160),
		asked:  newTally(p.Interval, 16),
		failed: newTally(p.Interval, 16),
	}
}

// columnOf is a property name that the service accepts whatever the slot is
// called.
func columnOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "b_" + hex.EncodeToString(sum[:10])
}
