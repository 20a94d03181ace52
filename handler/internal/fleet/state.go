package fleet

import (
	"context"
	"fmt"
	"time"

	"spillway/handler/internal/health"
)

// State is all that the table has, at one moment.
type State struct {
	At        time.Time // by the table's clock
	Revision  uint64    // how often the shared row was written
	Slots     []SlotState
	Instances []Instance // the active ones, by name
}

// SlotState is one slot as the table has it.
type SlotState struct {
	Name       string
	Record     health.Record // instants in Unix milliseconds of the table's clock
	Unreadable bool          // the column cannot be read: Record is what this instance last knew
	Share      uint8         // percent of its normal traffic; 0 = all of it
}

// ReadState reads the table: what `backends list` prints. It waits for the table.
func (r *Replica) ReadState(ctx context.Context) (State, error) {
	if err := r.Read(ctx); err != nil {
		return State{}, err
	}
	instances, err := r.instances(ctx)
	if err != nil {
		return State{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.clock.toService(r.readClocks().local)
	f := State{At: time.UnixMilli(at).UTC(), Revision: r.row.revision, Instances: instances}
	for _, s := range r.slots {
		if s.spare() {
			continue
		}
		f.Slots = append(f.Slots, SlotState{s.name, s.record, s.unreadable, lowerShare(s.recordRamp(at), s.record.Saturation.Share(at))})
	}
	return f, nil
}

// recordRamp is the share of a recovering backend, as far as its record tells.
func (s *slot) recordRamp(at int64) uint8 {
	c := s.record.Circuit
	if c.State != health.Closed || c.Trips == 0 || c.LastObjection > 0 {
		return 0
	}
	return s.breaker.RampShare(time.Duration(at-c.Since) * time.Millisecond)
}

// Read reads the shared row once, for a command that does not run a Replica. It is
// no error when nothing was ever written.
func (r *Replica) Read(ctx context.Context) error {
	if !r.readRow(ctx) {
		return fmt.Errorf("read shared state: %w", r.Counters().LastError)
	}
	return nil
}
