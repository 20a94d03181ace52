package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"spillway/handler/internal/health"
)

// The errors of an operator's command.
var (
	ErrNoSuchBackend = errors.New("no such backend in this pool document")
	ErrNotWritten    = errors.New("the table did not accept the command")
)

// Drain takes a backend out of service on every instance: no new requests. The
// name is a backend's, for all its models, or "backend/model". It returns when the
// table has the command; instances with traffic obey within one refresh. The error
// wraps ErrNoSuchBackend or ErrNotWritten.
func (r *Replica) Drain(ctx context.Context, backend, operator string) error {
	return r.applyCommand(ctx, backend, "drained by "+operator, func(record health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(record, true, operator, at)
	})
}

// Restore undoes Drain.
func (r *Replica) Restore(ctx context.Context, backend, operator string) error {
	return r.applyCommand(ctx, backend, "restored by "+operator, func(record health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(record, false, operator, at)
	})
}

// Reset closes the backend's circuits, without a ramp, and ends its throttle
// windows, on every instance. A drain stays.
func (r *Replica) Reset(ctx context.Context, backend, operator string) error {
	return r.applyCommand(ctx, backend, "reset by "+operator, func(record health.Record, at health.TimeBounds) (health.Record, bool) {
		if r.nonces.has(record.Circuit.Nonce) && record.Circuit.State == health.Closed && record.Circuit.Epoch == 1 {
			return record, false // this command was applied, though its response was lost
		}
		record.Circuit, record.Windows = record.Circuit.Reset(at), record.Windows.Reset()
		return record, true
	})
}

func withDrain(record health.Record, drained bool, operator string, bounds health.TimeBounds) (health.Record, bool) {
	if record.Override.Drained == drained {
		return record, false
	}
	record.Override = health.OperatorOverride{Sequence: record.Override.Sequence + 1, Drained: drained, Operator: shorten(operator), At: bounds.Midpoint()}
	return record, true
}

// commandAttempts is how often a command is tried before it fails.
const commandAttempts = 12

// recordEdit returns the record as the operator wants it; false when it is so already.
type recordEdit func(r health.Record, at health.TimeBounds) (health.Record, bool)

// applyCommand reads, changes and writes the backend's records until the table has
// them. It runs on the caller's goroutine, whether Run does or not.
func (r *Replica) applyCommand(ctx context.Context, backend, reason string, command recordEdit) error {
	rows := r.rowsOf(backend)
	if len(rows) == 0 {
		return fmt.Errorf("%w: %q; known are %s", ErrNoSuchBackend, backend, strings.Join(r.backendNames(), ", "))
	}
	for _, n := range rows {
		if err := r.applyCommandToRow(ctx, n, backend, reason, command); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replica) applyCommandToRow(ctx context.Context, n int, backend, reason string, command recordEdit) error {
	for try := range commandAttempts {
		if ctx.Err() != nil {
			break
		}
		if r.readRow(ctx, n) {
			d, ok, err := r.draftCommand(n, backend, reason, command)
			if err != nil || !ok {
				return err
			}
			if r.commit(ctx, n, d) {
				continue // confirm by reading back
			}
		}
		r.backOff(ctx, min(try, 4))
	}
	return fmt.Errorf("%w: %q: check whether the instances still reach it", ErrNotWritten, backend)
}

// draftCommand returns the write of a command; false when there is nothing to write.
func (r *Replica) draftCommand(n int, backend, reason string, command recordEdit) (rowDraft, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bounds, ok := r.clock.bounds(r.readClocks())
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
			return rowDraft{}, false, fmt.Errorf("%w: %q was written by a newer version: use that version", ErrNotWritten, s.name)
		}
		next, changed := command(s.record, bounds)
		if !changed && !s.unreadable {
			continue
		}
		if s.unreadable && next.Circuit.SameEpoch(s.record.Circuit) {
			next.Circuit = next.Circuit.Quarantine(bounds, r.cfg.Breaker)
		}
		if !next.Circuit.SameEpoch(s.record.Circuit) {
			next.Circuit.Nonce = d.nonce
		}
		next.LastChange = health.Change{At: bounds.Midpoint(), By: r.cfg.Instance, Reason: shorten(reason)}
		columns[s.column] = next.Encode()
	}
	if len(columns) == 0 {
		return rowDraft{}, false, nil
	}
	d.row = r.nextRow(n, columns)
	r.nonces.add(d.nonce)
	return d, true, nil
}

// rowsOf returns the rows that hold the backend's slots.
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
