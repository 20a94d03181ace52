package fleet

import (
	"context"
	"errors"
	"strconv"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// writeAttempts is how often one turn writeAttempts to write before it leaves the rest to the
// next one: a row that many write at once must not be hammered
// (facts/table-state.md §1: a hot row collapses with contention).
const writeAttempts = 4

// rowDraft is what a row should become.
type rowDraft struct {
	row   tablestore.Row
	nonce string
}

// publish writes what this instance has to say, row by row, each time from
// what was last read, until it says nothing more or has tried enough.
func (r *Replica) publish(ctx context.Context) {
	for n := range r.rows {
		for try := range writeAttempts {
			d, ok := r.draftRow(n)
			if !ok || ctx.Err() != nil {
				break
			}
			if r.commit(ctx, n, d) {
				continue // there may be more to say: one transition of a circuit at a time
			}
			r.backOff(ctx, try)
			if !r.readRow(ctx, n) {
				return // the table is out of reach: the next turn tries again
			}
		}
	}
}

// draftRow folds the news of all slots of a row into one write; false when there
// is none, or no clock to date it with.
func (r *Replica) draftRow(n int) (rowDraft, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	span, ok := r.clock.bounds(now)
	if !ok {
		return rowDraft{}, false
	}
	d := rowDraft{nonce: r.nonce()}
	columns := map[string]string{}
	for _, s := range r.slots {
		if s.row != n {
			continue
		}
		if record, ok := r.draftSlot(s, now, span, d.nonce); ok {
			columns[s.column] = record.Encode()
		}
	}
	if len(columns) == 0 {
		return rowDraft{}, false
	}
	d.row = r.nextRow(n, columns)
	r.nonces.add(d.nonce)
	return d, true
}

// nextRow is the row to be swapped for the one last seen.
func (r *Replica) nextRow(n int, columns map[string]string) tablestore.Row {
	columns[revisionColumn] = strconv.FormatUint(r.rows[n].revision+1, 10)
	return tablestore.Row{Partition: r.partition(), Key: r.rows[n].key, Version: r.rows[n].version, Columns: columns}
}

func (r *Replica) draftSlot(s *slot, now clockReading, span health.TimeBounds, nonce string) (health.Record, bool) {
	if s.newerVersion || s.unreadable && !r.replacementDue(s, span) {
		return s.record, false
	}
	news := r.pendingUpdate(s, now, span)
	next, ok := s.record.Apply(news, span, r.cfg.Breaker)
	if !ok {
		return s.record, false
	}
	if !next.Circuit.SameEpoch(s.record.Circuit) {
		next.Circuit.Nonce = nonce
	}
	if s.unreadable {
		next.Circuit.Incarnation = max(s.record.Circuit.Incarnation+1, uint64(s.replacementIncarnation))
	}
	next.LastChange = health.Change{At: span.Midpoint(), By: r.cfg.Instance, Reason: shorten(s.reason)}
	return next, true
}

// replacementDue reports whether a record that cannot be read may be replaced yet.
// Nobody knows the incarnation that it had, so the new one is dated: later than
// any that was dated before the record was seen unreadable, however little its
// writer knew of the service's clock, and written only once it has surely
// passed, so that the same is true of the next one to be replaced.
func (r *Replica) replacementDue(s *slot, span health.TimeBounds) bool {
	if s.replacementIncarnation == 0 {
		s.replacementIncarnation = max(span.Latest+(maxSampleWidth+r.cfg.Timeout).Milliseconds(), 1)
	}
	return span.Earliest > s.replacementIncarnation
}

// dateWaits gives waits that were noted before the service's clock was known their
// instant in it. It is given once: a deadline that moved with every better
// guess of the clock would be news each time.
func (r *Replica) dateWaits(s *slot) {
	for kind := range s.localWindows {
		if t := &s.localWindows[kind]; t.serviceUntil == 0 && t.until > 0 {
			t.serviceUntil = r.clock.toService(t.until)
		}
	}
}

// commit tries one write. It reports whether the table says that it landed.
func (r *Replica) commit(ctx context.Context, n int, d rowDraft) bool {
	var version tablestore.Version
	err := r.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		version, reply, err = r.cfg.Store.Put(ctx, d.row)
		return reply, err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counters.Writes++
	if err != nil {
		r.countWriteError(err)
		return false
	}
	d.row.Version = version
	now := r.readClocks()
	r.mergeRow(n, d.row, now)
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

// backOff lets others finish before the next try.
func (r *Replica) backOff(ctx context.Context, try int) {
	r.cfg.Environment.Pacer.Sleep(ctx, r.jitter(20*time.Millisecond<<try))
}

// readRow reads a row after a write of unknown or no effect: what is there now
// tells whether it landed (facts/table-state.md §3 rule 4).
func (r *Replica) readRow(ctx context.Context, n int) bool {
	var row tablestore.Row
	err := r.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		row, reply, err = r.cfg.Store.Get(ctx, r.partition(), r.rows[n].key)
		return reply, err
	})
	return r.applyRead(n, row, err)
}

// applyRead takes in the result of reading one row.
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

// noteRead notes a reading. Who has not read for some time may have missed that
// a record was replaced and spoilt again, and dates its own replacement anew.
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

// exchange is one try with a deadline, timed, its Date taken in.
func (r *Replica) exchange(ctx context.Context, f func(context.Context) (tablestore.Response, error)) error {
	sent := r.readClocks()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	reply, err := f(ctx)
	got := r.readClocks()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock.addSample(reply.Date, sent, got)
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

func (r *Replica) jitter(upTo time.Duration) time.Duration {
	return time.Duration(r.cfg.Environment.Rand(int64(max(upTo, 0)) + 1))
}
