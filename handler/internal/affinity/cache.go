package affinity

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"sync"
)

// hashedID is an id's hashedID in memory and table: ids are what callers hold, and
// need not be readable where they are kept.
type hashedID [sha256.Size]byte

func hashID(id string) hashedID { return sha256.Sum256([]byte(id)) }

// partition spreads the rows; key is the row's.
func (n hashedID) partition() string { return hex.EncodeToString(n[:1]) }
func (n hashedID) key() string       { return hex.EncodeToString(n[:]) }

// cache is the places that were kept or asked for last. It is safe for
// concurrent use.
type cache struct {
	mu      sync.Mutex
	size    int
	entries map[hashedID]*list.Element
	recent  *list.List // the most recent first
}

type cacheEntry struct {
	id       hashedID
	location Location
}

func newCache(size int) *cache {
	return &cache{size: size, entries: map[hashedID]*list.Element{}, recent: list.New()}
}

func (m *cache) get(n hashedID) (Location, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[n]
	if !ok {
		return Location{}, false
	}
	m.recent.MoveToFront(e)
	return e.Value.(*cacheEntry).location, true
}

// put remembers a place, and forgets the one that was not asked for for the
// longest time.
func (m *cache) put(n hashedID, p Location) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.entries[n]; ok {
		e.Value.(*cacheEntry).location = p
		m.recent.MoveToFront(e)
		return
	}
	m.entries[n] = m.recent.PushFront(&cacheEntry{n, p})
	if m.recent.Len() > m.size {
		oldest := m.recent.Remove(m.recent.Back()).(*cacheEntry)
		delete(m.entries, oldest.id)
	}
}
