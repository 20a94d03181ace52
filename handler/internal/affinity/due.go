package affinity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"spillway/handler/internal/tablestore"
)

// TakeDue returns what takes what is due of owner's object: of all calls on all
// instances exactly one gets it. "" means that nothing is due, or no more. The error
// wraps ErrUnavailable, or ErrUnknown when the table knows of nothing due so far; after
// it take may be called again, but not by two at once.
func (s *Store) TakeDue(owner, id string) (take func(ctx context.Context) (due string, err error)) {
	return s.swapDue(owner, id, taken+rand.Text())
}

// ReplaceDue replaces what is due of owner's object. It reports false when nothing
// is, or no more. The error wraps ErrUnavailable.
func (s *Store) ReplaceDue(ctx context.Context, owner, id, due string) (bool, error) {
	old, err := s.swapDue(owner, id, due)(ctx)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return old != "", err
}

// swapDue returns what replaces what is due of owner's object by next, which no other
// call has, and returns what was due.
func (s *Store) swapDue(owner, id, next string) func(ctx context.Context) (due string, err error) {
	hashed, replaced := hashID(id), ""
	return func(ctx context.Context) (string, error) {
		if s.cfg.Table == nil {
			return s.cache.swapDue(owner, hashed, next), nil
		}
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		for {
			due, err := s.trySwapDue(ctx, owner, hashed, next, &replaced)
			if err == nil || errors.Is(err, ErrUnknown) {
				return due, err
			}
			if ctx.Err() != nil || !sleep(ctx, lookupRetryDelay) {
				return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
	}
}

// trySwapDue is one try of a swap, which has replaced that if an earlier try landed.
func (s *Store) trySwapDue(ctx context.Context, owner string, id hashedID, next string, replaced *string) (due string, err error) {
	row, err := s.dueRow(ctx, id)
	l, ok := locationOf(row)
	switch {
	case errors.Is(err, tablestore.ErrNotFound), err == nil && ok && l.Owner == owner && l.Due == "":
		return "", ErrUnknown
	case err != nil:
		return "", err
	case !ok || l.Owner != owner:
		return "", nil
	case l.Due == next: // a write whose answer was lost
		return *replaced, nil
	case !isDue(l.Due):
		return "", nil
	}
	*replaced, row.Columns[colDue] = l.Due, next
	if _, _, err = s.cfg.Table.Put(ctx, row); err != nil {
		return "", err
	}
	return *replaced, nil
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
