package fleet

import (
	"context"
	"errors"
	"strconv"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// tries is how often one turn tries to write before it leaves the rest to the
// next one: a row that many write at once must not be hammered
// (facts/table-state.md §1: a hot row collapses with contention).
const tries = 4

// draft is what a row should become.
type draft struct {
	row   tablestore.Row
	nonce string
}

// publish writes what this instance has to say, row by row, each time from
// what was last read, until it says nothing more or has tried enough.
func (k *Keeper) publish(ctx context.Context) {
	for n := range k.rows {
		for try := range tries {
			d, ok := k.draft(n)
			if !ok || ctx.Err() != nil {
				break
			}
			if k.commit(ctx, n, d) {
				continue // there may be more to say: one transition of a circuit at a time
			}
			k.pause(ctx, try)
			if !k.reread(ctx, n) {
				return // the table is out of reach: the next turn tries again
			}
		}
	}
}

// draft folds the news of all slots of a row into one write; false when there
// is none, or no clock to date it with.
func (k *Keeper) draft(n int) (draft, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.look()
	span, ok := k.clock.span(now)
	if !ok {
		return draft{}, false
	}
	d := draft{nonce: k.nonce()}
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
		return draft{}, false
	}
	d.row = k.rowOf(n, columns)
	k.nonces.add(d.nonce)
	return d, true
}

// rowOf is the row to be swapped for the one last seen.
func (k *Keeper) rowOf(n int, columns map[string]string) tablestore.Row {
	columns[revisionColumn] = strconv.FormatUint(k.rows[n].revision+1, 10)
	return tablestore.Row{Partition: k.partition(), Key: k.rows[n].key, Version: k.rows[n].version, Columns: columns}
}

func (k *Keeper) draftSlot(s *slot, now reading, span health.Span, nonce string) (health.Record, bool) {
	if s.foreign || s.poison && !k.mayReplace(s, span) {
		return s.record, false
	}
	news := k.newsOf(s, now, span)
	next, ok := s.record.Apply(news, span, k.cfg.Breaker)
	if !ok {
		return s.record, false
	}
	if !next.Circuit.SameEpoch(s.record.Circuit) {
		next.Circuit.Nonce = nonce
	}
	if s.poison {
		next.Circuit.Incarnation = max(s.record.Circuit.Incarnation+1, uint64(s.anew))
	}
	next.Stamp = health.Stamp{At: span.Mid(), By: k.cfg.Instance, Why: trim(s.why)}
	return next, true
}

// mayReplace reports whether a record that cannot be read may be replaced yet.
// Nobody knows the incarnation that it had, so the new one is dated: later than
// any that was dated before the record was seen unreadable, however little its
// writer knew of the service's clock, and written only once it has surely
// passed, so that the same is true of the next one to be replaced.
func (k *Keeper) mayReplace(s *slot, span health.Span) bool {
	if s.anew == 0 {
		s.anew = max(span.Hi+(widest+k.cfg.Timeout).Milliseconds(), 1)
	}
	return span.Lo > s.anew
}

// date gives waits that were noted before the service's clock was known their
// instant in it. It is given once: a deadline that moved with every better
// guess of the clock would be news each time.
func (k *Keeper) date(s *slot) {
	for kind := range s.told {
		if t := &s.told[kind]; t.service == 0 && t.until > 0 {
			t.service = k.clock.service(t.until)
		}
	}
}

// commit tries one write. It reports whether the table says that it landed.
func (k *Keeper) commit(ctx context.Context, n int, d draft) bool {
	var version tablestore.Version
	err := k.exchange(ctx, func(ctx context.Context) (reply tablestore.Reply, err error) {
		version, reply, err = k.cfg.Store.Put(ctx, d.row)
		return reply, err
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count.Writes++
	if err != nil {
		k.countFailure(err)
		return false
	}
	d.row.Version = version
	now := k.look()
	k.absorb(n, d.row, now)
	k.publishView(now)
	return true
}

func (k *Keeper) countFailure(err error) {
	switch {
	case errors.Is(err, tablestore.ErrConflict):
		k.count.Conflicts++
	default:
		k.count.Unknown++
	}
}

// pause lets others finish before the next try.
func (k *Keeper) pause(ctx context.Context, try int) {
	k.cfg.World.Pacer.Sleep(ctx, k.chance(20*time.Millisecond<<try))
}

// reread reads a row after a write of unknown or no effect: what is there now
// tells whether it landed (facts/table-state.md §3 rule 4).
func (k *Keeper) reread(ctx context.Context, n int) bool {
	var row tablestore.Row
	err := k.exchange(ctx, func(ctx context.Context) (reply tablestore.Reply, err error) {
		row, reply, err = k.cfg.Store.Get(ctx, k.partition(), k.rows[n].key)
		return reply, err
	})
	return k.took(n, row, err)
}

// took takes in the result of reading one row.
func (k *Keeper) took(n int, row tablestore.Row, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.look()
	switch {
	case errors.Is(err, tablestore.ErrNotFound):
		k.rows[n].version = ""
	case err != nil:
		k.count.ReadFailures++
		return false
	default:
		k.readOn(n, now)
		if k.absorb(n, row, now) {
			k.publishView(now)
		}
	}
	return true
}

// readOn notes a reading. Who has not read for some time may have missed that
// a record was replaced and spoilt again, and dates its own replacement anew.
func (k *Keeper) readOn(n int, now reading) {
	at, last := k.clock.service(now.local), k.rows[n].read
	k.rows[n].read = at
	if gap := time.Duration(at-last) * time.Millisecond; gap <= max(widest, 2*k.period(now.local)) {
		return
	}
	for _, s := range k.slots {
		if s.row == n {
			s.anew = 0
		}
	}
}

// exchange is one try with a deadline, timed, its Date taken in.
func (k *Keeper) exchange(ctx context.Context, f func(context.Context) (tablestore.Reply, error)) error {
	sent := k.look()
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	reply, err := f(ctx)
	got := k.look()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clock.sample(reply.Date, sent, got)
	k.count.exchanged(got.local - sent.local)
	k.trouble = nil
	if err == nil || errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrNotFound) {
		k.count.outage(k.contact, got.local, k.cfg.StaleAfter)
		k.contact = got.local
		if k.rejoin() {
			k.publishView(got)
		}
	} else {
		k.trouble = err
	}
	return err
}

func (k *Keeper) chance(upTo time.Duration) time.Duration {
	return time.Duration(k.cfg.World.Rand(int64(max(upTo, 0)) + 1))
}
