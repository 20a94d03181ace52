package proxy

import (
	"sync"
	"time"
)

// overdueAfter is how long a request without content waits at least before it is
// overdue.
const overdueAfter = 10 * time.Second

// Waiting is the requests of a model that have been sent and have no content yet.
type Waiting struct {
	Requests int64
	Overdue  int64     // of them: for longer than their first backend may be silent
	Oldest   time.Time // since when the oldest waits; zero = none does
	Answered time.Time // when one was last answered; zero = never
}

// waits are the requests of one model that have no content yet.
type waits struct {
	mu       sync.Mutex
	began    map[*run]waitBegin
	answered time.Time
}

type waitBegin struct {
	at       time.Time
	patience time.Duration
}

// Waiting is the requests of a model that wait at now, whichever backend or fallback
// they wait for.
func (l *Load) Waiting(model string, now time.Time) Waiting {
	known, ok := l.waits.Load(model)
	if !ok {
		return Waiting{}
	}
	w := known.(*waits)
	w.mu.Lock()
	defer w.mu.Unlock()
	sum := Waiting{Requests: int64(len(w.began)), Answered: w.answered}
	for _, b := range w.began {
		if sum.Oldest.IsZero() || b.at.Before(sum.Oldest) {
			sum.Oldest = b.at
		}
		if now.Sub(b.at) > max(b.patience, overdueAfter) {
			sum.Overdue++
		}
	}
	return sum
}

func (l *Load) waitsOf(model string) *waits {
	w, ok := l.waits.Load(model)
	if !ok {
		w, _ = l.waits.LoadOrStore(model, &waits{began: map[*run]waitBegin{}})
	}
	return w.(*waits)
}

// awaitAnswer counts the request as waiting, until endWait. One that waits already keeps
// its beginning.
func (r *run) awaitAnswer(patience time.Duration) {
	w := r.Load.waitsOf(r.plan.pools[0].Model)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.began[r]; !ok {
		w.began[r] = waitBegin{r.began, patience}
	}
}

// endWait ends it, if it has begun.
func (r *run) endWait(answered bool) {
	known, ok := r.Load.waits.Load(r.plan.pools[0].Model)
	if !ok {
		return
	}
	w := known.(*waits)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.began, r)
	if answered {
		w.answered = r.Now()
	}
}
