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

// Notices is the board as the ring reads it.
type Notices interface {
	// NoteTraffic notes that there is traffic, so that the board is read.
	NoteTraffic()
	// Read reads the board now, and tells the ring through Heard.
	Read(ctx context.Context) bool
}

// Ring is the keys that this instance knows to be good. Store and Board are
// required; the board must tell Heard. It is safe for concurrent use, and must
// not be copied.
type Ring struct {
	Store   tablestore.Store
	Board   Notices
	Refresh time.Duration    // how often the board is read; 0 = 500 ms
	Now     func() time.Time // nil = time.Now
	Trouble func(error)      // told when keys cannot be read; nil = nobody

	known  atomic.Pointer[ring]
	used   atomic.Int64 // when a key was last asked for, Unix ms
	dozing atomic.Bool  // nobody had asked for long, and what is known has not been looked over since

	mu      sync.Mutex
	loading chan struct{} // closed when the reading of keys that is under way ends; nil = none is
	looking chan struct{} // closed when the look that is under way ends; nil = none is
	looked  time.Time     // when the last one began
	running sync.WaitGroup
}

// ring is the keys at one stamp. It is immutable.
type ring struct {
	stamp string
	read  time.Time
	by    map[auth.Digest]good
	ahead time.Duration // of the service's clock before ours
}

type good struct {
	stored
	digest   auth.Digest
	consumer string
}

// How long the ring may be left alone, and how long a request waits for it.
const (
	drowsy   = time.Minute
	patience = time.Second
	anyway   = time.Minute // keys are read this often whatever the stamp: its writer may have died before stamping
)

var _ auth.Ring = (*Ring)(nil)

// Find returns who has the key. See the package for when it waits.
func (r *Ring) Find(ctx context.Context, digest auth.Digest) (who, id string, err error) {
	r.Board.NoteTraffic()
	now := r.now()
	if now.UnixMilli()-r.used.Load() > drowsy.Milliseconds() {
		r.dozing.Store(true)
	}
	r.used.Store(now.UnixMilli())
	known := r.known.Load()
	_, ok := known.get(digest)
	if !ok || r.dozing.Load() {
		r.look(ctx)
		known = r.known.Load()
	}
	if known == nil {
		return "", "", auth.ErrUnavailable
	}
	k, ok := known.get(digest)
	if subtle.ConstantTimeCompare(k.digest[:], digest[:]) != 1 || !ok {
		return "", "", auth.ErrUnknown
	}
	if k.expired(now.Add(known.ahead)) {
		return "", "", auth.ErrExpired
	}
	return k.consumer, k.ID, nil
}

func (k *ring) get(digest auth.Digest) (good, bool) {
	if k == nil {
		return good{}, false
	}
	g, ok := k.by[digest]
	return g, ok
}

// look looks at the board, at most once per refresh, together with everybody
// else who wants to.
func (r *Ring) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.mu.Lock()
	under := r.looking
	if under == nil {
		now := r.now()
		if now.Sub(r.looked) < r.refresh() {
			r.mu.Unlock()
			return
		}
		r.looked, r.looking = now, make(chan struct{})
		under = r.looking
		r.running.Go(func() { r.lookUp(context.WithoutCancel(ctx)) })
	}
	r.mu.Unlock()
	select {
	case <-under:
	case <-ctx.Done():
	}
}

// lookUp ends by itself within its patience; those who wait need not stay.
func (r *Ring) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.Board.Read(ctx)
	r.dozing.Store(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.looking)
	r.looking = nil
}

// Close waits for a look that is under way.
func (r *Ring) Close() { r.running.Wait() }

// Heard is told what the board says. When the keys have a new stamp it reads
// them.
func (r *Ring) Heard(columns map[string]string, _ time.Time) {
	if !r.begin(columns[stamp]) {
		return
	}
	defer r.end()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, reply, err := r.Store.List(ctx, partition, "", "")
	if err != nil {
		r.trouble(err)
		return
	}
	next := &ring{stamp: columns[stamp], read: r.now(), by: map[auth.Digest]good{}}
	if !reply.Date.IsZero() {
		next.ahead = reply.Date.Add(500 * time.Millisecond).Sub(r.now())
	}
	for _, row := range rows {
		r.add(next, row)
	}
	r.known.Store(next)
}

// begin reports whether the keys must be read for this stamp, by the caller.
func (r *Ring) begin(stamp string) bool {
	for {
		known := r.known.Load()
		if known != nil && known.stamp == stamp && r.now().Sub(known.read) < anyway {
			return false
		}
		r.mu.Lock()
		under := r.loading
		if under == nil {
			r.loading = make(chan struct{})
		}
		r.mu.Unlock()
		if under == nil {
			return true
		}
		<-under
	}
}

func (r *Ring) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.loading)
	r.loading = nil
}

// add takes in one consumer's keys. A row that cannot be read has no keys, and
// harms no other.
func (r *Ring) add(next *ring, row tablestore.Row) {
	record, err := read(row)
	if err != nil {
		r.trouble(err)
		return
	}
	for _, s := range record.Keys {
		if d, ok := s.digest(); ok {
			next.by[d] = good{s, d, record.Consumer}
		}
	}
}

// Len is how many keys are known.
func (r *Ring) Len() int {
	if known := r.known.Load(); known != nil {
		return len(known.by)
	}
	return 0
}

func (r *Ring) trouble(err error) {
	if r.Trouble != nil {
		r.Trouble(err)
	}
}

func (r *Ring) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Ring) refresh() time.Duration {
	if r.Refresh <= 0 {
		return 500 * time.Millisecond
	}
	return r.Refresh
}
