package funchost

import (
	"context"
	"slices"
	"sync"
)

// eventLog is a list that only grows, and that one can wait on.
type eventLog[T any] struct {
	mu    sync.Mutex
	items []T
	grown chan struct{} // closed and replaced when an item comes
}

func (r *eventLog[T]) add(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items = append(r.items, item)
	if r.grown != nil {
		close(r.grown)
		r.grown = nil
	}
}

// all is a copy of the list as it is now.
func (r *eventLog[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.items)
}

// wait returns the nth item, counted from one, that wanted accepts, as soon as
// it is there, or the error of ctx.
func (r *eventLog[T]) wait(ctx context.Context, nth int, wanted func(T) bool) (T, error) {
	next := 0
	for {
		r.mu.Lock()
		for ; next < len(r.items); next++ {
			if !wanted(r.items[next]) {
				continue
			}
			if nth--; nth == 0 {
				defer r.mu.Unlock()
				return r.items[next], nil
			}
		}
		if r.grown == nil {
			r.grown = make(chan struct{})
		}
		grown := r.grown
		r.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}
