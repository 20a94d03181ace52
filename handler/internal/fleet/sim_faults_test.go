package fleet

import (
	"context"
	"fmt"
	"time"
)

// scheduleFaults are the faults until the simulation's last phase.
func (w *simulation) scheduleFaults() {
	every := func(yes bool, every, spread time.Duration, f func()) {
		if !yes {
			return
		}
		w.spawn(nil, simulationTask, 1, func() {
			for {
				w.sleep(every + w.between(0, spread))
				if w.stopping {
					return
				}
				f()
			}
		})
	}
	some := func() *machine { return w.machines[w.rand.IntN(len(w.machines))] }
	every(w.scenario.outages, 20*time.Second, 40*time.Second, w.outage)
	every(w.scenario.pauses, 2*time.Second, 5*time.Second, func() { some().freeze(w.between(0, 15*time.Second)) })
	every(w.scenario.steps, 5*time.Second, 10*time.Second, func() { some().step += w.between(-5*time.Second, 5*time.Second) })
	every(w.scenario.corruption, 10*time.Second, 10*time.Second, w.corruptRecord)
	every(w.scenario.kills, time.Second, 4*time.Second, func() { w.killAndRestart(some()) })
	every(w.scenario.drains, 5*time.Second, 20*time.Second, func() { w.drain(some()) })
}

func (w *simulation) outage() {
	if w.happens(.5) {
		w.down = true
		for _, m := range w.machines {
			m.chaos.SetPartitioned(true)
		}
	} else {
		for _, m := range w.machines {
			m.chaos.SetPartitioned(w.happens(1. / 3))
		}
	}
	w.sleep(w.between(3*time.Second, 23*time.Second))
	w.restoreTable()
}

func (w *simulation) restoreTable() {
	w.down = false
	for _, m := range w.machines {
		m.chaos.SetPartitioned(false)
	}
}

func (w *simulation) killAndRestart(m *machine) {
	m.kill()
	w.checker.result.kills++
	w.sleep(w.between(0, 3*time.Second))
	m.frozen = 0
	m.boot()
	m.chaos.SetPartitioned(w.down)
}

func (w *simulation) drain(m *machine) {
	name := fmt.Sprintf("b%d", w.rand.IntN(len(w.backends)))
	w.spawn(m, replicaTask, 1, func() {
		_ = m.replica.Drain(context.Background(), name, "sim") // it may fail: the table is not always reachable
		w.sleep(w.between(time.Second, 5*time.Second))
		for m.replica.Restore(context.Background(), name, "sim") != nil {
			w.sleep(time.Second)
		}
	})
}

// corruptRecord makes one column unreadable, or newer, without any instance's knowledge.
func (w *simulation) corruptRecord() {
	b := w.backends[w.rand.IntN(len(w.backends))]
	replica := w.machines[0].replica
	column := replica.slots[b.n].column
	row, _, err := w.store.Get(context.Background(), replica.partition(), rowKey)
	if err != nil {
		return
	}
	was, ok := row.Columns[column]
	if !ok {
		return
	}
	foreign := false
	switch w.rand.IntN(5) {
	case 0:
		row.Columns = map[string]string{column: `{"v":2,"e":`}
	case 1:
		row.Columns = map[string]string{column: `{"v":2,"e":-7,"p":9}`}
	case 2:
		row.Columns = map[string]string{column: `{"v":2,"e":9000000000000000000}`}
	case 3:
		row.Columns = map[string]string{column: `{"v":3,"p":7,"of":"a newer version"}`}
		foreign = true
	case 4:
		row.Columns = map[string]string{"new_column": "from a newer version"}
	}
	w.checker.corrupted(b.n, row.Columns[column] != "", foreign)
	w.store.Upsert(context.Background(), row) //nolint:errcheck // memory does not fail
	if !foreign {
		return
	}
	w.sleep(w.between(time.Second, 10*time.Second))
	w.checker.restored(b.n, was)
	row.Columns = map[string]string{column: was}
	w.store.Upsert(context.Background(), row) //nolint:errcheck // memory does not fail
}
