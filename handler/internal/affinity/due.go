package affinity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"spillway/handler/internal/tablestore"
)

// RecordDue is Record for an object with Location.Due, which is added to its row.
// What was due before, or has been taken, stays.
func (s *Store) RecordDue(ctx context.Context, l Location, id string) {
	hashed := hashID(id)
	if s.cfg.Table == nil {
		s.cache.add(hashed, l, s.cfg.Now())
		s.cache.setDue(l.Owner, hashed, l.Due)
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = s.insertOrEnqueue(context.WithoutCancel(ctx), entry{hashed, l}) // what failed waits in the queue
	}()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.RecordTimeout)
	defer cancel()
	select {
	case <-written:
	case <-bounded.Done():
	}
}

// TakeDue returns what is due of owner's object, and takes it: of all calls on all
// instances exactly one gets it. "" means that nothing is due, or no more. The error
// wraps ErrUnavailable.
func (s *Store) TakeDue(ctx context.Context, owner, id string) (string, error) {
	hashed := hashID(id)
	if s.cfg.Table == nil {
		return s.cache.takeDue(owner, hashed), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	mine := taken + rand.Text()
	due := ""
	for {
		row, _, err := s.cfg.Table.Get(ctx, hashed.partition(), hashed.key())
		l, ok := locationOf(row)
		switch {
		case errors.Is(err, tablestore.ErrNotFound), err == nil && (!ok || l.Owner != owner || l.Due == ""):
			return "", nil
		case err == nil && l.Due == mine:
			return due, nil // a write whose answer was lost
		case err == nil && strings.HasPrefix(l.Due, taken):
			return "", nil
		case err == nil:
			due, row.Columns = l.Due, map[string]string{colDue: mine} // merged into the row
			if _, _, err = s.cfg.Table.Put(ctx, row); err == nil {
				return due, nil
			}
		}
		if ctx.Err() != nil || !sleep(ctx, lookupRetryDelay) {
			return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// taken begins the column of a row whose due was taken. The rest is whose write it
// was.
const taken = "taken "

func withoutTaken(due string) string {
	if strings.HasPrefix(due, taken) {
		return ""
	}
	return due
}
