package lease

import "time"

// wire is the account's side of its exchanges with one row.
type wire struct {
	have     bool   // record and version are what was last read or written
	stale    bool   // someone may have written since
	trusted  bool   // the last write made from a remembered version was accepted
	version  string // of record
	record   Record
	flight   *Op       // written, not answered yet
	doubts   []Op      // written with unknown outcome; all made from base
	base     string    // the version that the doubts were made from
	asked    time.Time // when the first of the doubts was written
	looks    int       // readings since then
	hold     time.Time // no exchange before
	tries    int       // conflicts in a row
	failures int       // exchanges without an answer, in a row
	good     time.Time // of the last answer
	heard    time.Time // of the last word from the board
	read     time.Time // of the last reading
	seq      uint64
}

// busy reports whether a write is under way, or may be.
func (w *wire) busy() bool { return w.flight != nil || len(w.doubts) > 0 }

// out reports whether the table has been out of reach for long enough to go on
// without it: neither the row nor the board has answered.
func (w *wire) out(at time.Time) bool {
	return w.failures >= 2 && at.Sub(w.good) > time.Second && at.Sub(w.heard) > time.Second
}

// DidRead takes in the row as it stands; version "" is no row. It returns
// [ErrPoison] when the row makes no sense: then what this instance knew of it
// before replaces it.
func (a *Account) DidRead(version, body string, m Moment) error {
	w := &a.wire
	record, err := Parse(body)
	if err == nil && record.Window > m.Latest+1 {
		err = ErrPoison
	}
	if err != nil {
		record = w.record
		record.Window = min(record.Window, m.Latest)
	}
	a.answered(m)
	w.read = m.At
	w.looks++
	if record.Window > m.Window {
		m.Window, m.Guess = record.Window, false
	}
	a.roll(m)
	if len(w.doubts) > 0 && version != w.base {
		a.judge(record)
	}
	w.have, w.stale, w.version, w.record = true, false, version, record
	a.saw(record, m)
	return err
}

// judge settles the doubts: the row has moved on from the version they were
// made from, so one of them did it, or none ever will.
func (a *Account) judge(now Record) {
	for _, op := range a.wire.doubts {
		if now.Landed(op.Nonce) {
			a.landed(op)
			break
		}
	}
	a.wire.doubts = nil
}

// landed books an operation that is in the row.
func (a *Account) landed(op Op) {
	if op.Window == a.window {
		a.credit = plus(a.credit, op.Chunk)
		a.owed = plus(a.owed, -op.Owed)
	} else {
		a.late = max(0, a.late-max(0, op.Owed))
	}
	a.late = max(0, a.late-op.Late)
	if a.owed <= 0 && a.late == 0 {
		a.demand.owed = time.Time{}
	}
}

// DidWrite takes in that the write of the last step was accepted.
func (a *Account) DidWrite(version string, m Moment) {
	w := &a.wire
	a.answered(m)
	op := *w.flight
	rolled := w.record.Window != op.Window
	before := w.record.Rolled(op.Window, a.limit())
	w.record = before.Posted(op)
	w.version, w.stale, w.trusted, w.tries = version, false, true, 0
	w.flight, w.doubts = nil, nil
	w.hold = m.At.Add(10 * time.Millisecond)
	a.roll(m)
	a.landed(op)
	a.saw(w.record, m)
	a.gossip(before, rolled)
}

// Conflicted takes in that another writer came first, or that an earlier
// writing of ours did.
func (a *Account) Conflicted(m Moment, chance float64) {
	w := &a.wire
	a.answered(m)
	a.doubt(m)
	w.trusted = false
	w.tries++
	pause := time.Duration(chance * float64(int(10)<<min(w.tries, 5)) * float64(time.Millisecond))
	w.hold = m.At.Add(pause)
}

// Failed takes in that no answer came: a write may have landed, or may yet.
func (a *Account) Failed(m Moment, chance float64) {
	w := &a.wire
	w.failures++
	if w.flight != nil {
		a.doubt(m)
	}
	w.stale, w.trusted = true, false
	pause := 25 * time.Millisecond << min(w.failures, 5)
	w.hold = m.At.Add(pause/2 + time.Duration(chance*float64(pause)))
}

func (a *Account) doubt(m Moment) {
	w := &a.wire
	if len(w.doubts) == 0 {
		w.base, w.asked, w.looks = w.version, m.At, 0
	}
	w.doubts = append(w.doubts, *w.flight)
	w.flight, w.stale = nil, true
}

func (a *Account) answered(m Moment) {
	a.wire.failures, a.wire.good = 0, m.At
	if a.Terms.Period == Month && a.owed <= 0 {
		a.lone = lone{}
	}
}
