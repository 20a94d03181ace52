package fleet

import (
	"context"
	"fmt"
	"time"
)

// misfortunes are what befalls the world while it is not healing.
func (w *world) misfortunes() {
	befall := func(yes bool, every, spread time.Duration, f func()) {
		if !yes {
			return
		}
		w.spawn(nil, worldTask, 1, func() {
			for {
				w.pass(every + w.between(0, spread))
				if w.stopping {
					return
				}
				f()
			}
		})
	}
	some := func() *machine { return w.machines[w.chance.IntN(len(w.machines))] }
	befall(w.plan.outages, 20*time.Second, 40*time.Second, w.outage)
	befall(w.plan.pauses, 2*time.Second, 5*time.Second, func() { some().freeze(w.between(0, 15*time.Second)) })
	befall(w.plan.steps, 5*time.Second, 10*time.Second, func() { some().step += w.between(-5*time.Second, 5*time.Second) })
	befall(w.plan.poison, 10*time.Second, 10*time.Second, w.poison)
	befall(w.plan.deaths, time.Second, 4*time.Second, func() { w.death(some()) })
	befall(w.plan.drains, 5*time.Second, 20*time.Second, func() { w.drain(some()) })
}

func (w *world) outage() {
	if w.one(.5) {
		w.down = true
		for _, m := range w.machines {
			m.chaos.SetPartitioned(true)
		}
	} else {
		for _, m := range w.machines {
			m.chaos.SetPartitioned(w.one(1. / 3))
		}
	}
	w.pass(w.between(3*time.Second, 23*time.Second))
	w.heal()
}

func (w *world) heal() {
	w.down = false
	for _, m := range w.machines {
		m.chaos.SetPartitioned(false)
	}
}

func (w *world) death(m *machine) {
	m.die()
	w.oracle.result.deaths++
	w.pass(w.between(0, 3*time.Second))
	m.frozen = 0
	m.boot()
	m.chaos.SetPartitioned(w.down)
}

func (w *world) drain(m *machine) {
	name := fmt.Sprintf("b%d", w.chance.IntN(len(w.backends)))
	w.spawn(m, keeperTask, 1, func() {
		_ = m.keeper.Drain(context.Background(), name, "sim") // out of reach or not: both happen
		w.pass(w.between(time.Second, 5*time.Second))
		for m.keeper.Restore(context.Background(), name, "sim") != nil {
			w.pass(time.Second)
		}
	})
}

// poison spoils one column behind everybody's back.
func (w *world) poison() {
	b := w.backends[w.chance.IntN(len(w.backends))]
	k := w.machines[0].keeper
	column := k.slots[b.n].column
	row, _, err := w.store.Get(context.Background(), k.partition(), k.rows[0].key)
	if err != nil {
		return
	}
	was, ok := row.Columns[column]
	if !ok {
		return
	}
	foreign := false
	switch w.chance.IntN(5) {
	case 0:
		row.Columns = map[string]string{column: `{"v":1,"i":`}
	case 1:
		row.Columns = map[string]string{column: `{"v":1,"i":0,"e":-7,"p":9}`}
	case 2:
		row.Columns = map[string]string{column: `{"v":1,"i":9,"e":9000000000000000000}`}
	case 3:
		row.Columns = map[string]string{column: `{"v":2,"p":7,"of":"a later world"}`}
		foreign = true
	case 4:
		row.Columns = map[string]string{"new_column": "from a newer version"}
	}
	w.oracle.poisoned(b.n, row.Columns[column] != "", foreign)
	w.store.Upsert(context.Background(), row) //nolint:errcheck // memory does not fail
	if !foreign {
		return
	}
	w.pass(w.between(time.Second, 10*time.Second))
	w.oracle.restored(b.n)
	row.Columns = map[string]string{column: was}
	w.store.Upsert(context.Background(), row) //nolint:errcheck // memory does not fail
}
