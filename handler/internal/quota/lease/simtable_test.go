package lease

import (
	"fmt"
	"time"
)

const exchangeTimeout = 500 * time.Millisecond

// read and write are exchanges with the table: a leg there, a leg back, and faults
// on either.
func (w *world) read(n *node, step Step) {
	w.out.ops++
	if w.isOut() || w.fault(.02) {
		w.after(exchangeTimeout, func() { n.answered(func(m Moment) { n.account.ExchangeFailed(m, w.random.Float64()) }) })
		return
	}
	there, back := w.leg(), w.leg()
	w.after(there, func() {
		var row simRow
		if r := w.rows[fmt.Sprint(step.Shard)]; r != nil {
			row = *r
		}
		lost := w.fault(.02) || there+back > exchangeTimeout
		if lost {
			w.after(max(0, exchangeTimeout-there), func() { n.answered(func(m Moment) { n.account.ExchangeFailed(m, w.random.Float64()) }) })
			return
		}
		w.after(back, func() {
			n.answered(func(m Moment) { _ = n.account.RowRead(row.version, row.body, m) })
		})
	})
}

func (w *world) write(n *node, step Step) {
	w.out.ops++
	w.out.writes++
	failed := func() { n.answered(func(m Moment) { n.account.ExchangeFailed(m, w.random.Float64()) }) }
	if w.isOut() || w.fault(.02) {
		w.after(exchangeTimeout, failed)
		return
	}
	if w.fault(.02) { // a late write: applied, perhaps, long after its writer gave up
		w.after(exchangeTimeout+w.upTo(6*time.Second), func() { w.apply(step) })
		w.after(exchangeTimeout, failed)
		return
	}
	there, back := w.leg(), w.leg()
	w.after(there, func() {
		version, ok := "", false
		if !w.fault(.05) {
			version, ok = w.apply(step)
		}
		if w.fault(.05) || there+back > exchangeTimeout {
			w.after(max(0, exchangeTimeout-there), failed)
			return
		}
		w.after(back, func() {
			n.answered(func(m Moment) {
				if ok {
					n.account.WriteAccepted(version, m)
					return
				}
				w.out.conflict++
				n.account.WriteConflicted(m, w.random.Float64())
			})
		})
	})
}

func (n *node) answered(take func(Moment)) {
	n.busy = false
	if n.crashed {
		return
	}
	take(n.moment())
	if n.w.Mutant == "no nonce" {
		n.account.row.uncertain = nil
	}
	n.pump()
}

func (w *world) apply(step Step) (string, bool) {
	key := fmt.Sprint(step.Shard)
	row := w.rows[key]
	if row == nil {
		row = &simRow{}
	}
	if row.version != step.Version && w.Mutant != "no compare" {
		return "", false
	}
	old, _ := Parse(row.body)
	now, err := Parse(step.Body)
	if err != nil {
		panic(err)
	}
	w.out.minimum = min(w.out.minimum, now.Granted, now.Spare, now.Debt)
	old = old.RolledTo(now.Window, w.Limit/int64(max(1, w.Shards)))
	w.out.booked += now.Granted - old.Granted + old.Spare - now.Spare
	w.seq++
	w.rows[key] = &simRow{fmt.Sprint("e", w.seq), step.Body}
	return w.rows[key].version, true
}
