package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
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
	return r.applyCommand(ctx, backend, "drained by "+operator, func(_ *slot, record health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(record, true, operator, at)
	})
}

// Restore undoes Drain.
func (r *Replica) Restore(ctx context.Context, backend, operator string) error {
	return r.applyCommand(ctx, backend, "restored by "+operator, func(_ *slot, record health.Record, at health.TimeBounds) (health.Record, bool) {
		return withDrain(record, false, operator, at)
	})
}

// Reset closes the backend's circuits, without a ramp, and ends its throttle
// windows, on every instance. A drain stays.
func (r *Replica) Reset(ctx context.Context, backend, operator string) error {
	resets := map[*slot]int64{} // later than any reset that the table had when the command began
	return r.applyCommand(ctx, backend, "reset by "+operator, func(s *slot, record health.Record, at health.TimeBounds) (health.Record, bool) {
		if resets[s] == 0 {
			resets[s] = max(at.Midpoint(), record.ResetAt+1)
		}
		if record.ResetAt >= resets[s] {
			return record, false // this very command was applied, though its response may have been lost
		}
		record.Circuit, record.Windows, record.ResetAt = record.Circuit.Reset(at), health.ThrottleWindows{}, resets[s]
		return record, true
	})
}

func withDrain(record health.Record, drained bool, operator string, bounds health.TimeBounds) (health.Record, bool) {
	if record.Override.Drained == drained && (!drained || record.Override.Operator == shorten(operator)) {
		return record, false // whoever drains it too is the one to restore it
	}
	record.Override = health.OperatorOverride{Drained: drained, Operator: shorten(operator), At: bounds.Midpoint()}
	return record, true
}

// commandAttempts is how often a command is tried before it fails.
const commandAttempts = 12

// recordEdit returns the record as the operator wants it; false when it is so already.
type recordEdit func(s *slot, r health.Record, at health.TimeBounds) (health.Record, bool)

// applyCommand reads, changes and writes the backend's records until the table has
// them. It runs on the caller's goroutine, whether Run does or not.
func (r *Replica) applyCommand(ctx context.Context, backend, reason string, command recordEdit) error {
	if names, ok := r.names(backend); !ok {
		return fmt.Errorf("%w: %q; known are %s", ErrNoSuchBackend, backend, strings.Join(names, ", "))
	}
	for try := range commandAttempts {
		if ctx.Err() != nil {
			break
		}
		if r.readRow(ctx) {
			row, ok, err := r.draftCommand(backend, reason, command)
			if err != nil || !ok {
				return err
			}
			if r.commit(ctx, row) {
				continue // confirm by reading back
			}
		}
		if errors.Is(r.tableError(), tablestore.ErrRefused) {
			break // it would be again
		}
		r.backOff(ctx, min(try, 4))
	}
	if err := r.tableError(); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrNotWritten, backend, err)
	}
	return fmt.Errorf("%w: %q: others write too often: try again", ErrNotWritten, backend)
}

// tableError is why the table does not serve this instance; nil = it does.
func (r *Replica) tableError() error {
	c := r.Counters()
	return cmp.Or(c.WriteError, c.LastError)
}

// draftCommand returns the write of a command; false when there is nothing to write.
func (r *Replica) draftCommand(backend, reason string, command recordEdit) (tablestore.Row, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bounds, ok := r.clock.bounds(r.readClocks())
	if !ok {
		return tablestore.Row{}, false, fmt.Errorf("%w: its clock is unknown", ErrNotWritten)
	}
	nonce, records := r.nonce(), map[string]string{}
	for _, s := range r.slots {
		if !s.matches(backend) {
			continue
		}
		if s.newerVersion {
			return tablestore.Row{}, false, fmt.Errorf("%w: %q was written by a newer version: use that version", ErrNotWritten, s.name)
		}
		next, changed := command(s, s.record, bounds)
		if !changed && !s.unreadable {
			continue
		}
		if s.unreadable && next.Circuit.Equal(s.record.Circuit) {
			next.Circuit = next.Circuit.Quarantine(bounds, s.breaker)
		}
		next.Circuit = next.Circuit.WrittenIn(r.nextSequence(bounds))
		if next.Circuit.Epoch != s.record.Circuit.Epoch {
			next.Circuit.Nonce = nonce
		}
		next.LastChange = health.Change{At: bounds.Midpoint(), By: r.cfg.Instance, Reason: shorten(reason)}
		records[s.column] = next.Encode()
	}
	if len(records) == 0 {
		return tablestore.Row{}, false, nil
	}
	r.nonces.add(nonce)
	return r.nextRow(records, bounds), true, nil
}

// names are the names that a command may use, and whether this is one of them.
func (r *Replica) names(backend string) (names []string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		name, _, _ := strings.Cut(s.name, "/")
		if !s.spare() && !slices.Contains(names, name) {
			names = append(names, name)
		}
		ok = ok || s.matches(backend)
	}
	return names, ok
}
