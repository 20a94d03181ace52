package accounting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"spillway/handler/internal/tablestore"
)

// rowRef names one row of this process.
type rowRef struct {
	hour time.Time
	row  int
}

// Flush writes what the table does not have yet. What cannot be written stays
// for the next time. Concurrent calls are serialized.
func (r *Recorder) Flush(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	var failed error
	for _, at := range r.dirty() {
		if err := r.write(ctx, at); err != nil {
			failed = errors.Join(failed, fmt.Errorf("write usage of %s: %w", at.hour.Format(time.RFC3339), err))
		}
	}
	r.dropWritten()
	return failed
}

// dirty returns the rows to be written, the oldest first.
func (r *Recorder) dirty() []rowRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []rowRef
	for hour, p := range r.hours {
		for n := range p.rows {
			if p.rows[n].dirty {
				all = append(all, rowRef{hour, n})
			}
		}
	}
	slices.SortFunc(all, func(x, y rowRef) int { return x.hour.Compare(y.hour) })
	return all
}

// write swaps one row against the version that this process wrote last: an
// earlier write of its own that lands late finds another version, and changes
// nothing.
func (r *Recorder) write(ctx context.Context, at rowRef) error {
	row, unknown := r.compose(at)
	for range 3 {
		if unknown {
			version, err := r.version(ctx, &row)
			if err != nil {
				r.recordWrite(at, rowState{unknown: true, dirty: true})
				return err
			}
			row.Version = version
		}
		version, err := r.put(ctx, row)
		switch {
		case err == nil:
			r.recordWrite(at, rowState{version: version})
			return nil
		case !errors.Is(err, tablestore.ErrConflict):
			r.recordWrite(at, rowState{version: row.Version, unknown: true, dirty: true})
			return err
		}
		unknown = true // an earlier write of this process has landed
	}
	r.recordWrite(at, rowState{unknown: true, dirty: true})
	return tablestore.ErrConflict
}

// compose returns the row as it should be now. What is added after this makes
// it dirty again.
func (r *Recorder) compose(at rowRef) (row tablestore.Row, unknown bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.hours[at.hour]
	entries := p.entries[at.row*perRow : min((at.row+1)*perRow, len(p.entries))]
	state := &p.rows[at.row]
	state.dirty = false
	return tablestore.Row{
		Partition: partitionOf(at.hour), Key: keyOf(at.hour, r.writer, p.number, at.row),
		Version: state.version, Columns: encode(r.cfg.Instance, entries),
	}, state.unknown
}

// recordWrite records how a write ended.
func (r *Recorder) recordWrite(at rowRef, s rowState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := &r.hours[at.hour].rows[at.row]
	s.dirty = s.dirty || state.dirty
	*state = s
}

// version returns the row's version in the table; "" when it is not there.
func (r *Recorder) version(ctx context.Context, row *tablestore.Row) (tablestore.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	stored, _, err := r.cfg.Store.Get(ctx, row.Partition, row.Key)
	if errors.Is(err, tablestore.ErrNotFound) {
		return "", nil
	}
	return stored.Version, err
}

func (r *Recorder) put(ctx context.Context, row tablestore.Row) (tablestore.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	version, _, err := r.cfg.Store.Put(ctx, row)
	return version, err
}

// dropWritten drops the hours that have ended and are written.
func (r *Recorder) dropWritten() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var latest time.Time
	for hour := range r.hours {
		if hour.After(latest) {
			latest = hour
		}
	}
	for hour, p := range r.hours {
		written := !slices.ContainsFunc(p.rows, func(s rowState) bool { return s.dirty })
		if written && hour.Before(latest.Add(-time.Hour)) {
			delete(r.hours, hour)
		}
	}
}
