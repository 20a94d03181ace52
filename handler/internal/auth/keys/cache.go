package keys

import (
	"context"
	"crypto/subtle"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/tablestore"
)

// ChangeFeed is the board as the ring reads it.
type ChangeFeed interface {
	// NoteTraffic notes that there is traffic, so that the board is read.
	NoteTraffic()
	// Read reads the board now, and tells the ring through Heard.
	Read(ctx context.Context) bool
}

// Cache is the keys that this instance knows to be good. Store and Board are
// required; the board must tell Heard. It is safe for concurrent use, and must
// not be copied.
type Cache struct {
	Store           tablestore.Store
	Feed            ChangeFeed
	RefreshInterval time.Duration    // how often the board is read; 0 = 500 ms
	Now             func() time.Time // nil = time.Now
	OnError         func(error)      // told when keys cannot be read; nil = nobody

	current  atomic.Pointer[keySnapshot]
	lastUsed atomic.Int64 // when a key was last asked for, Unix ms
	idle     atomic.Bool  // nobody had asked for long, and what is known has not been looked over since

	mu        sync.Mutex
	loading   chan struct{} // closed when the reading of keys that is under way ends; nil = none is
	checking  chan struct{} // closed when the look that is under way ends; nil = none is
	lastCheck time.Time     // when the last one began
	running   sync.WaitGroup
}

// keySnapshot is the keys at one stamp. It is immutable.
type keySnapshot struct {
	stamp       string
	readAt      time.Time
	byDigest    map[auth.Digest]cachedKey
	clockOffset time.Duration // of the service's clock before ours
}

type cachedKey struct {
	storedKey
	digest   auth.Digest
	consumer string
}

// How long the ring may be left alone, and how long a request waits for it.
const (
	idleAfter      = time.Minute
	readTimeout    = time.Second
	maxSnapshotAge = time.Minute // keys are read this often whatever the stamp: its writer may have died before stamping
)

var _ auth.IssuedKeys = (*Cache)(nil)

// Lookup returns who has the key. See the package for when it waits.
func (r *Cache) Lookup(ctx context.Context, digest auth.Digest) (consumer, id string, err error) {
	r.Feed.NoteTraffic()
	now := r.now()
	if now.UnixMilli()-r.lastUsed.Load() > idleAfter.Milliseconds() {
		r.idle.Store(true)
	}
	r.lastUsed.Store(now.UnixMilli())
	snapshot := r.current.Load()
	_, ok := snapshot.get(digest)
	if !ok || r.idle.Load() {
		r.check(ctx)
		snapshot = r.current.Load()
	}
	if snapshot == nil {
		return "", "", auth.ErrUnavailable
	}
	k, ok := snapshot.get(digest)
	if subtle.ConstantTimeCompare(k.digest[:], digest[:]) != 1 || !ok {
		return "", "", auth.ErrUnknown
	}
	if k.expired(now.Add(snapshot.clockOffset)) {
		return "", "", auth.ErrExpired
	}
	return k.consumer, k.ID, nil
}

func (k *keySnapshot) get(digest auth.Digest) (cachedKey, bool) {
	if k == nil {
		return cachedKey{}, false
	}
	g, ok := k.byDigest[digest]
	return g, ok
}

// check looks at the board, at most once per refresh, together with everybody
// else who wants to.
func (r *Cache) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r.mu.Lock()
	inFlight := r.checking
	if inFlight == nil {
		now := r.now()
		if now.Sub(r.lastCheck) < r.interval() {
			r.mu.Unlock()
			return
		}
		r.lastCheck, r.checking = now, make(chan struct{})
		inFlight = r.checking
		r.running.Go(func() { r.readFeed(context.WithoutCancel(ctx)) })
	}
	r.mu.Unlock()
	select {
	case <-inFlight:
	case <-ctx.Done():
	}
}

// readFeed ends by itself within its patience; those who wait need not stay.
func (r *Cache) readFeed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r.Feed.Read(ctx)
	r.idle.Store(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.checking)
	r.checking = nil
}

// Close waits for a look that is under way.
func (r *Cache) Close() { r.running.Wait() }

// OnFeedRead is told what the board says. When the keys have a new stamp it reads
// them.
func (r *Cache) OnFeedRead(columns map[string]string, _ time.Time) {
	if !r.beginLoad(columns[stamp]) {
		return
	}
	defer r.endLoad()
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	rows, reply, err := r.Store.List(ctx, partition, "", "")
	if err != nil {
		r.reportError(err)
		return
	}
	next := &keySnapshot{stamp: columns[stamp], readAt: r.now(), byDigest: map[auth.Digest]cachedKey{}}
	if !reply.Date.IsZero() {
		next.clockOffset = reply.Date.Add(500 * time.Millisecond).Sub(r.now())
	}
	for _, row := range rows {
		r.addRow(next, row)
	}
	r.current.Store(next)
}

// beginLoad reports whether the keys must be read for this stamp, by the caller.
func (r *Cache) beginLoad(stamp string) bool {
	for {
		snapshot := r.current.Load()
		if snapshot != nil && snapshot.stamp == stamp && r.now().Sub(snapshot.readAt) < maxSnapshotAge {
			return false
		}
		r.mu.Lock()
		inFlight := r.loading
		if inFlight == nil {
			r.loading = make(chan struct{})
		}
		r.mu.Unlock()
		if inFlight == nil {
			return true
		}
		<-inFlight
	}
}

func (r *Cache) endLoad() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.loading)
	r.loading = nil
}

// addRow takes in one consumer's keys. A row that cannot be read has no keys, and
// harms no other.
func (r *Cache) addRow(next *keySnapshot, row tablestore.Row) {
	record, err := parseRow(row)
	if err != nil {
		r.reportError(err)
		return
	}
	for _, s := range record.Keys {
		if d, ok := s.digest(); ok {
			next.byDigest[d] = cachedKey{s, d, record.Consumer}
		}
	}
}

// Len is how many keys are known.
func (r *Cache) Len() int {
	if snapshot := r.current.Load(); snapshot != nil {
		return len(snapshot.byDigest)
	}
	return 0
}

func (r *Cache) reportError(err error) {
	if r.OnError != nil {
		r.OnError(err)
	}
}

func (r *Cache) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Cache) interval() time.Duration {
	if r.RefreshInterval <= 0 {
		return 500 * time.Millisecond
	}
	return r.RefreshInterval
}
