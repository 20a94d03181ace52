package affinity

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"sync"
	"time"

	"spillway/handler/internal/tablestore"
)

// hashedID is an id in memory and table: callers hold ids, which need not be
// readable where they are stored (docs/security.md#stored-data).
type hashedID [sha256.Size]byte

func hashID(id string) hashedID { return sha256.Sum256([]byte(id)) }

// partition spreads the rows; key is the row's key.
func (id hashedID) partition() string { return hex.EncodeToString(id[:1]) }
func (id hashedID) key() string       { return hex.EncodeToString(id[:]) }

// cache is the locations that were recorded or looked up last. When it is full,
// the owner with the most ids loses its oldest: nobody can displace what belongs
// to others. It is safe for concurrent use.
type cache struct {
	mu      sync.Mutex
	size    int
	entries map[hashedID]*list.Element
	recent  map[string]*list.List // by owner; the most recently used first
}

type cacheEntry struct {
	id        hashedID
	location  Location
	confirmed bool // by the table
}

func newCache(size int) *cache {
	return &cache{size: size, entries: map[hashedID]*list.Element{}, recent: map[string]*list.List{}}
}

func (c *cache) get(id hashedID) (l Location, confirmed, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok {
		return Location{}, false, false
	}
	found := e.Value.(*cacheEntry)
	c.recent[found.location.Owner].MoveToFront(e)
	return found.location, found.confirmed, true
}

// add stores a location that the table has not confirmed. It reports false when
// one is there already: an owner is not replaced.
func (c *cache) add(id hashedID, l Location, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[id]; ok {
		if old := e.Value.(*cacheEntry); !old.location.expired(now) {
			return false
		}
		c.remove(e)
	}
	c.insert(&cacheEntry{id: id, location: l})
	return true
}

// swapDue replaces what is due of an owner's location by next, and returns it.
func (c *cache) swapDue(owner string, id hashedID, next string) (due string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok {
		return ""
	}
	l := &e.Value.(*cacheEntry).location
	if l.Owner != owner || !isDue(l.Due) {
		return ""
	}
	due, l.Due = l.Due, next
	return due
}

// confirm stores what the table has.
func (c *cache) confirm(id hashedID, l Location) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[id]; ok {
		c.remove(e)
	}
	c.insert(&cacheEntry{id: id, location: l, confirmed: true})
}

func (c *cache) insert(e *cacheEntry) {
	owned := c.recent[e.location.Owner]
	if owned == nil {
		owned = list.New()
		c.recent[e.location.Owner] = owned
	}
	c.entries[e.id] = owned.PushFront(e)
	if len(c.entries) <= c.size {
		return
	}
	for _, other := range c.recent {
		if other.Len() > owned.Len() {
			owned = other
		}
	}
	c.remove(owned.Back())
}

func (c *cache) remove(e *list.Element) {
	old := e.Value.(*cacheEntry)
	c.recent[old.location.Owner].Remove(e)
	delete(c.entries, old.id)
}

// The columns of a row. until is for the sweep, and for operators who read the
// table.
const (
	colBackend = "backend"
	colModel   = "model"
	colOwner   = "owner"
	colKind    = "kind"
	colMade    = "made"  // Unix milliseconds
	colUntil   = "until" // Unix seconds
	colDue     = "due"
)

func rowOf(id hashedID, l Location) tablestore.Row {
	columns := map[string]string{
		colBackend: l.Backend, colModel: l.Model, colOwner: l.Owner, colKind: l.Kind,
		colMade: strconv.FormatInt(l.CreatedAt.UnixMilli(), 10),
	}
	if l.Due != "" {
		columns[colDue] = l.Due
	}
	if !l.Expires.IsZero() {
		columns[colUntil] = strconv.FormatInt(l.Expires.Unix(), 10)
	}
	return tablestore.Row{Partition: id.partition(), Key: id.key(), Columns: columns}
}

// locationOf returns the location in a row, or false when it holds none.
func locationOf(r tablestore.Row) (Location, bool) {
	made, err := strconv.ParseInt(r.Columns[colMade], 10, 64)
	if err != nil || r.Columns[colBackend] == "" {
		return Location{}, false
	}
	l := Location{
		Backend: r.Columns[colBackend], Model: r.Columns[colModel], Owner: r.Columns[colOwner], Kind: r.Columns[colKind], Due: r.Columns[colDue],
		CreatedAt: time.UnixMilli(made),
	}
	if until, err := strconv.ParseInt(r.Columns[colUntil], 10, 64); err == nil {
		l.Expires = time.Unix(until, 0)
	}
	return l, true
}

// expired reports whether a row has expired.
func expired(r tablestore.Row, now time.Time) bool {
	until, err := strconv.ParseInt(r.Columns[colUntil], 10, 64)
	return err == nil && now.Unix() > until
}
