package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/consumer"
)

// WaitQueue holds requests that wait: for a throttled pool to reopen
// (SPILLWAY_MAX_WAIT), or for a stored object to become visible. Interactive requests take slots ahead of batch requests
// and resume ahead of them. The zero WaitQueue has no slot limit. It is safe
// for concurrent use.
type WaitQueue struct {
	Capacity int // 0 = no limit

	mu    sync.Mutex
	batch []*waiter // of batch requests, in order of arrival
	taken int
}

type waiter struct{ revoked chan struct{} }

// interactiveLead is how much earlier an interactive request resumes than a
// batch request that waited for the same reopening.
const interactiveLead = 25 * time.Millisecond

// Wait waits for d and reports whether the request may try again: false when
// ctx ended first, no slot was free, or the slot went to an interactive
// request.
func (q *WaitQueue) Wait(ctx context.Context, class consumer.Class, d time.Duration) bool {
	s, ok := q.take(class)
	if !ok {
		return false
	}
	defer q.release(s, class)
	if class == consumer.Batch {
		d += interactiveLead
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.revoked:
		return false
	case <-timer.C:
		return true
	}
}

// take takes a slot. When none is free, an interactive request revokes that of
// the batch request that came last.
func (q *WaitQueue) take(class consumer.Class) (*waiter, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &waiter{revoked: make(chan struct{})}
	if q.Capacity > 0 && q.taken >= q.Capacity {
		last := len(q.batch) - 1
		if class == consumer.Batch || last < 0 {
			return nil, false
		}
		close(q.batch[last].revoked)
		q.batch = q.batch[:last]
		q.taken--
	}
	q.taken++
	if class == consumer.Batch {
		q.batch = append(q.batch, s)
	}
	return s, true
}

func (q *WaitQueue) release(s *waiter, class consumer.Class) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if class != consumer.Batch {
		q.taken--
		return
	}
	if i := slices.Index(q.batch, s); i >= 0 {
		q.batch = slices.Delete(q.batch, i, i+1)
		q.taken--
	}
}
