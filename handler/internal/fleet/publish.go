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
func (k *Replica) publish(ctx context.Context) {
	for n := range k.rows {
		for try := range writeAttempts {
			d, ok := k.draftRow(n)
			if !ok || ctx.Err() != nil {
				break
			}
			if k.commit(ctx, n, d) {
				continue // there may be more to say: one transition of a circuit at a time
			}
			k.backOff(ctx, try)
			if !k.readRow(ctx, n) {
				return // the table is out of reach: the next turn tries again
			}
		}
	}
}

// draftRow folds the news of all slots of a row into one write; false when there
// is none, or no clock to date it with.
func (k *Replica) draftRow(n int) (rowDraft, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.readClocks()
	span, ok := k.clock.bounds(now)
	if !ok {
		return rowDraft{}, false
	}
	d := rowDraft{nonce: k.nonce()}
	columns := map[string]string{}
	for _, s := range k.slots {
		if s.row != n {
			continue
		}
		if record, ok := k.draftSlot(s, now, span, d.nonce); ok {
			columns[s.column] = record.Encode()
		}
	}
	if len(columns) == 0 {
		return rowDraft{}, false
	}
	d.row = k.nextRow(n, columns)
	k.nonces.add(d.nonce)
	return d, true
}

// nextRow is the row to be swapped for the one last seen.
func (k *Replica) nextRow(n int, columns map[string]string) tablestore.Row {
	columns[revisionColumn] = strconv.FormatUint(k.rows[n].revision+1, 10)
	return tablestore.Row{Partition: k.partition(), Key: k.rows[n].key, Version: k.rows[n].version, Columns: columns}
}

func (k *Replica) draftSlot(s *slot, now clockReading, span health.TimeBounds, nonce string) (health.Record, bool) {
	if s.newerVersion || s.unreadable && !k.replacementDue(s, span) {
		return s.record, false
	}
	news := k.pendingUpdate(s, now, span)
	next, ok := s.record.Apply(news, span, k.cfg.Breaker)
	if !ok {
		return s.record, false
	}
	if !next.Circuit.SameEpoch(s.record.Circuit) {
		next.Circuit.Nonce = nonce
	}
	if s.unreadable {
		next.Circuit.Incarnation = max(s.record.Circuit.Incarnation+1, uint64(s.replacementIncarnation))
	}
	next.LastChange = health.Change{At: span.Midpoint(), By: k.cfg.Instance, Reason: shorten(s.reason)}
	return next, true
}

// replacementDue reports whether a record that cannot be read may be replaced yet.
// Nobody knows the incarnation that it had, so the new one is dated: later than
// any that was dated before the record was seen unreadable, however little its
// writer knew of the service's clock, and written only once it has surely
// passed, so that the same is true of the next one to be replaced.
func (k *Replica) replacementDue(s *slot, span health.TimeBounds) bool {
	if s.replacementIncarnation == 0 {
		s.replacementIncarnation = max(span.Latest+(maxSampleWidth+k.cfg.Timeout).Milliseconds(), 1)
	}
	return span.Earliest > s.replacementIncarnation
}

// dateWaits gives waits that were noted before the service's clock was known their
// instant in it. It is given once: a deadline that moved with every better
// guess of the clock would be news each time.
func (k *Replica) dateWaits(s *slot) {
	for kind := range s.localWindows {
		if t := &s.localWindows[kind]; t.serviceUntil == 0 && t.until > 0 {
			t.serviceUntil = k.clock.toService(t.until)
		}
	}
}

// commit tries one write. It reports whether the table says that it landed.
func (k *Replica) commit(ctx context.Context, n int, d rowDraft) bool {
	var version tablestore.Version
	err := k.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		version, reply, err = k.cfg.Store.Put(ctx, d.row)
		return reply, err
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counters.Writes++
	if err != nil {
		k.countWriteError(err)
		return false
	}
	d.row.Version = version
	now := k.readClocks()
	k.mergeRow(n, d.row, now)
	k.publishView(now)
	return true
}

func (k *Replica) countWriteError(err error) {
	switch {
	case errors.Is(err, tablestore.ErrConflict):
		k.counters.Conflicts++
	default:
		k.counters.UnknownOutcomes++
	}
}

// backOff lets others finish before the next try.
func (k *Replica) backOff(ctx context.Context, try int) {
	k.cfg.Environment.Pacer.Sleep(ctx, k.jitter(20*time.Millisecond<<try))
}

// readRow reads a row after a write of unknown or no effect: what is there now
// tells whether it landed (facts/table-state.md §3 rule 4).
func (k *Replica) readRow(ctx context.Context, n int) bool {
	var row tablestore.Row
	err := k.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		row, reply, err = k.cfg.Store.Get(ctx, k.partition(), k.rows[n].key)
		return reply, err
	})
	return k.applyRead(n, row, err)
}

// applyRead takes in the result of reading one row.
func (k *Replica) applyRead(n int, row tablestore.Row, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.readClocks()
	switch {
	case errors.Is(err, tablestore.ErrNotFound):
		k.rows[n].version = ""
	case err != nil:
		k.counters.ReadFailures++
		return false
	default:
		k.noteRead(n, now)
		if k.mergeRow(n, row, now) {
			k.publishView(now)
		}
	}
	return true
}

// noteRead notes a reading. Who has not read for some time may have missed that
// a record was replaced and spoilt again, and dates its own replacement anew.
func (k *Replica) noteRead(n int, now clockReading) {
	at, last := k.clock.toService(now.local), k.rows[n].readAt
	k.rows[n].readAt = at
	if gap := time.Duration(at-last) * time.Millisecond; gap <= max(maxSampleWidth, 2*k.refreshInterval(now.local)) {
		return
	}
	for _, s := range k.slots {
		if s.row == n {
			s.replacementIncarnation = 0
		}
	}
}

// exchange is one try with a deadline, timed, its Date taken in.
func (k *Replica) exchange(ctx context.Context, f func(context.Context) (tablestore.Response, error)) error {
	sent := k.readClocks()
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	reply, err := f(ctx)
	got := k.readClocks()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clock.addSample(reply.Date, sent, got)
	k.counters.recordExchange(got.local - sent.local)
	k.lastError = nil
	if err == nil || errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrNotFound) {
		k.counters.recordOutage(k.lastContact, got.local, k.cfg.StaleAfter)
		k.lastContact = got.local
		if k.stopLocalProbing() {
			k.publishView(got)
		}
	} else {
		k.lastError = err
	}
	return err
}

func (k *Replica) jitter(upTo time.Duration) time.Duration {
	return time.Duration(k.cfg.Environment.Rand(int64(max(upTo, 0)) + 1))
}
