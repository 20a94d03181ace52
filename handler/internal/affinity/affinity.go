// Package affinity remembers which backend made what callers may come back
// for: responses, their items, conversations (design.md §7.2). What this
// instance made it knows from memory; what others made, from the table. An id
// belongs to the consumer that made it.
//
// It knows no backend and no protocol. Writing waits for nothing; a look into
// the table is one of the two waits that a request may bear.
package affinity

import (
	"errors"
	"time"
)

// Location is where something is, and whose it is.
type Location struct {
	Backend   string
	Model     string // the pool that served, for requests that name no model
	Owner     string // the consumer; "" = anybody
	CreatedAt time.Time
}

// What a look for an id can end in, besides a place. Tell them apart with
// errors.Is.
var (
	ErrUnknown     = errors.New("affinity: nobody here made this id")
	ErrOtherOwner  = errors.New("affinity: the id is another consumer's")
	ErrUnavailable = errors.New("affinity: the table cannot be asked")
)

// Retention is how long a backend keeps what it made (facts/azure-openai.md §1.2).
const Retention = 30 * 24 * time.Hour

// visibleTo is the place as owner may see it.
func (p *Location) visibleTo(owner string) (Location, error) {
	if p.Owner != owner {
		return Location{}, ErrOtherOwner
	}
	return *p, nil
}
