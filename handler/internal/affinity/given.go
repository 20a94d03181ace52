package affinity

import (
	"context"
	"errors"
	"sync"
	"time"
)

// LookupGiven is LookupAll for ids that callers may have made up, of which a request may
// name hundreds: one that nobody is known to have made costs one read, and none when it
// is named again within a minute. Of those that are in no memory, 4,096 are read; the
// error of the others wraps ErrUnavailable, and a repetition goes on with them.
func (s *Store) LookupGiven(ctx context.Context, owner string, ids []string) ([]Location, []error) {
	return s.lookupEach(ctx, owner, ids, maxGivenReads, func(id string) (l Location, final bool, err error) {
		hashed := hashID(id)
		l, final, err = s.fromCache(owner, hashed)
		return l, final || errors.Is(err, ErrUnknown) && s.unowned.has(hashed, s.cfg.Now()), err
	}, func(ctx context.Context, id string) (Location, error) {
		hashed := hashID(id)
		l, err := s.fromTable(ctx, owner, hashed)
		if errors.Is(err, ErrUnknown) {
			s.unowned.add(hashed, s.cfg.Now())
		}
		if known, _, knownErr := s.fromCache(owner, hashed); errors.Is(err, ErrUnavailable) && !errors.Is(knownErr, ErrUnknown) {
			return known, knownErr // made here, and not yet in the table
		}
		return l, err
	})
}

// maxGivenReads is how many ids of one LookupGiven are read from the table.
const maxGivenReads = 4096

// unowned are ids that were in no table a moment ago. Services make theirs at random: an
// id that is made meanwhile is none that a caller could have named before.
type unowned struct {
	mu    sync.Mutex
	until map[hashedID]time.Time
}

const (
	unownedFor = time.Minute
	maxUnowned = 1 << 15 // all are forgotten when there are more
)

func (u *unowned) has(id hashedID, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return now.Before(u.until[id])
}

func (u *unowned) add(id hashedID, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.until == nil || len(u.until) == maxUnowned {
		u.until = map[hashedID]time.Time{}
	}
	u.until[id] = now.Add(unownedFor)
}
