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

// ChangeFeed is how a [Cache] learns of changes.
type ChangeFeed interface {
	// NoteTraffic reports traffic, so that the feed is read regularly.
	NoteTraffic()
	// Read reads the feed now, and calls OnFeedRead.
	Read(ctx context.Context) bool
}

// Cache holds the valid keys as this instance last read them. Store and Feed are
// required; the feed must call OnFeedRead after each read. It is safe for
// concurrent use, and must not be copied.
type Cache struct {
	Store           tablestore.Store
	Feed            ChangeFeed
	RefreshInterval time.Duration    // between reads of the feed; 0 = 500 ms
	Now             func() time.Time // nil = time.Now
	OnError         func(error)      // called when keys cannot be read; nil = never

	current  atomic.Pointer[keySnapshot]
	lastUsed atomic.Int64 // time of the last Lookup, Unix ms
	idle     atomic.Bool  // no Lookup for idleAfter, and the feed was not read since
	stale    atomic.Bool  // the last read of the feed, or of the keys, failed

	mu        sync.Mutex
	loading   chan struct{} // closed when the running load of keys ends; nil = none is running
	checking  chan struct{} // closed when the running read of the feed ends; nil = none is running
	lastCheck time.Time     // start of the last one
	running   sync.WaitGroup
}

// keySnapshot is all keys at one stamp. It is immutable.
type keySnapshot struct {
	stamp       string
	readAt      time.Time
	byDigest    map[auth.Digest]cachedKey
	clockOffset time.Duration // table's clock minus ours
}

type cachedKey struct {
	storedKey
	digest   auth.Digest
	consumer string
}

// How long a snapshot is trusted without a read of the feed, and how long a
// request waits for one.
const (
	idleAfter      = time.Minute
	readTimeout    = time.Second
	maxSnapshotAge = time.Minute // keys are read this often whatever the stamp: a writer may die before it stamps
)

var _ auth.IssuedKeys = (*Cache)(nil)

// Lookup returns the key's consumer and id. The package comment says when it
// waits.
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
		if r.stale.Load() {
			return "", "", auth.ErrUnavailable // it may have been issued since
		}
		return "", "", auth.ErrUnknown
	}
	if k.expired(now.Add(snapshot.clockOffset)) {
		return "", "", auth.ErrExpired
	}
	return k.consumer, k.ID, nil
}

// WellFormed reports whether a text has the form of an issued key.
func (*Cache) WellFormed(key string) bool { return WellFormed(key) }

func (k *keySnapshot) get(digest auth.Digest) (cachedKey, bool) {
	if k == nil {
		return cachedKey{}, false
	}
	g, ok := k.byDigest[digest]
	return g, ok
}

// check waits for a read of the feed, shared by all callers, at most one per
// refresh.
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
		r.stale.Store(true) // until a read ends well
	}
}

// readFeed ends within readTimeout, whether or not anybody still waits for it.
func (r *Cache) readFeed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if !r.Feed.Read(ctx) {
		r.stale.Store(true)
	}
	r.idle.Store(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.checking)
	r.checking = nil
}

// Close waits for a running read of the feed.
func (r *Cache) Close() { r.running.Wait() }

// OnFeedRead receives the columns of the feed, and reads the keys when their
// stamp is new.
func (r *Cache) OnFeedRead(columns map[string]string, _ time.Time) {
	if !r.beginLoad(columns[stamp]) {
		r.stale.Store(false)
		return
	}
	defer r.endLoad()
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	rows, reply, err := r.Store.List(ctx, partition, "", "")
	r.stale.Store(err != nil)
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

// beginLoad reports whether the caller must read the keys for this stamp. It
// waits for a running load first.
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

// addRow adds one consumer's keys. An unreadable row has none, and affects no
// other.
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

// Len returns the number of known keys.
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
