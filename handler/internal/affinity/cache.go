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

// cache is the locations that were recorded or looked up last. It is safe for
// concurrent use.
type cache struct {
	mu      sync.Mutex
	size    int
	entries map[hashedID]*list.Element
	recent  *list.List // the most recently used first
}

type cacheEntry struct {
	id       hashedID
	location Location
}

func newCache(size int) *cache {
	return &cache{size: size, entries: map[hashedID]*list.Element{}, recent: list.New()}
}

func (c *cache) get(id hashedID) (Location, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok {
		return Location{}, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cacheEntry).location, true
}

// put stores a location, and drops the least recently used one.
func (c *cache) put(id hashedID, l Location) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[id]; ok {
		e.Value.(*cacheEntry).location = l
		c.recent.MoveToFront(e)
		return
	}
	c.entries[id] = c.recent.PushFront(&cacheEntry{id, l})
	if c.recent.Len() > c.size {
		oldest := c.recent.Remove(c.recent.Back()).(*cacheEntry)
		delete(c.entries, oldest.id)
	}
}

// The columns of a row. until is for the sweep, and for operators who read the
// table.
const (
	colBackend = "backend"
	colModel   = "model"
	colOwner   = "owner"
	colMade    = "made"  // Unix milliseconds
	colUntil   = "until" // Unix seconds
)

func rowOf(id hashedID, l Location) tablestore.Row {
	return tablestore.Row{Partition: id.partition(), Key: id.key(), Columns: map[string]string{
		colBackend: l.Backend, colModel: l.Model, colOwner: l.Owner,
		colMade:  strconv.FormatInt(l.CreatedAt.UnixMilli(), 10),
		colUntil: strconv.FormatInt(l.CreatedAt.Add(Retention).Unix(), 10),
	}}
}

// locationOf returns the location in a row, or false when it holds none.
func locationOf(r tablestore.Row) (Location, bool) {
	made, err := strconv.ParseInt(r.Columns[colMade], 10, 64)
	if err != nil || r.Columns[colBackend] == "" {
		return Location{}, false
	}
	return Location{
		Backend: r.Columns[colBackend], Model: r.Columns[colModel], Owner: r.Columns[colOwner], CreatedAt: time.UnixMilli(made),
	}, true
}

// expired reports whether a row has expired.
func expired(r tablestore.Row, now time.Time) bool {
	until, err := strconv.ParseInt(r.Columns[colUntil], 10, 64)
	return err == nil && now.Unix() > until
}
