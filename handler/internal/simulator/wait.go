package simulator

import (
	"context"
	"fmt"
)

// waiter is one WaitJournal under way.
type waiter struct {
	match func(Entry) bool
	found chan Entry
}

// notify hands an entry to every waiter it matches. The lock is held.
func (j *journal) notify(e *Entry) {
	if len(j.waiters) == 0 {
		return
	}
	rest := j.waiters[:0]
	for _, w := range j.waiters {
		if w.match(*e) {
			w.found <- *e
			continue
		}
		rest = append(rest, w)
	}
	j.waiters = rest
}

// WaitJournal waits until an entry matches, one already kept or one to come,
// and returns it as it was then. match must be quick and call nothing of the
// service. The error is the context's.
func (s *Service) WaitJournal(ctx context.Context, match func(Entry) bool) (Entry, error) {
	w := &waiter{match: match, found: make(chan Entry, 1)}
	if e, ok := s.journal.addWaiter(w); ok {
		return e, nil
	}
	select {
	case e := <-w.found:
		return e, nil
	case <-ctx.Done():
		s.journal.removeWaiter(w)
		return Entry{}, fmt.Errorf("wait for a journal entry: %w", ctx.Err())
	}
}

// WaitArrival waits until a resource has received n requests.
func (s *Service) WaitArrival(ctx context.Context, resource string, n int) (Entry, error) {
	seen := map[uint64]bool{}
	return s.WaitJournal(ctx, func(e Entry) bool {
		if e.Resource == resource {
			seen[e.Seq] = true
		}
		return len(seen) >= n && e.Resource == resource
	})
}

// WaitDisconnect waits until a caller of the resource is seen to have left.
func (s *Service) WaitDisconnect(ctx context.Context, resource string) (Entry, error) {
	return s.WaitJournal(ctx, func(e Entry) bool {
		return e.Resource == resource && e.Disconnected() && e.Done
	})
}

func (j *journal) addWaiter(w *waiter) (Entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.kept() {
		if w.match(*e) {
			return *e, true
		}
	}
	j.waiters = append(j.waiters, w)
	return Entry{}, false
}

func (j *journal) removeWaiter(w *waiter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, other := range j.waiters {
		if other == w {
			j.waiters = append(j.waiters[:i], j.waiters[i+1:]...)
			return
		}
	}
}
