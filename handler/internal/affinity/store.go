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
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/tablestore"
)

// Location is the backend that holds an object, and the object's owner.
type Location struct {
	Backend   string
	Model     string // the pool that served, for requests that name no model
	Kind      string // of the object; "" = not recorded
	Owner     string // the consumer; "" = none
	CreatedAt time.Time
	Expires   time.Time // when it is forgotten; zero = never
	Due       string    // what [Store.TakeDue] takes once; "" = nothing
}

// Why a lookup returns no location. Tell them apart with errors.Is.
var (
	ErrUnknown     = errors.New("the id is not known")
	ErrOtherOwner  = errors.New("the id belongs to another consumer")
	ErrUnavailable = errors.New("the table of ids is not available")
)

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
	RecordTimeout time.Duration    // longest wait of Record for the table; 0 = 500 ms
	Now           func() time.Time // nil = time.Now
	OnError       func(err error)  // called when ids could not be written; nil = not called
}

// Store remembers locations. It is safe for concurrent use.
type Store struct {
	cfg     Config
	cache   *cache
	queue   *queue
	unowned unowned
	reading sync.Map // owner → chan struct{}, the reads that it has under way
	dropped atomic.Uint64
	traffic atomic.Bool // ids were looked up or written since the last sweep
	secret  atomic.Pointer[string]
	away    atomic.Int64 // Record does not wait for the table until this instant, Unix nanoseconds
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
	if cfg.RecordTimeout == 0 {
		cfg.RecordTimeout = 500 * time.Millisecond
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	s := &Store{cfg: cfg, cache: newCache(cfg.MemorySize), queue: newQueue(cfg.QueueSize)}
	s.secret.Store(new(rand.Text()))
	return s
}

// Lookup returns the location of owner's id. An id that is not in memory is
// looked up in the table, for at most Config.LookupTimeout. The error is
// ErrUnknown, ErrOtherOwner, or wraps ErrUnavailable.
func (s *Store) Lookup(ctx context.Context, owner, id string) (Location, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	return s.lookup(ctx, owner, id)
}

// LookupAll is Lookup of several ids at once, with one time limit for all that is longer
// for hundreds, while the table answers. The results are in the order of the ids.
func (s *Store) LookupAll(ctx context.Context, owner string, ids []string) ([]Location, []error) {
	return s.lookupEach(ctx, owner, ids, len(ids), func(id string) (Location, bool, error) { return s.fromCache(owner, hashID(id)) },
		func(ctx context.Context, id string) (Location, error) { return s.lookup(ctx, owner, id) })
}

// lookupEach looks ids up in memory, and reads at most this many of the others.
func (s *Store) lookupEach(ctx context.Context, owner string, ids []string, most int, inMemory func(id string) (l Location, final bool, err error), read func(ctx context.Context, id string) (Location, error)) ([]Location, []error) {
	locations, errs := make([]Location, len(ids)), make([]error, len(ids))
	var missing []int
	for i, id := range ids {
		var final bool
		if locations[i], final, errs[i] = inMemory(id); !final {
			missing = append(missing, i)
		}
	}
	for _, i := range missing[min(most, len(missing)):] {
		locations[i], errs[i] = Location{}, fmt.Errorf("%w: too many ids to be read at once", ErrUnavailable)
	}
	if missing = missing[:min(most, len(missing))]; len(missing) == 0 {
		return locations, errs
	}
	ctx, stop := context.WithTimeout(ctx, s.cfg.LookupTimeout*time.Duration(1+len(missing)/readsInTime))
	defer stop()
	silent := time.AfterFunc(s.cfg.LookupTimeout, stop)
	defer silent.Stop()
	var reads sync.WaitGroup
	for worker := range min(len(missing), maxReads) {
		reads.Go(func() {
			for n := worker; n < len(missing); n += maxReads {
				i := missing[n]
				done, err := s.beginRead(ctx, owner)
				if err != nil {
					errs[i] = err
					continue
				}
				locations[i], errs[i] = read(ctx, ids[i])
				done()
				if !errors.Is(errs[i], ErrUnavailable) {
					silent.Reset(s.cfg.LookupTimeout)
				}
			}
		})
	}
	reads.Wait()
	return locations, errs
}

// readsInTime is how many ids a table is expected to read within Config.LookupTimeout,
// however slow it is.
const readsInTime = 128

// maxReads is how many ids of one owner's requests are read from the table at once: a
// flood of one consumer's leaves the table to others.
const maxReads = 16

// beginRead waits until owner may read another id. done must be called.
func (s *Store) beginRead(ctx context.Context, owner string) (done func(), err error) {
	reading, ok := s.reading.Load(owner)
	if !ok {
		reading, _ = s.reading.LoadOrStore(owner, make(chan struct{}, maxReads))
	}
	slots := reading.(chan struct{})
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (s *Store) lookup(ctx context.Context, owner, id string) (Location, error) {
	hashed := hashID(id)
	known, final, knownErr := s.fromCache(owner, hashed)
	if final {
		return known, knownErr
	}
	l, err := s.fromTable(ctx, owner, hashed)
	switch {
	case errors.Is(err, ErrUnavailable) && knownErr == nil:
		return known, nil // made here, and not yet in the table
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrOtherOwner):
		// An id of another consumer takes as long as one that does not exist.
		if sleep(ctx, lookupRetryDelay) {
			return s.fromTable(ctx, owner, hashed)
		}
	}
	return l, err
}

// fromCache returns what is in memory. It is not final where the table has the
// last word: for an id that the table has not confirmed, and for one that is not
// owner's.
func (s *Store) fromCache(owner string, id hashedID) (l Location, final bool, err error) {
	l, confirmed, ok := s.cache.get(id)
	if !ok {
		return Location{}, s.cfg.Table == nil, ErrUnknown
	}
	l, err = s.visible(l, owner)
	return l, s.cfg.Table == nil || confirmed && err == nil, err
}

// fromTable reads an id from the table. What is in memory and not yet in the
// table counts as well.
func (s *Store) fromTable(ctx context.Context, owner string, id hashedID) (Location, error) {
	s.traffic.Store(true)
	row, _, err := s.cfg.Table.Get(ctx, id.partition(), id.key())
	switch {
	case errors.Is(err, tablestore.ErrNotFound):
		if l, _, ok := s.cache.get(id); ok {
			return s.visible(l, owner)
		}
		return Location{}, ErrUnknown
	case err != nil:
		return Location{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l, ok := locationOf(row)
	if !ok {
		return Location{}, ErrUnknown
	}
	s.cache.confirm(id, l)
	return s.visible(l, owner)
}

// lookupRetryDelay is how long an id that another instance has just recorded
// may take to reach the table. A caller's next request is rarely faster.
const lookupRetryDelay = 50 * time.Millisecond

// visible returns a location, if it has not expired and belongs to owner.
func (s *Store) visible(l Location, owner string) (Location, error) {
	if l.expired(s.cfg.Now()) {
		return Location{}, ErrUnknown
	}
	return l.visibleTo(owner)
}

func (l *Location) expired(now time.Time) bool { return !l.Expires.IsZero() && now.After(l.Expires) }

// Remember records that the ids were made at l, unless they belong to another
// owner. It does not block: the table is written in the background.
func (s *Store) Remember(l Location, ids ...string) {
	for _, id := range ids {
		hashed := hashID(id)
		if fresh := s.cache.add(hashed, l, s.cfg.Now()); !fresh || s.cfg.Table == nil {
			continue
		}
		s.enqueue(entry{hashed, l})
	}
}

func (s *Store) enqueue(e entry) {
	if s.queue.push(e) {
		return
	}
	if s.dropped.Add(1)&(s.dropped.Load()-1) == 0 { // at each power of two
		s.cfg.OnError(fmt.Errorf("record the location of an id: %d were dropped, the table is slower than the answers", s.dropped.Load()))
	}
}

// Record is Remember, and waits until the table has the ids, for at most
// Config.RecordTimeout; then the write goes on in the background. While the
// table does not answer it does not wait.
func (s *Store) Record(ctx context.Context, l Location, ids ...string) {
	if s.cfg.Table == nil || s.cfg.Now().UnixNano() < s.away.Load() {
		s.Remember(l, ids...)
		return
	}
	written := make(chan error, len(ids))
	waiting := 0
	for _, id := range ids {
		hashed := hashID(id)
		if s.cache.add(hashed, l, s.cfg.Now()) {
			waiting++
			go func() { written <- s.insertOrEnqueue(context.WithoutCancel(ctx), entry{hashed, l}) }()
		}
	}
	limit := time.NewTimer(s.cfg.RecordTimeout)
	defer limit.Stop()
	for range waiting {
		select {
		case err := <-written:
			if err == nil {
				continue
			}
		case <-limit.C:
		}
		s.away.Store(s.cfg.Now().Add(awayPause).UnixNano())
		return
	}
}

// awayPause is how long Record does not wait for a table that did not answer.
const awayPause = 5 * time.Second

func (s *Store) insertOrEnqueue(ctx context.Context, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := s.insert(ctx, e)
	if err != nil {
		s.enqueue(e)
	}
	return err
}

// insert writes an id, unless the table has another owner for it: an owner is
// never replaced. That is no error.
func (s *Store) insert(ctx context.Context, e entry) error {
	s.traffic.Store(true)
	row := rowOf(e.id, e.location)
	_, _, err := s.cfg.Table.Put(ctx, row)
	if errors.Is(err, tablestore.ErrConflict) {
		err = s.resolve(ctx, e, row)
	} else if err == nil {
		s.cache.confirm(e.id, e.location)
	}
	return err
}

// resolve decides between an id and the row that the table has for it.
func (s *Store) resolve(ctx context.Context, e entry, row tablestore.Row) error {
	old, _, err := s.cfg.Table.Get(ctx, e.id.partition(), e.id.key())
	if errors.Is(err, tablestore.ErrNotFound) {
		_, _, err = s.cfg.Table.Put(ctx, row)
		return err
	}
	if err != nil {
		return err
	}
	l, ok := locationOf(old)
	if ok && !l.expired(s.cfg.Now()) {
		if e.location.Due == "" || l.Due != "" || l.Owner != e.location.Owner {
			s.cache.confirm(e.id, l)
			return nil
		}
		l.Due = e.location.Due
		e.location, row = l, rowOf(e.id, l)
	}
	row.Version = old.Version
	_, _, err = s.cfg.Table.Put(ctx, row)
	if err == nil {
		s.cache.confirm(e.id, e.location)
	}
	return err
}

// Claim records an id that is in no table and was found at a backend: for its
// owner, unless the table has another by now. The error is ErrOtherOwner, or
// wraps ErrUnavailable.
func (s *Store) Claim(ctx context.Context, l Location, id string) error {
	hashed := hashID(id)
	if s.cfg.Table == nil {
		s.cache.add(hashed, l, s.cfg.Now())
		_, _, err := s.fromCache(l.Owner, hashed)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	_, _, err := s.cfg.Table.Put(ctx, rowOf(hashed, l))
	switch {
	case err == nil:
		s.cache.confirm(hashed, l)
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
