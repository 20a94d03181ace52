package quota

import (
	"context"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/consumer"
)

// Room is where requests wait for a throttled pool to reopen
// (SPILLWAY_MAX_WAIT). Interactive requests have the first claim on its seats
// and leave it first; batch requests are sent away first. The zero Room has no
// seat limit. It is safe for concurrent use.
type Room struct {
	Seats int // 0 = no limit

	mu    sync.Mutex
	batch []*seat // in order of arrival
	taken int
}

type seat struct{ gone chan struct{} }

// headStart is how much earlier an interactive request goes than a batch
// request that waited for the same reopening.
const headStart = 25 * time.Millisecond

// Wait waits for d and reports whether the request may try again: false when
// ctx ends first, when there is no seat, or when the seat was needed for an
// interactive request.
func (r *Room) Wait(ctx context.Context, class consumer.Class, d time.Duration) bool {
	s, ok := r.sit(class)
	if !ok {
		return false
	}
	defer r.leave(s, class)
	if class == consumer.Batch {
		d += headStart
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.gone:
		return false
	case <-timer.C:
		return true
	}
}

// sit takes a seat. When there is none, the batch request that came last gives
// up its own to an interactive one.
func (r *Room) sit(class consumer.Class) (*seat, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &seat{gone: make(chan struct{})}
	if r.Seats > 0 && r.taken >= r.Seats {
		last := len(r.batch) - 1
		if class == consumer.Batch || last < 0 {
			return nil, false
		}
		close(r.batch[last].gone)
		r.batch = r.batch[:last]
		r.taken--
	}
	r.taken++
	if class == consumer.Batch {
		r.batch = append(r.batch, s)
	}
	return s, true
}

func (r *Room) leave(s *seat, class consumer.Class) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if class != consumer.Batch {
		r.taken--
		return
	}
	if i := slices.Index(r.batch, s); i >= 0 {
		r.batch = slices.Delete(r.batch, i, i+1)
		r.taken--
	}
}
