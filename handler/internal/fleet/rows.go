package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"

	"spillway/handler/internal/tablestore"
)

// sharedRow is one shared row as last read.
type sharedRow struct {
	key      string
	version  tablestore.Version // "" = the row does not exist
	revision uint64             // counts the writes, for people
	readAt   int64              // the service's instant of the last read
}

// revisionColumn counts the writes of a shared row, so that people can see how far
// two instances are apart.
const revisionColumn = "rev"

// partition is that of the shared rows.
func (r *Replica) partition() string { return "fleet|" + r.cfg.Group }

// A row holds 252 columns (docs/shared-state.md#limits-and-cost); some are left for
// columns of other kinds and versions.
const (
	slotsPerRow = 200
	manyRows    = 16
)

// rowCount is one, which makes the cheapest refresh, as long as the slots fit.
func rowCount(slots int) int {
	if slots <= slotsPerRow {
		return 1
	}
	return manyRows
}

// rowIndex spreads slots over rows by name, so that a new one moves no other.
func rowIndex(name string, rows int) int {
	sum := sha256.Sum256([]byte(name))
	return int(sum[31]) % rows
}

// exchange makes one call with a deadline, measures it, and takes a sample of the
// service's clock from its response.
func (r *Replica) exchange(ctx context.Context, f func(context.Context) (tablestore.Response, error)) error {
	sent := r.readClocks()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	response, err := f(ctx)
	got := r.readClocks()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock.addSample(response.Date, sent, got)
	r.counters.recordExchange(got.local - sent.local)
	r.lastError = nil
	if err == nil || errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrNotFound) {
		r.counters.recordOutage(r.lastContact, got.local, r.cfg.StaleAfter)
		r.lastContact = got.local
		if r.stopLocalProbing() {
			r.publishView(got)
		}
	} else {
		r.lastError = err
	}
	return err
}

// refresh reads the shared rows in one exchange.
func (r *Replica) refresh(ctx context.Context) {
	if len(r.rows) == 1 {
		r.readRow(ctx, 0)
		return
	}
	var rows []tablestore.Row
	err := r.exchange(ctx, func(ctx context.Context) (response tablestore.Response, err error) {
		rows, response, err = r.cfg.Store.List(ctx, r.partition(), "", "")
		return response, err
	})
	for n := range r.rows {
		row, found := rowWithKey(rows, r.rows[n].key)
		if err != nil {
			found = err
		}
		r.applyRead(n, row, found)
	}
}

// rowWithKey returns the row with that key, or ErrNotFound.
func rowWithKey(rows []tablestore.Row, key string) (tablestore.Row, error) {
	for _, row := range rows {
		if row.Key == key {
			return row, nil
		}
	}
	return tablestore.Row{}, tablestore.ErrNotFound
}

// readRow reads one row; after a write that conflicted or whose outcome is unknown
// it shows whether that was applied (docs/shared-state.md#rules).
func (r *Replica) readRow(ctx context.Context, n int) bool {
	var row tablestore.Row
	err := r.exchange(ctx, func(ctx context.Context) (response tablestore.Response, err error) {
		row, response, err = r.cfg.Store.Get(ctx, r.partition(), r.rows[n].key)
		return response, err
	})
	return r.applyRead(n, row, err)
}

// applyRead applies the result of reading one row, and reports whether there was a
// response.
func (r *Replica) applyRead(n int, row tablestore.Row, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	switch {
	case errors.Is(err, tablestore.ErrNotFound):
		r.rows[n].version = ""
	case err != nil:
		r.counters.ReadFailures++
		return false
	default:
		r.noteRead(n, now)
		if r.mergeRow(n, row, now) {
			r.publishView(now)
		}
	}
	return true
}

// noteRead records when a row was read. An instance that has not read for some time
// may have missed that a record was replaced and became unreadable again, so it
// dates its own replacement anew.
func (r *Replica) noteRead(n int, now clockReading) {
	at, last := r.clock.toService(now.local), r.rows[n].readAt
	r.rows[n].readAt = at
	if gap := time.Duration(at-last) * time.Millisecond; gap <= max(maxSampleWidth, 2*r.refreshInterval(now.local)) {
		return
	}
	for _, s := range r.slots {
		if s.row == n {
			s.replacementIncarnation = 0
		}
	}
}

// nextRow is the write of these columns at the version last read.
func (r *Replica) nextRow(n int, columns map[string]string) tablestore.Row {
	columns[revisionColumn] = strconv.FormatUint(r.rows[n].revision+1, 10)
	return tablestore.Row{Partition: r.partition(), Key: r.rows[n].key, Version: r.rows[n].version, Columns: columns}
}

// commit tries one write, and reports whether the table confirmed it.
func (r *Replica) commit(ctx context.Context, n int, draft rowDraft) bool {
	var version tablestore.Version
	err := r.exchange(ctx, func(ctx context.Context) (response tablestore.Response, err error) {
		version, response, err = r.cfg.Store.Put(ctx, draft.row)
		return response, err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counters.Writes++
	if err != nil {
		r.countWriteError(err)
		return false
	}
	draft.row.Version = version
	now := r.readClocks()
	r.mergeRow(n, draft.row, now)
	r.publishView(now)
	return true
}

func (r *Replica) countWriteError(err error) {
	switch {
	case errors.Is(err, tablestore.ErrConflict):
		r.counters.Conflicts++
	default:
		r.counters.UnknownOutcomes++
	}
}

// backOff lets other writers finish before the next attempt.
func (r *Replica) backOff(ctx context.Context, try int) {
	r.cfg.Environment.Pacer.Sleep(ctx, r.jitter(20*time.Millisecond<<try))
}
