package accounting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"spillway/handler/internal/tablestore"
)

// rowRef is one row of this process.
type rowRef struct {
	hour time.Time
	row  int
}

// Flush writes what the table does not have yet. What cannot be written stays
// for the next time. Several callers take turns.
func (b *Recorder) Flush(ctx context.Context) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	var failed error
	for _, at := range b.dirty() {
		if err := b.write(ctx, at); err != nil {
			failed = errors.Join(failed, fmt.Errorf("write usage of %s: %w", at.hour.Format(time.RFC3339), err))
		}
	}
	b.dropWritten()
	return failed
}

// dirty is the rows that are to be written, the oldest first.
func (b *Recorder) dirty() []rowRef {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []rowRef
	for hour, p := range b.hours {
		for n := range p.rows {
			if p.rows[n].dirty {
				all = append(all, rowRef{hour, n})
			}
		}
	}
	slices.SortFunc(all, func(x, y rowRef) int { return x.hour.Compare(y.hour) })
	return all
}

// write swaps one row. The version that it swaps against is the one that this
// process wrote last: a write of its own that went astray and lands later finds
// another version, and changes nothing.
func (b *Recorder) write(ctx context.Context, at rowRef) error {
	row, unknown := b.compose(at)
	for range 3 {
		if unknown {
			version, err := b.version(ctx, &row)
			if err != nil {
				b.recordWrite(at, rowState{unknown: true, dirty: true})
				return err
			}
			row.Version = version
		}
		version, err := b.put(ctx, row)
		switch {
		case err == nil:
			b.recordWrite(at, rowState{version: version})
			return nil
		case !errors.Is(err, tablestore.ErrConflict):
			b.recordWrite(at, rowState{version: row.Version, unknown: true, dirty: true})
			return err
		}
		unknown = true // an earlier write of ours has landed after all
	}
	b.recordWrite(at, rowState{unknown: true, dirty: true})
	return tablestore.ErrConflict
}

// compose is the row as it should be now. What comes after this makes it dirty
// again.
func (b *Recorder) compose(at rowRef) (row tablestore.Row, unknown bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.hours[at.hour]
	entries := p.entries[at.row*perRow : min((at.row+1)*perRow, len(p.entries))]
	state := &p.rows[at.row]
	state.dirty = false
	return tablestore.Row{
		Partition: partitionOf(at.hour), Key: keyOf(at.hour, b.writer, p.number, at.row),
		Version: state.version, Columns: encode(b.cfg.Instance, entries),
	}, state.unknown
}

// recordWrite notes how a write ended.
func (b *Recorder) recordWrite(at rowRef, s rowState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := &b.hours[at.hour].rows[at.row]
	s.dirty = s.dirty || state.dirty
	*state = s
}

// version is the row's in the table; "" when it is not there.
func (b *Recorder) version(ctx context.Context, row *tablestore.Row) (tablestore.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	stored, _, err := b.cfg.Store.Get(ctx, row.Partition, row.Key)
	if errors.Is(err, tablestore.ErrNotFound) {
		return "", nil
	}
	return stored.Version, err //nolint:wrapcheck // Flush says what was being done
}

func (b *Recorder) put(ctx context.Context, row tablestore.Row) (tablestore.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	version, _, err := b.cfg.Store.Put(ctx, row)
	return version, err //nolint:wrapcheck // Flush says what was being done
}

// dropWritten drops the hours that are over and written.
func (b *Recorder) dropWritten() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var latest time.Time
	for hour := range b.hours {
		if hour.After(latest) {
			latest = hour
		}
	}
	for hour, p := range b.hours {
		written := !slices.ContainsFunc(p.rows, func(r rowState) bool { return r.dirty })
		if written && hour.Before(latest.Add(-time.Hour)) {
			delete(b.hours, hour)
		}
	}
}
