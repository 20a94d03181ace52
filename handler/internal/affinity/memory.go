package affinity

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"sync"
)

// name is an id's name in memory and table: ids are what callers hold, and
// need not be readable where they are kept.
type name [sha256.Size]byte

func nameOf(id string) name { return sha256.Sum256([]byte(id)) }

// partition spreads the rows; key is the row's.
func (n name) partition() string { return hex.EncodeToString(n[:1]) }
func (n name) key() string       { return hex.EncodeToString(n[:]) }

// memory is the places that were kept or asked for last. It is safe for
// concurrent use.
type memory struct {
	mu     sync.Mutex
	size   int
	places map[name]*list.Element
	recent *list.List // the most recent first
}

type remembered struct {
	name  name
	place Place
}

func newMemory(size int) *memory {
	return &memory{size: size, places: map[name]*list.Element{}, recent: list.New()}
}

func (m *memory) get(n name) (Place, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.places[n]
	if !ok {
		return Place{}, false
	}
	m.recent.MoveToFront(e)
	return e.Value.(*remembered).place, true
}

// put remembers a place, and forgets the one that was not asked for for the
// longest time.
func (m *memory) put(n name, p Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.places[n]; ok {
		e.Value.(*remembered).place = p
		m.recent.MoveToFront(e)
		return
	}
	m.places[n] = m.recent.PushFront(&remembered{n, p})
	if m.recent.Len() > m.size {
		oldest := m.recent.Remove(m.recent.Back()).(*remembered)
		delete(m.places, oldest.name)
	}
}
