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
func (k *Keeper) Drain(ctx context.Context, backend, who string) error {
	return k.amend(ctx, backend, "drained by "+who, func(r health.Record, at health.Span) (health.Record, bool) {
		return said(r, true, who, at)
	})
}

// Restore takes a Drain back.
func (k *Keeper) Restore(ctx context.Context, backend, who string) error {
	return k.amend(ctx, backend, "restored by "+who, func(r health.Record, at health.Span) (health.Record, bool) {
		return said(r, false, who, at)
	})
}

// Reset closes the backend's circuits, without a ramp, and ends its throttle
// windows, on every instance. It leaves a drain as it is.
func (k *Keeper) Reset(ctx context.Context, backend, who string) error {
	return k.amend(ctx, backend, "reset by "+who, func(r health.Record, at health.Span) (health.Record, bool) {
		if k.nonces.has(r.Circuit.Nonce) && r.Circuit.Phase == health.Closed && r.Circuit.Epoch == 1 {
			return r, false // this very command landed, though its answer was lost
		}
		r.Circuit, r.Windows = r.Circuit.Reset(at), r.Windows.Void()
		return r, true
	})
}

func said(r health.Record, drained bool, who string, at health.Span) (health.Record, bool) {
	if r.Word.Drained == drained {
		return r, false
	}
	r.Word = health.Word{Sequence: r.Word.Sequence + 1, Drained: drained, Who: trim(who), At: at.Mid()}
	return r, true
}

// amendTries is how often a command tries; beyond that the table is out of
// reach and the operator should know.
const amendTries = 12

// change is what an operator wants of one record; false when it is so already.
type change func(r health.Record, at health.Span) (health.Record, bool)

// amend reads, changes and writes the backend's records until the table says
// that it has them. It runs on the caller's goroutine, beside Run or without.
func (k *Keeper) amend(ctx context.Context, backend, why string, to change) error {
	rows := k.rowsWith(backend)
	if len(rows) == 0 {
		return fmt.Errorf("%w: %q; known are %s", ErrNoSuchBackend, backend, strings.Join(k.backends(), ", "))
	}
	for _, n := range rows {
		if err := k.amendRow(ctx, n, backend, why, to); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) amendRow(ctx context.Context, n int, backend, why string, to change) error {
	for try := range amendTries {
		if ctx.Err() != nil {
			break
		}
		if k.reread(ctx, n) {
			d, ok, err := k.draftChange(n, backend, why, to)
			if err != nil || !ok {
				return err
			}
			if k.commit(ctx, n, d) {
				continue // read back: that is what the command promises
			}
		}
		k.pause(ctx, min(try, 4))
	}
	return fmt.Errorf("%w: %q: see whether the instances still reach it", ErrNotWritten, backend)
}

// draftChange is the write of a command; false when all is as it wants.
func (k *Keeper) draftChange(n int, backend, why string, to change) (draft, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	span, ok := k.clock.span(k.look())
	if !ok {
		return draft{}, false, fmt.Errorf("%w: its clock is unknown", ErrNotWritten)
	}
	d := draft{nonce: k.nonce()}
	columns := map[string]string{}
	for _, s := range k.slots {
		if s.row != n || !s.belongs(backend) {
			continue
		}
		if s.foreign {
			return draft{}, false, fmt.Errorf("%w: %q was written by a newer version: use that one", ErrNotWritten, s.name)
		}
		next, changed := to(s.record, span)
		if !changed && !s.poison {
			continue
		}
		if s.poison && next.Circuit.SameEpoch(s.record.Circuit) {
			next.Circuit = next.Circuit.Quarantine(span, k.cfg.Breaker)
		}
		if !next.Circuit.SameEpoch(s.record.Circuit) {
			next.Circuit.Nonce = d.nonce
		}
		next.Stamp = health.Stamp{At: span.Mid(), By: k.cfg.Instance, Why: trim(why)}
		columns[s.column] = next.Encode()
	}
	if len(columns) == 0 {
		return draft{}, false, nil
	}
	d.row = k.rowOf(n, columns)
	k.nonces.add(d.nonce)
	return d, true, nil
}

// belongs reports whether the slot is of the backend, or is the one named.
func (s *slot) belongs(backend string) bool {
	return backend != "" && (s.name == backend || strings.HasPrefix(s.name, backend+"/"))
}

// rowsWith are the rows that hold the backend's slots.
func (k *Keeper) rowsWith(backend string) []int {
	var rows []int
	for _, s := range k.slots {
		if s.belongs(backend) && !slices.Contains(rows, s.row) {
			rows = append(rows, s.row)
		}
	}
	return rows
}

// backends are the names that a command may use.
func (k *Keeper) backends() []string {
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

// Fleet is what the table says of everything, at one moment.
type Fleet struct {
	At        time.Time // by the table's clock
	Revision  uint64    // of the shared row: how often it was written
	Slots     []SlotState
	Instances []Instance // that were active lately, by name
}

// Fleet reads the table: what `backends list` prints. It waits for the table.
func (k *Keeper) Fleet(ctx context.Context) (Fleet, error) {
	if err := k.Read(ctx); err != nil {
		return Fleet{}, err
	}
	instances, err := k.instances(ctx)
	if err != nil {
		return Fleet{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.clock.service(k.look().local)
	f := Fleet{At: time.UnixMilli(at).UTC(), Instances: instances}
	for _, r := range k.rows {
		f.Revision += r.revision
	}
	for _, s := range k.slots {
		share := lower(s.record.Circuit.Share(at, k.cfg.Breaker), s.record.Mark.Share(at))
		f.Slots = append(f.Slots, SlotState{s.name, s.record, s.poison, share})
	}
	return f, nil
}
