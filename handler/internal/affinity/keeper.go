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
	Store   tablestore.Store
	Size    int              // how many ids are kept in memory; 0 = 32,768
	Queue   int              // how many may wait to be written; 0 = 8,192
	Wait    time.Duration    // longest look into the table; 0 = 1 s
	Now     func() time.Time // nil = time.Now
	Trouble func(err error)  // told when ids could not be written; nil = nobody
}

// Keeper remembers places. It is safe for concurrent use.
type Keeper struct {
	cfg     Config
	memory  *memory
	queue   chan entry
	dropped atomic.Uint64
	asked   atomic.Bool // there was traffic since the last sweep
}

// entry is an id on its way into the table.
type entry struct {
	name  name
	place Place
}

// New returns a Keeper that writes nothing before Run.
func New(cfg Config) *Keeper {
	if cfg.Size == 0 {
		cfg.Size = 1 << 15
	}
	if cfg.Queue == 0 {
		cfg.Queue = 1 << 13
	}
	if cfg.Wait == 0 {
		cfg.Wait = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Trouble == nil {
		cfg.Trouble = func(error) {}
	}
	return &Keeper{cfg: cfg, memory: newMemory(cfg.Size), queue: make(chan entry, cfg.Queue)}
}

// Find is where owner's id is. What this instance does not remember it looks
// for in the table, for no longer than Config.Wait. The error is ErrUnknown,
// ErrForeign, or wraps ErrUnavailable.
func (k *Keeper) Find(ctx context.Context, owner, id string) (Place, error) {
	n := nameOf(id)
	if p, ok := k.memory.get(n); ok {
		return k.seen(p, owner)
	}
	if k.cfg.Store == nil {
		return Place{}, ErrUnknown
	}
	k.asked.Store(true)
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Wait)
	defer cancel()
	row, err := k.look(ctx, n)
	switch {
	case errors.Is(err, tablestore.ErrNotFound):
		return Place{}, ErrUnknown
	case err != nil:
		return Place{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	p, ok := read(row)
	if !ok {
		return Place{}, ErrUnknown
	}
	k.memory.put(n, p)
	return k.seen(p, owner)
}

// settle is how long what another instance has just made may be on its way
// into the table. A caller's next request is rarely faster.
const settle = 50 * time.Millisecond

// look reads a row, and looks again when it is not there: that is cheaper than
// to ask every backend.
func (k *Keeper) look(ctx context.Context, n name) (tablestore.Row, error) {
	row, _, err := k.cfg.Store.Get(ctx, n.partition(), n.key())
	if errors.Is(err, tablestore.ErrNotFound) && sleep(ctx, settle) {
		row, _, err = k.cfg.Store.Get(ctx, n.partition(), n.key())
	}
	return row, err
}

// seen is a place as owner may see it now.
func (k *Keeper) seen(p Place, owner string) (Place, error) {
	if k.cfg.Now().Sub(p.Made) > Life {
		return Place{}, ErrUnknown
	}
	return p.of(owner)
}

// Keep remembers that the ids were made at p, over whatever was known of them.
// It never waits: the table learns of it in the background.
func (k *Keeper) Keep(p Place, ids ...string) {
	for _, id := range ids {
		n := nameOf(id)
		k.memory.put(n, p)
		if k.cfg.Store == nil {
			continue
		}
		select {
		case k.queue <- entry{n, p}:
		default:
			if k.dropped.Add(1)&(k.dropped.Load()-1) == 0 { // at each power of two
				k.cfg.Trouble(fmt.Errorf("keep the place of an id: %d were dropped, the table is slower than the answers", k.dropped.Load()))
			}
		}
	}
}

// Claim remembers an id that was found where no table told: for owner, unless
// the table knows by now that it is another's. The error is ErrForeign, or
// wraps ErrUnavailable.
func (k *Keeper) Claim(ctx context.Context, p Place, id string) error {
	n := nameOf(id)
	if k.cfg.Store == nil {
		k.memory.put(n, p)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Wait)
	defer cancel()
	_, _, err := k.cfg.Store.Put(ctx, row(n, p))
	switch {
	case err == nil:
		k.memory.put(n, p)
		return nil
	case !errors.Is(err, tablestore.ErrConflict):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	_, err = k.Find(ctx, p.Owner, id)
	if errors.Is(err, ErrUnknown) { // the row that was there ran out, or cannot be read
		_, _, err = k.cfg.Store.Set(ctx, row(n, p))
	}
	return err
}
