package affinity

import (
	"context"
	"slices"
	"sync"
)

// queue is the ids that wait to be written. Owners take turns, and when it is
// full the owner with the most ids loses one: a flood of one consumer's delays
// and drops nobody else's. It is safe for concurrent use.
type queue struct {
	size    int
	waiting chan struct{} // one for each id

	mu      sync.Mutex
	total   int
	byOwner map[string][]entry
	order   []string // the owners with ids, in turn
}

func newQueue(size int) *queue {
	return &queue{size: size, waiting: make(chan struct{}, size), byOwner: map[string][]entry{}}
}

// push adds an id. It reports false when one was dropped for want of space: this
// one, or the last one of an owner that has more.
func (q *queue) push(e entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	owner := e.location.Owner
	dropped := q.total == q.size
	if dropped {
		longest := owner
		for other, list := range q.byOwner {
			if len(list) > len(q.byOwner[longest]) {
				longest = other
			}
		}
		if longest == owner {
			return false
		}
		list := q.byOwner[longest]
		q.set(longest, list[:len(list)-1])
	}
	if len(q.byOwner[owner]) == 0 {
		q.order = append(q.order, owner)
	}
	q.byOwner[owner] = append(q.byOwner[owner], e)
	if !dropped {
		q.total++
		q.waiting <- struct{}{}
	}
	return !dropped
}

// set replaces what waits of an owner.
func (q *queue) set(owner string, list []entry) {
	if len(list) > 0 {
		q.byOwner[owner] = list
		return
	}
	delete(q.byOwner, owner)
	q.order = slices.DeleteFunc(q.order, func(o string) bool { return o == owner })
}

// pop waits for an id until ctx ends.
func (q *queue) pop(ctx context.Context) (entry, bool) {
	select {
	case <-q.waiting:
		return q.take(), true
	case <-ctx.Done():
		return entry{}, false
	}
}

// poll is pop without waiting.
func (q *queue) poll() (entry, bool) {
	select {
	case <-q.waiting:
		return q.take(), true
	default:
		return entry{}, false
	}
}

// take removes the first id of the owner whose turn it is.
func (q *queue) take() entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	owner := q.order[0]
	q.order = append(q.order[1:], owner)
	list := q.byOwner[owner]
	q.set(owner, list[1:])
	q.total--
	return list[0]
}
