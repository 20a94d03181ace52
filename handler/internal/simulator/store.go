package simulator

import (
	"encoding/json"
	"sync"
	"time"
)

// storeLimit bounds the responses a resource remembers; the oldest go first.
const storeLimit = 10_000

// store is what one resource remembers of its responses.
type store struct {
	mu        sync.Mutex
	responses map[string]*storedResponse
	items     map[string]string // item id → response id
	order     []string
}

// storedResponse is one response. What it is at an instant is computed when asked: no
// goroutine works on a background response.
type storedResponse struct {
	final    responseObject
	input    []json.RawMessage
	events   []event
	streamed bool
	made     time.Time
	starts   time.Time // until then it is queued
	ends     time.Time // until then it is in progress
	canceled bool
}

func newStore() *store {
	s := &store{}
	s.reset()
	return s
}

func (s *store) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.responses, s.items, s.order = map[string]*storedResponse{}, map[string]string{}, nil
}

func (s *store) put(r *storedResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) >= storeLimit {
		s.evict(s.order[0])
		s.order = s.order[1:]
	}
	s.responses[r.final.ID] = r
	s.order = append(s.order, r.final.ID)
	for _, id := range r.itemIDs() {
		s.items[id] = r.final.ID
	}
}

// evict drops a response and its items. The lock is held.
func (s *store) evict(id string) {
	r := s.responses[id]
	if r == nil {
		return
	}
	delete(s.responses, id)
	for _, item := range r.itemIDs() {
		delete(s.items, item)
	}
}

// get is a copy of a response that became visible at least delay ago.
func (s *store) get(id string, now time.Time, delay time.Duration) (storedResponse, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.responses[id]
	if r == nil || now.Sub(r.made) < delay {
		return storedResponse{}, false
	}
	return *r, true
}

func (s *store) hasItem(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.items[id]
	return ok
}

func (s *store) remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.responses[id]
	s.evict(id)
	return ok
}

// cancel stops a background response if it has not ended, and returns it. It
// may be called again and again.
func (s *store) cancel(id string, now time.Time) (storedResponse, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.responses[id]
	if r == nil {
		return storedResponse{}, false
	}
	if r.final.Background && now.Before(r.ends) {
		r.canceled = true
	}
	return *r, true
}

// itemIDs are the ids of the output items.
func (r *storedResponse) itemIDs() []string {
	var ids []string
	for _, item := range r.final.Output {
		switch item := item.(type) {
		case messageItem:
			ids = append(ids, item.ID)
		case reasoningItem:
			ids = append(ids, item.ID)
		case functionItem:
			ids = append(ids, item.ID)
		case imageItem:
			ids = append(ids, item.ID)
		}
	}
	return ids
}

// at is the response as it stands at an instant.
func (r storedResponse) at(now time.Time) responseObject {
	unfinished := r.final
	unfinished.Output, unfinished.Usage, unfinished.IncompleteDetails = []any{}, nil, nil
	switch {
	case r.canceled:
		unfinished.Status = "cancelled"
	case now.Before(r.starts):
		unfinished.Status = "queued"
	case now.Before(r.ends):
		unfinished.Status = "in_progress"
	default:
		return r.final
	}
	return unfinished
}
