package lease

import "time"

// rowState is the account's side of its exchanges with one row.
type rowState struct {
	have           bool   // record and version are what was last read or written
	stale          bool   // someone may have written since
	trusted        bool   // the last write made from a remembered version was accepted
	version        string // of record
	record         Record
	inFlight       *Op       // written, not answered yet
	uncertain      []Op      // written with unknown outcome; all made from base
	uncertainBase  string    // the version that the doubts were made from
	uncertainSince time.Time // when the first of the doubts was written
	rereads        int       // readings since then
	holdUntil      time.Time // no exchange before
	conflicts      int       // conflicts in a row
	failures       int       // exchanges without an answer, in a row
	lastReply      time.Time // of the last answer
	lastFeed       time.Time // of the last word from the board
	lastRead       time.Time // of the last reading
	seq            uint64
}

// writePending reports whether a write is under way, or may be.
func (w *rowState) writePending() bool { return w.inFlight != nil || len(w.uncertain) > 0 }

// unreachable reports whether the table has been unreachable of reach for long enough to go on
// without it: neither the row nor the board has answered.
func (w *rowState) unreachable(at time.Time) bool {
	return w.failures >= 2 && at.Sub(w.lastReply) > time.Second && at.Sub(w.lastFeed) > time.Second
}

// RowRead takes in the row as it stands; version "" is no row. It returns
// [ErrInvalidRecord] when the row makes no sense: then what this instance knew of it
// before replaces it.
func (a *Account) RowRead(version, body string, m Moment) error {
	w := &a.row
	record, err := Parse(body)
	if err == nil && record.Window > m.LatestWindow+1 {
		err = ErrInvalidRecord
	}
	if err != nil {
		record = w.record
		record.Window = min(record.Window, m.LatestWindow)
	}
	a.noteReply(m)
	w.lastRead = m.At
	w.rereads++
	if record.Window > m.Window {
		m.Window, m.Estimated = record.Window, false
	}
	a.rollWindow(m)
	if len(w.uncertain) > 0 && version != w.uncertainBase {
		a.settleUncertain(record)
	}
	w.have, w.stale, w.version, w.record = true, false, version, record
	a.observeRow(record, m)
	return err
}

// settleUncertain settles the doubts: the row has moved on from the version they were
// made from, so one of them did it, or none ever will.
func (a *Account) settleUncertain(now Record) {
	for _, op := range a.row.uncertain {
		if now.Contains(op.Nonce) {
			a.applyLanded(op)
			break
		}
	}
	a.row.uncertain = nil
}

// applyLanded books an operation that is in the row.
func (a *Account) applyLanded(op Op) {
	if op.Window == a.window {
		a.credit = addSaturating(a.credit, op.Chunk)
		a.unbooked = addSaturating(a.unbooked, -op.Booked)
	} else {
		a.unbookedLate = max(0, a.unbookedLate-max(0, op.Booked))
	}
	a.unbookedLate = max(0, a.unbookedLate-op.BookedLate)
	if a.unbooked <= 0 && a.unbookedLate == 0 {
		a.demand.unbookedSince = time.Time{}
	}
}

// WriteAccepted takes in that the write of the last step was accepted.
func (a *Account) WriteAccepted(version string, m Moment) {
	w := &a.row
	a.noteReply(m)
	op := *w.inFlight
	rolled := w.record.Window != op.Window
	before := w.record.RolledTo(op.Window, a.limit())
	w.record = before.Applied(op)
	w.version, w.stale, w.trusted, w.conflicts = version, false, true, 0
	w.inFlight, w.uncertain = nil, nil
	w.holdUntil = m.At.Add(10 * time.Millisecond)
	a.rollWindow(m)
	a.applyLanded(op)
	a.observeRow(w.record, m)
	a.announceCrossing(before, rolled)
}

// WriteConflicted takes in that another writer came first, or that an earlier
// writing of ours did.
func (a *Account) WriteConflicted(m Moment, chance float64) {
	w := &a.row
	a.noteReply(m)
	a.markUncertain(m)
	w.trusted = false
	w.conflicts++
	pause := time.Duration(chance * float64(int(10)<<min(w.conflicts, 5)) * float64(time.Millisecond))
	w.holdUntil = m.At.Add(pause)
}

// ExchangeFailed takes in that no answer came: a write may have landed, or may yet.
func (a *Account) ExchangeFailed(m Moment, chance float64) {
	w := &a.row
	w.failures++
	if w.inFlight != nil {
		a.markUncertain(m)
	}
	w.stale, w.trusted = true, false
	pause := 25 * time.Millisecond << min(w.failures, 5)
	w.holdUntil = m.At.Add(pause/2 + time.Duration(chance*float64(pause)))
}

func (a *Account) markUncertain(m Moment) {
	w := &a.row
	if len(w.uncertain) == 0 {
		w.uncertainBase, w.uncertainSince, w.rereads = w.version, m.At, 0
	}
	w.uncertain = append(w.uncertain, *w.inFlight)
	w.inFlight, w.stale = nil, true
}

func (a *Account) noteReply(m Moment) {
	a.row.failures, a.row.lastReply = 0, m.At
	if a.Config.Period == Month && a.unbooked <= 0 {
		a.offline = offlineShare{}
	}
}
