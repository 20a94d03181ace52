package proxy

import (
	"slices"
	"sync"

	"spillway/handler/internal/health"
)

// Trials lets one request at a time try a backend that its circuit alone refuses,
// when nobody else is left; the others wait for the outcome. It neither reads a
// clock nor blocks. The zero Trials is ready for use; it is safe for concurrent use.
type Trials struct {
	mu      sync.Mutex
	taken   map[health.Slot]bool
	waiting []*TrialWait // in order of arrival
}

// TrialWait is one request that waits for the trial of another. Its owner must call
// leave.
type TrialWait struct {
	trials   *Trials
	slots    []health.Slot
	consumer string
	woken    bool
	turn     bool        // woken because a trial failed: it has the next one,
	at       health.Slot // at this slot
	failed   bool        // a trial of its consumer's failed while it waited
	wake     func()
}

// begin takes the trial of the first of the slots that has none under way. When all
// have one, it returns a wait for the first outcome.
func (t *Trials) begin(slots []health.Slot, consumer string) (health.Slot, *TrialWait) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range slots {
		if !t.taken[s] {
			if t.taken == nil {
				t.taken = map[health.Slot]bool{}
			}
			t.taken[s] = true
			return s, nil
		}
	}
	w := &TrialWait{trials: t, slots: slices.Clone(slots), consumer: consumer}
	t.waiting = append(t.waiting, w)
	return 0, w
}

// end ends this consumer's trial without success: another request has the next one.
// What failed may be the fault of the consumer's requests, and refuses no other's.
func (t *Trials) end(slot health.Slot, consumer string) {
	t.mu.Lock()
	for _, w := range t.waiting {
		w.failed = w.failed || w.consumer == consumer && slices.Contains(w.slots, slot)
	}
	t.mu.Unlock()
	t.passOn(slot, consumer)
}

// passOn gives the trial to the next request that waits for it, to one of another
// consumer than last's if there is one.
func (t *Trials) passOn(slot health.Slot, last string) {
	t.mu.Lock()
	var wake func()
	i := slices.IndexFunc(t.waiting, func(w *TrialWait) bool { return w.consumer != last && slices.Contains(w.slots, slot) })
	if i < 0 {
		i = slices.IndexFunc(t.waiting, func(w *TrialWait) bool { return slices.Contains(w.slots, slot) })
	}
	if i >= 0 {
		w := t.waiting[i]
		t.waiting = slices.Delete(t.waiting, i, i+1)
		w.woken, w.turn, w.at = true, true, slot
		wake = w.wake
	} else {
		delete(t.taken, slot)
	}
	t.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// served records a success at the slot: every request that waits for it decides
// anew.
func (t *Trials) served(slot health.Slot) {
	t.mu.Lock()
	delete(t.taken, slot)
	var wakes []func()
	t.waiting = slices.DeleteFunc(t.waiting, func(w *TrialWait) bool {
		if !slices.Contains(w.slots, slot) {
			return false
		}
		w.woken = true
		if w.wake != nil {
			wakes = append(wakes, w.wake)
		}
		return true
	})
	t.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

// OnWake sets what is called once when the request may go on; at once when it may
// already. It must not block.
func (w *TrialWait) OnWake(wake func()) {
	w.trials.mu.Lock()
	w.wake = wake
	woken := w.woken
	w.trials.mu.Unlock()
	if woken {
		wake()
	}
}

// leave ends the wait. With turn, the request has the next trial at w.at, which it
// must make or pass on; served is that another one succeeded.
func (w *TrialWait) leave() (turn, served bool) {
	w.trials.mu.Lock()
	defer w.trials.mu.Unlock()
	if i := slices.Index(w.trials.waiting, w); i >= 0 {
		w.trials.waiting = slices.Delete(w.trials.waiting, i, i+1)
	}
	return w.turn, w.woken && !w.turn
}
