package quota

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/tablestore"
)

// OtherCallers is the name of the bucket that the callers of a consumer share who
// are more than its most active ones.
const OtherCallers = "others"

// callers are the callers of one consumer that has limits for each of them. Only
// those who called lately are kept, and only so many: their names are the callers'
// to invent. It is safe for concurrent use.
type callers struct {
	limits []limit
	most   int

	mu     sync.Mutex
	active map[string]*callerLimits // by key
	swept  time.Time
}

// callerLimits are the limits of one caller.
type callerLimits struct {
	key    string // in the table and in reports
	limits []*limitState
	last   time.Time // of the last request
}

// idleCaller is after which time a caller is forgotten. What it has used is in the
// table.
const idleCaller = 2 * time.Minute

// newCallers returns nil when the consumer has no limits for its callers.
func newCallers(c *consumer.Consumer) *callers {
	if c.PerCaller == nil {
		return nil
	}
	limits := limitsOf(c.PerCaller.Limits, "")
	if len(limits) == 0 {
		return nil
	}
	for i := range limits {
		limits[i].perCaller = true
	}
	return &callers{limits: limits, most: max(1, c.PerCaller.MaxActive), active: map[string]*callerLimits{}}
}

// equal reports whether callers have the same limits.
func (c *callers) equal(other *callers) bool {
	return c != nil && other != nil && c.most == other.most && slices.Equal(c.limits, other.limits)
}

// of returns the limits of a caller, or those of all others when too many are
// active.
func (l *Limiter) callerOf(ctx context.Context, c *consumer.Consumer, b *consumerLimits, name string) *callerLimits {
	return l.callerByKey(c, b, l.callerKey.of(ctx, l, c.Name, name))
}

// callerByKey is callerOf for a name that was hashed.
func (l *Limiter) callerByKey(c *consumer.Consumer, b *consumerLimits, key string) *callerLimits {
	now := l.now()
	b.callers.mu.Lock()
	defer b.callers.mu.Unlock()
	known := b.callers.active[key]
	if known == nil {
		b.callers.sweep(now)
		if len(b.callers.active) >= b.callers.most {
			key = OtherCallers
		}
	}
	if known = b.callers.active[key]; known == nil {
		known = &callerLimits{key: key}
		for _, lim := range b.callers.limits {
			known.limits = append(known.limits, l.newCallerState(c.Name, key, lim))
		}
		b.callers.active[key] = known
	}
	known.last = now
	return known
}

// newCallerState is one limit of a caller. It is in one row, and not in the change
// feed, whose size must not depend on how many callers there are.
func (l *Limiter) newCallerState(consumerName, key string, lim limit) *limitState {
	e := l.newLimitState(consumerName, lim, 1, l.id)
	e.partition, e.caller, e.columns = callerPartition(consumerName), key, nil
	return e
}

func callerPartition(consumerName string) string { return "c|" + tablestore.EncodeKey(consumerName) }

// sweep forgets the callers that have been idle, at most once a second. The caller
// holds mu.
func (c *callers) sweep(now time.Time) {
	if now.Sub(c.swept) < time.Second {
		return
	}
	c.swept = now
	for key, x := range c.active {
		if now.Sub(x.last) >= idleCaller && x.quiet() {
			delete(c.active, key)
		}
	}
}

// quiet reports whether nothing is owed to the table, nor waited for.
func (x *callerLimits) quiet() bool {
	for _, e := range x.limits {
		e.mu.Lock()
		quiet := e.account.Quiet() && !e.running && e.inUse == 0
		e.mu.Unlock()
		if !quiet {
			return false
		}
	}
	return true
}

// known returns the limits of a caller that is active, of the others, or none.
func (l *Limiter) known(b *consumerLimits, consumerName, name string) []*limitState {
	if b.callers == nil {
		return nil
	}
	key := l.callerKey.known(consumerName, name)
	b.callers.mu.Lock()
	defer b.callers.mu.Unlock()
	for _, k := range [...]string{key, OtherCallers} {
		if x := b.callers.active[k]; x != nil {
			return x.limits
		}
	}
	return nil
}

// all lists the limits of the active callers.
func (c *callers) all() []*limitState {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*limitState
	for _, x := range c.active {
		all = append(all, x.limits...)
	}
	return all
}

// callerKey hashes the names of callers, which are people: the table, the logs and
// the reports never hold them. The key of the hash is random and in the table, so
// that all instances have the same. Until it could be read, each has its own.
type callerKey struct {
	mu     sync.Mutex
	key    []byte
	shared bool      // key is that of the table
	next   time.Time // no attempt to read it before
}

// The place of the key in the table.
const (
	callerKeyPartition = "c"
	callerKeyRow       = "key"
	callerKeyColumn    = "k"
	callerKeyRetry     = 5 * time.Second
)

// of is the hash of a caller's name. It waits for the table at most once in
// callerKeyRetry.
func (k *callerKey) of(ctx context.Context, l *Limiter, consumerName, name string) string {
	k.mu.Lock()
	if now := l.now(); !k.shared && !now.Before(k.next) {
		k.load(ctx, l)
		k.next = l.now().Add(callerKeyRetry)
	}
	if k.key == nil {
		k.key = []byte(rand.Text())
	}
	k.mu.Unlock()
	return k.known(consumerName, name)
}

// known is of without reading the key.
func (k *callerKey) known(consumerName, name string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte(consumerName + "\x00" + name))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// load reads the key, or makes it when there is none.
func (k *callerKey) load(ctx context.Context, l *Limiter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if key, err := tablestore.Secret(ctx, l.cfg.Store, callerKeyPartition, callerKeyRow, callerKeyColumn); err == nil {
		k.key, k.shared = []byte(key), true
	}
}
