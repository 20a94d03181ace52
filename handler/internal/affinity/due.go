package affinity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"spillway/handler/internal/tablestore"
)

// TakeDue returns what is due of owner's object, and takes it: of all calls on all
// instances exactly one gets it. "" means that nothing is due, or no more. The error
// wraps ErrUnavailable.
func (s *Store) TakeDue(ctx context.Context, owner, id string) (string, error) {
	return s.swapDue(ctx, owner, id, taken+rand.Text())
}

// ReplaceDue replaces what is due of owner's object. It reports false when nothing
// is, or no more. The error wraps ErrUnavailable.
func (s *Store) ReplaceDue(ctx context.Context, owner, id, due string) (bool, error) {
	old, err := s.swapDue(ctx, owner, id, due)
	return old != "", err
}

// swapDue replaces what is due of owner's object by next, which no other call has,
// and returns what was due.
func (s *Store) swapDue(ctx context.Context, owner, id, next string) (string, error) {
	hashed := hashID(id)
	if s.cfg.Table == nil {
		return s.cache.swapDue(owner, hashed, next), nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	due := ""
	for {
		row, err := s.dueRow(ctx, hashed)
		l, ok := locationOf(row)
		switch {
		case errors.Is(err, tablestore.ErrNotFound), err == nil && (!ok || l.Owner != owner):
			return "", nil
		case err == nil && l.Due == next:
			return due, nil // a write whose answer was lost
		case err == nil && !isDue(l.Due):
			return "", nil
		case err == nil:
			due, row.Columns[colDue] = l.Due, next
			if _, _, err = s.cfg.Table.Put(ctx, row); err == nil {
				return due, nil
			}
		}
		if ctx.Err() != nil || !sleep(ctx, lookupRetryDelay) {
			return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// dueRow is the row of an object, or of one that this instance has not yet written:
// who inserts it first decides, the writer or who takes what is due.
func (s *Store) dueRow(ctx context.Context, id hashedID) (tablestore.Row, error) {
	row, _, err := s.cfg.Table.Get(ctx, id.partition(), id.key())
	if errors.Is(err, tablestore.ErrNotFound) {
		if l, confirmed, ok := s.cache.get(id); ok && !confirmed && !l.expired(s.cfg.Now()) {
			return rowOf(id, l), nil
		}
	}
	return row, err
}

// taken begins the column of a row whose due was taken. The rest is whose write it
// was.
const taken = "taken "

func isDue(due string) bool { return due != "" && !strings.HasPrefix(due, taken) }
