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

// Place is where something is, and whose it is.
type Place struct {
	Backend string
	Model   string // the pool that served, for requests that name no model
	Owner   string // the consumer; "" = anybody
	Made    time.Time
}

// What a look for an id can end in, besides a place. Tell them apart with
// errors.Is.
var (
	ErrUnknown     = errors.New("affinity: nobody here made this id")
	ErrForeign     = errors.New("affinity: the id is another consumer's")
	ErrUnavailable = errors.New("affinity: the table cannot be asked")
)

// Life is how long a backend keeps what it made (facts/azure-openai.md §1.2).
const Life = 30 * 24 * time.Hour

// of is the place as owner may see it.
func (p *Place) of(owner string) (Place, error) {
	if p.Owner != owner {
		return Place{}, ErrForeign
	}
	return *p, nil
}
