package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/health"
)

// What an operator's command can end in, besides success.
var (
	ErrNoSuchBackend = errors.New("state: no such backend in this pool document")
	ErrNotWritten    = errors.New("state: the table did not take the command")
)

// Drain takes a backend out of service on every instance: no new requests. The
// name is a backend's, for all its models, or "backend/model". It returns when
// the table has it; instances with traffic obey within one refresh.
func (r *Replica) Drain(ctx context.Context, backend, who string) error {
	return r.applyCommand(ctx, backend, "drained by "+who, func(record health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(record, true, who, at)
	})
}

// Restore takes a Drain back.
func (r *Replica) Restore(ctx context.Context, backend, who string) error {
	return r.applyCommand(ctx, backend, "restored by "+who, func(record health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(record, false, who, at)
	})
}

// Reset closes the backend's circuits, without a ramp, and ends its throttle
// windows, on every instance. It leaves a drain as it is.
func (r *Replica) Reset(ctx context.Context, backend, who string) error {
	return r.applyCommand(ctx, backend, "reset by "+who, func(record health.Record, at health.TimeBounds) (health.Record, bool) {
		if r.nonces.has(record.Circuit.Nonce) && record.Circuit.State == health.Closed && record.Circuit.Epoch == 1 {
			return record, false // this very command landed, though its answer was lost
		}
		record.Circuit, record.Windows = record.Circuit.Reset(at), record.Windows.Reset()
		return record, true
	})
}

func withDrain(record health.Record, drained bool, who string, at health.TimeBounds) (health.Record, bool) {
	if record.Override.Drained == drained {
		return record, false
	}
	record.Override = health.OperatorOverride{Sequence: record.Override.Sequence + 1, Drained: drained, Operator: shorten(who), At: at.Midpoint()}
	return record, true
}

// commandAttempts is how often a command tries; beyond that the table is out of
// reach and the operator should know.
const commandAttempts = 12

// command is what an operator wants of one record; false when it is so already.
type command func(r health.Record, at health.TimeBounds) (health.Record, bool)

// applyCommand reads, changes and writes the backend's records until the table says
// that it has them. It runs on the caller's goroutine, beside Run or without.
func (r *Replica) applyCommand(ctx context.Context, backend, why string, to command) error {
	rows := r.rowsOf(backend)
	if len(rows) == 0 {
		return fmt.Errorf("%w: %q; known are %s", ErrNoSuchBackend, backend, strings.Join(r.backendNames(), ", "))
	}
	for _, n := range rows {
		if err := r.applyCommandToRow(ctx, n, backend, why, to); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replica) applyCommandToRow(ctx context.Context, n int, backend, why string, to command) error {
	for try := range commandAttempts {
		if ctx.Err() != nil {
			break
		}
		if r.readRow(ctx, n) {
			d, ok, err := r.draftCommand(n, backend, why, to)
			if err != nil || !ok {
				return err
			}
			if r.commit(ctx, n, d) {
				continue // read back: that is what the command promises
			}
		}
		r.backOff(ctx, min(try, 4))
	}
	return fmt.Errorf("%w: %q: see whether the instances still reach it", ErrNotWritten, backend)
}

// draftCommand is the write of a command; false when all is as it wants.
func (r *Replica) draftCommand(n int, backend, why string, to command) (rowDraft, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	span, ok := r.clock.bounds(r.readClocks())
	if !ok {
		return rowDraft{}, false, fmt.Errorf("%w: its clock is unknown", ErrNotWritten)
	}
	d := rowDraft{nonce: r.nonce()}
	columns := map[string]string{}
	for _, s := range r.slots {
		if s.row != n || !s.matches(backend) {
			continue
		}
		if s.newerVersion {
			return rowDraft{}, false, fmt.Errorf("%w: %q was written by a newer version: use that one", ErrNotWritten, s.name)
		}
		next, changed := to(s.record, span)
		if !changed && !s.unreadable {
			continue
		}
		if s.unreadable && next.Circuit.SameEpoch(s.record.Circuit) {
			next.Circuit = next.Circuit.Quarantine(span, r.cfg.Breaker)
		}
		if !next.Circuit.SameEpoch(s.record.Circuit) {
			next.Circuit.Nonce = d.nonce
		}
		next.LastChange = health.Change{At: span.Midpoint(), By: r.cfg.Instance, Reason: shorten(why)}
		columns[s.column] = next.Encode()
	}
	if len(columns) == 0 {
		return rowDraft{}, false, nil
	}
	d.row = r.nextRow(n, columns)
	r.nonces.add(d.nonce)
	return d, true, nil
}

// matches reports whether the slot is of the backend, or is the one named.
func (s *slot) matches(backend string) bool {
	return backend != "" && (s.name == backend || strings.HasPrefix(s.name, backend+"/"))
}

// rowsOf are the rows that hold the backend's slots.
func (r *Replica) rowsOf(backend string) []int {
	var rows []int
	for _, s := range r.slots {
		if s.matches(backend) && !slices.Contains(rows, s.row) {
			rows = append(rows, s.row)
		}
	}
	return rows
}

// backendNames are the names that a command may use.
func (r *Replica) backendNames() []string {
	var names []string
	for _, s := range r.slots {
		name, _, _ := strings.Cut(s.name, "/")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// SlotState is what the table says of one backend × model.
type SlotState struct {
	Name       string
	Record     health.Record // instants in Unix milliseconds of the table's clock
	Unreadable bool          // the column is no record: Record is what this instance last knew
	Share      uint8         // percent of its normal traffic; 0 = all
}

// State is what the table says of everything, at one moment.
type State struct {
	At        time.Time // by the table's clock
	Revision  uint64    // of the shared row: how often it was written
	Slots     []SlotState
	Instances []Instance // that were active lately, by name
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
	f := State{At: time.UnixMilli(at).UTC(), Instances: instances}
	for _, row := range r.rows {
		f.Revision += row.revision
	}
	for _, s := range r.slots {
		share := lowerShare(s.record.Circuit.Share(at, r.cfg.Breaker), s.record.Saturation.Share(at))
		f.Slots = append(f.Slots, SlotState{s.name, s.record, s.unreadable, share})
	}
	return f, nil
}
