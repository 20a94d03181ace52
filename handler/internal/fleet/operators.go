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
func (k *Replica) Drain(ctx context.Context, backend, who string) error {
	return k.applyCommand(ctx, backend, "drained by "+who, func(r health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(r, true, who, at)
	})
}

// Restore takes a Drain back.
func (k *Replica) Restore(ctx context.Context, backend, who string) error {
	return k.applyCommand(ctx, backend, "restored by "+who, func(r health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(r, false, who, at)
	})
}

// Reset closes the backend's circuits, without a ramp, and ends its throttle
// windows, on every instance. It leaves a drain as it is.
func (k *Replica) Reset(ctx context.Context, backend, who string) error {
	return k.applyCommand(ctx, backend, "reset by "+who, func(r health.Record, at health.TimeBounds) (health.Record, bool) {
		if k.nonces.has(r.Circuit.Nonce) && r.Circuit.State == health.Closed && r.Circuit.Epoch == 1 {
			return r, false // this very command landed, though its answer was lost
		}
		r.Circuit, r.Windows = r.Circuit.Reset(at), r.Windows.Reset()
		return r, true
	})
}

func withDrain(r health.Record, drained bool, who string, at health.TimeBounds) (health.Record, bool) {
	if r.Override.Drained == drained {
		return r, false
	}
	r.Override = health.OperatorOverride{Sequence: r.Override.Sequence + 1, Drained: drained, Operator: shorten(who), At: at.Midpoint()}
	return r, true
}

// commandAttempts is how often a command tries; beyond that the table is out of
// reach and the operator should know.
const commandAttempts = 12

// command is what an operator wants of one record; false when it is so already.
type command func(r health.Record, at health.TimeBounds) (health.Record, bool)

// applyCommand reads, changes and writes the backend's records until the table says
// that it has them. It runs on the caller's goroutine, beside Run or without.
func (k *Replica) applyCommand(ctx context.Context, backend, why string, to command) error {
	rows := k.rowsOf(backend)
	if len(rows) == 0 {
		return fmt.Errorf("%w: %q; known are %s", ErrNoSuchBackend, backend, strings.Join(k.backendNames(), ", "))
	}
	for _, n := range rows {
		if err := k.applyCommandToRow(ctx, n, backend, why, to); err != nil {
			return err
		}
	}
	return nil
}

func (k *Replica) applyCommandToRow(ctx context.Context, n int, backend, why string, to command) error {
	for try := range commandAttempts {
		if ctx.Err() != nil {
			break
		}
		if k.readRow(ctx, n) {
			d, ok, err := k.draftCommand(n, backend, why, to)
			if err != nil || !ok {
				return err
			}
			if k.commit(ctx, n, d) {
				continue // read back: that is what the command promises
			}
		}
		k.backOff(ctx, min(try, 4))
	}
	return fmt.Errorf("%w: %q: see whether the instances still reach it", ErrNotWritten, backend)
}

// draftCommand is the write of a command; false when all is as it wants.
func (k *Replica) draftCommand(n int, backend, why string, to command) (rowDraft, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	span, ok := k.clock.bounds(k.readClocks())
	if !ok {
		return rowDraft{}, false, fmt.Errorf("%w: its clock is unknown", ErrNotWritten)
	}
	d := rowDraft{nonce: k.nonce()}
	columns := map[string]string{}
	for _, s := range k.slots {
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
			next.Circuit = next.Circuit.Quarantine(span, k.cfg.Breaker)
		}
		if !next.Circuit.SameEpoch(s.record.Circuit) {
			next.Circuit.Nonce = d.nonce
		}
		next.LastChange = health.Change{At: span.Midpoint(), By: k.cfg.Instance, Reason: shorten(why)}
		columns[s.column] = next.Encode()
	}
	if len(columns) == 0 {
		return rowDraft{}, false, nil
	}
	d.row = k.nextRow(n, columns)
	k.nonces.add(d.nonce)
	return d, true, nil
}

// matches reports whether the slot is of the backend, or is the one named.
func (s *slot) matches(backend string) bool {
	return backend != "" && (s.name == backend || strings.HasPrefix(s.name, backend+"/"))
}

// rowsOf are the rows that hold the backend's slots.
func (k *Replica) rowsOf(backend string) []int {
	var rows []int
	for _, s := range k.slots {
		if s.matches(backend) && !slices.Contains(rows, s.row) {
			rows = append(rows, s.row)
		}
	}
	return rows
}

// backendNames are the names that a command may use.
func (k *Replica) backendNames() []string {
	var names []string
	for _, s := range k.slots {
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
func (k *Replica) ReadState(ctx context.Context) (State, error) {
	if err := k.Read(ctx); err != nil {
		return State{}, err
	}
	instances, err := k.instances(ctx)
	if err != nil {
		return State{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.clock.toService(k.readClocks().local)
	f := State{At: time.UnixMilli(at).UTC(), Instances: instances}
	for _, r := range k.rows {
		f.Revision += r.revision
	}
	for _, s := range k.slots {
		share := lowerShare(s.record.Circuit.Share(at, k.cfg.Breaker), s.record.Saturation.Share(at))
		f.Slots = append(f.Slots, SlotState{s.name, s.record, s.unreadable, share})
	}
	return f, nil
}
