// Package affinity remembers which backend made what later requests refer to:
// responses, their items, conversations
// (docs/azure-openai.md#stateful-operations). Locations that this instance
// recorded are in memory; those of other instances are read from the table. An
// id belongs to the consumer that made it.
//
// It knows no backend and no protocol. Recording does not block. A lookup in
// the table is one of the two waits that a request may have.
package affinity

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"spillway/handler/internal/tablestore"
)

// Location is the backend that holds an object, and the object's owner.
type Location struct {
	Backend   string
	Model     string // the pool that served, for requests that name no model
	Owner     string // the consumer; "" = none
	CreatedAt time.Time
}

// Why a lookup returns no location. Tell them apart with errors.Is.
var (
	ErrUnknown     = errors.New("the id is not known")
	ErrOtherOwner  = errors.New("the id belongs to another consumer")
	ErrUnavailable = errors.New("the table of ids is not available")
)

// Retention is how long a backend keeps what it made
// (docs/azure-openai.md#stateful-operations).
const Retention = 30 * 24 * time.Hour

// visibleTo returns the location, if it belongs to owner.
func (l *Location) visibleTo(owner string) (Location, error) {
	if l.Owner != owner {
		return Location{}, ErrOtherOwner
	}
	return *l, nil
}

// Config is the configuration of a Store. The zero value of each field is its
// default; without Table, locations are in memory only.
type Config struct {
	Table         tablestore.Store
	MemorySize    int              // ids in memory; 0 = 32,768
	QueueSize     int              // ids that wait to be written; 0 = 8,192
	LookupTimeout time.Duration    // longest lookup in the table; 0 = 1 s
	Now           func() time.Time // nil = time.Now
	OnError       func(err error)  // called when ids could not be written; nil = not called
}

// Store remembers locations. It is safe for concurrent use.
type Store struct {
	cfg     Config
	cache   *cache
	queue   chan entry
	dropped atomic.Uint64
	traffic atomic.Bool // ids were looked up or written since the last sweep
}

// entry is an id to be written to the table.
type entry struct {
	id       hashedID
	location Location
}

// New returns a Store, which writes nothing before Run.
func New(cfg Config) *Store {
	if cfg.MemorySize == 0 {
		cfg.MemorySize = 1 << 15
	}
	if cfg.QueueSize == 0 {
		cfg.QueueSize = 1 << 13
	}
	if cfg.LookupTimeout == 0 {
		cfg.LookupTimeout = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	return &Store{cfg: cfg, cache: newCache(cfg.MemorySize), queue: make(chan entry, cfg.QueueSize)}
}

// Lookup returns the location of owner's id. An id that is not in memory is
// looked up in the table, for at most Config.LookupTimeout. The error is
// ErrUnknown, ErrOtherOwner, or wraps ErrUnavailable.
func (s *Store) Lookup(ctx context.Context, owner, id string) (Location, error) {
	hashed := hashID(id)
	if l, ok := s.cache.get(hashed); ok {
		return s.visible(l, owner)
	}
	if s.cfg.Table == nil {
		return Location{}, ErrUnknown
	}
	s.traffic.Store(true)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	row, err := s.readRow(ctx, hashed)
	switch {
	case errors.Is(err, tablestore.ErrNotFound):
		return Location{}, ErrUnknown
	case err != nil:
		return Location{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l, ok := locationOf(row)
	if !ok {
		return Location{}, ErrUnknown
	}
	s.cache.put(hashed, l)
	return s.visible(l, owner)
}

// lookupRetryDelay is how long an id that another instance has just recorded
// may take to reach the table. A caller's next request is rarely faster.
const lookupRetryDelay = 50 * time.Millisecond

// readRow reads a row, and reads again when it is not there: that is cheaper
// than to ask every backend.
func (s *Store) readRow(ctx context.Context, id hashedID) (tablestore.Row, error) {
	row, _, err := s.cfg.Table.Get(ctx, id.partition(), id.key())
	if errors.Is(err, tablestore.ErrNotFound) && sleep(ctx, lookupRetryDelay) {
		row, _, err = s.cfg.Table.Get(ctx, id.partition(), id.key())
	}
	return row, err
}

// visible returns a location, if it has not expired and belongs to owner.
func (s *Store) visible(l Location, owner string) (Location, error) {
	if s.cfg.Now().Sub(l.CreatedAt) > Retention {
		return Location{}, ErrUnknown
	}
	return l.visibleTo(owner)
}

// Remember records that the ids were made at l, and replaces what was known of
// them. It does not block: the table is written in the background.
func (s *Store) Remember(l Location, ids ...string) {
	for _, id := range ids {
		hashed := hashID(id)
		s.cache.put(hashed, l)
		if s.cfg.Table == nil {
			continue
		}
		select {
		case s.queue <- entry{hashed, l}:
		default:
			if s.dropped.Add(1)&(s.dropped.Load()-1) == 0 { // at each power of two
				s.cfg.OnError(fmt.Errorf("record the location of an id: %d were dropped, the table is slower than the answers", s.dropped.Load()))
			}
		}
	}
}

// Claim records an id that is in no table and was found at a backend: for its
// owner, unless the table has another by now. The error is ErrOtherOwner, or
// wraps ErrUnavailable.
func (s *Store) Claim(ctx context.Context, l Location, id string) error {
	hashed := hashID(id)
	if s.cfg.Table == nil {
		s.cache.put(hashed, l)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	_, _, err := s.cfg.Table.Put(ctx, rowOf(hashed, l))
	switch {
	case err == nil:
		s.cache.put(hashed, l)
		return nil
	case !errors.Is(err, tablestore.ErrConflict):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	_, err = s.Lookup(ctx, l.Owner, id)
	if errors.Is(err, ErrUnknown) { // the row has expired, or cannot be read
		_, _, err = s.cfg.Table.Upsert(ctx, rowOf(hashed, l))
	}
	return err
}
