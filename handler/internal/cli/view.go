package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/tablestore"
)

// tables are the tables that the state of the backends is read from.
type tables struct {
	cfg     *config.Config
	replica *fleet.Replica
	traffic tablestore.Store
	notes   io.Writer // for what could not be read
}

// view is the state of the backends: what all instances share, and what single ones
// found out by themselves.
type view struct {
	fleet.State
	admin.Shared
}

// openTables opens them for a command that does not run a Replica.
func openTables(notes io.Writer) (*tables, error) {
	cfg, err := loadPools("the state of the backends")
	if err != nil {
		return nil, err
	}
	return tablesOf(cfg, notes)
}

func tablesOf(cfg *config.Config, notes io.Writer) (*tables, error) {
	replica, err := app.NewReplica(cfg)
	if err != nil {
		return nil, err
	}
	traffic, err := app.NewTraffic(cfg)
	return &tables{cfg, replica, traffic, notes}, err
}

func (t *tables) read(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	state, err := t.replica.ReadState(ctx)
	for errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil { // of one exchange: requests wait no longer, a person does
		state, err = t.replica.ReadState(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &view{state, t.readShared(ctx, state.At)}, nil
}

// readShared is empty when it cannot be read, which is said.
func (t *tables) readShared(ctx context.Context, at time.Time) admin.Shared {
	shared, err := admin.ReadShared(ctx, t.traffic, at)
	if err != nil {
		fmt.Fprintln(t.notes, "note: what single instances see could not be read: "+err.Error())
	}
	return shared
}

// refusalsOf are those of a slot, or of a model.
func (v *view) refusalsOf(subject string) (all []admin.Refusal) {
	for _, r := range v.Refusals {
		if r.Slot == subject || r.Slot == "" && r.Model == subject {
			all = append(all, r)
		}
	}
	return all
}

// lastChange is the last change of a slot: a record is removed some time after it
// says nothing any more, an event stays for twelve hours.
func (v *view) lastChange(s *fleet.SlotState) (last change) {
	if c := s.Record.LastChange; c.At != 0 {
		last = change{time.UnixMilli(c.At).UTC(), c.By, c.Reason, c.Evidence}
	}
	for i := range slices.Backward(v.Events) {
		if e := &v.Events[i]; e.Subject == s.Name {
			if e.Last.Sub(last.at) > time.Second { // the clocks differ
				last = change{e.Last.UTC(), e.By, e.Text, ""}
			}
			break
		}
	}
	return last
}

// change is the last change of a slot. The zero change is none that is known.
type change struct {
	at     time.Time
	by     string
	reason string

	evidence string // of a circuit that is not closed
}

func (c change) String() string {
	if c.at.IsZero() {
		return "none in 12 hours"
	}
	text := fmt.Sprintf("%s by %s: %s", c.at.Format(time.RFC3339), c.by, c.reason)
	if c.evidence != "" {
		text += " (" + c.evidence + ")"
	}
	return text
}
