package affinity

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"spillway/handler/internal/tablestore"
)

// Config is what a Keeper is made of. The zero value of all but Store will do;
// with Store nil it remembers in memory alone.
type Config struct {
	Table         tablestore.Store
	MemorySize    int              // how many ids are kept in memory; 0 = 32,768
	QueueSize     int              // how many may wait to be written; 0 = 8,192
	LookupTimeout time.Duration    // longest look into the table; 0 = 1 s
	Now           func() time.Time // nil = time.Now
	OnError       func(err error)  // told when ids could not be written; nil = nobody
}

// Store remembers places. It is safe for concurrent use.
type Store struct {
	cfg     Config
	cache   *cache
	queue   chan entry
	dropped atomic.Uint64
	traffic atomic.Bool // there was traffic since the last sweep
}

// entry is an id on its way into the table.
type entry struct {
	id       hashedID
	location Location
}

// New returns a Keeper that writes nothing before Run.
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

// Lookup is where owner's id is. What this instance does not remember it looks
// for in the table, for no longer than Config.Wait. The error is ErrUnknown,
// ErrForeign, or wraps ErrUnavailable.
func (k *Store) Lookup(ctx context.Context, owner, id string) (Location, error) {
	n := hashID(id)
	if p, ok := k.cache.get(n); ok {
		return k.visible(p, owner)
	}
	if k.cfg.Table == nil {
		return Location{}, ErrUnknown
	}
	k.traffic.Store(true)
	ctx, cancel := context.WithTimeout(ctx, k.cfg.LookupTimeout)
	defer cancel()
	row, err := k.readRow(ctx, n)
	switch {
	case errors.Is(err, tablestore.ErrNotFound):
		return Location{}, ErrUnknown
	case err != nil:
		return Location{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	p, ok := locationOf(row)
	if !ok {
		return Location{}, ErrUnknown
	}
	k.cache.put(n, p)
	return k.visible(p, owner)
}

// lookupRetryDelay is how long what another instance has just made may be on its way
// into the table. A caller's next request is rarely faster.
const lookupRetryDelay = 50 * time.Millisecond

// readRow reads a row, and looks again when it is not there: that is cheaper than
// to ask every backend.
func (k *Store) readRow(ctx context.Context, n hashedID) (tablestore.Row, error) {
	row, _, err := k.cfg.Table.Get(ctx, n.partition(), n.key())
	if errors.Is(err, tablestore.ErrNotFound) && sleep(ctx, lookupRetryDelay) {
		row, _, err = k.cfg.Table.Get(ctx, n.partition(), n.key())
	}
	return row, err
}

// visible is a place as owner may see it now.
func (k *Store) visible(p Location, owner string) (Location, error) {
	if k.cfg.Now().Sub(p.CreatedAt) > Retention {
		return Location{}, ErrUnknown
	}
	return p.visibleTo(owner)
}

// Remember remembers that the ids were made at p, over whatever was known of them.
// It never waits: the table learns of it in the background.
func (k *Store) Remember(p Location, ids ...string) {
	for _, id := range ids {
		n := hashID(id)
		k.cache.put(n, p)
		if k.cfg.Table == nil {
			continue
		}
		select {
		case k.queue <- entry{n, p}:
		default:
			if k.dropped.Add(1)&(k.dropped.Load()-1) == 0 { // at each power of two
				k.cfg.OnError(fmt.Errorf("keep the place of an id: %d were dropped, the table is slower than the answers", k.dropped.Load()))
			}
		}
	}
}

// Claim remembers an id that was found where no table told: for owner, unless
// the table knows by now that it is another's. The error is ErrForeign, or
// wraps ErrUnavailable.
func (k *Store) Claim(ctx context.Context, p Location, id string) error {
	n := hashID(id)
	if k.cfg.Table == nil {
		k.cache.put(n, p)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.LookupTimeout)
	defer cancel()
	_, _, err := k.cfg.Table.Put(ctx, rowOf(n, p))
	switch {
	case err == nil:
		k.cache.put(n, p)
		return nil
	case !errors.Is(err, tablestore.ErrConflict):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	_, err = k.Lookup(ctx, p.Owner, id)
	if errors.Is(err, ErrUnknown) { // the row that was there ran out, or cannot be read
		_, _, err = k.cfg.Table.Upsert(ctx, rowOf(n, p))
	}
	return err
}
