// Package overload keeps the memory that requests hold within a budget, and shares
// it out among consumers. Who is refused sends the request again; a process that
// runs out of memory breaks off everybody's.
package overload

import (
	"errors"
	"sync"
)

// ErrOverloaded is a request for memory that the budget does not have, or that
// others have a better claim to.
var ErrOverloaded = errors.New("overload: no memory is left for this request")

// RequestSize is what a request holds besides its buffers: two connections with
// their buffers, and the stacks of their goroutines.
const RequestSize = 60 << 10

// claim is how often a consumer may hold what is left for all. So the heaviest is
// refused first; one alone has four fifths of the budget, each of two heavy ones four
// ninths, and something is left for whoever comes.
const claim = 4

// Budget is the memory that the requests of an instance may hold together. A nil
// Budget has no bound. It is safe for concurrent use; its fields are set before the
// first request.
type Budget struct {
	Limit int64 // bytes
	// Short reports whether memory is short whatever was counted here: then consumers
	// that hold an even share or more are refused. nil = it never is.
	Short func() bool

	mu   sync.Mutex
	used int64
	held map[string]int64 // by consumer, of those that hold anything
}

// Largest is the most that one request can hold.
func (b *Budget) Largest() int64 { return b.Limit / (claim + 1) * claim }

// Used is how many bytes are held.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Open begins a request of a consumer. m must be closed once Open has not failed.
func (b *Budget) Open(m *Memory, consumer string) error {
	m.budget, m.consumer = b, consumer
	return m.Grow(RequestSize)
}

// Memory is what one request holds. A nil Memory, and the zero Memory, are of no
// budget, and always grow. It is safe for concurrent use.
type Memory struct {
	budget   *Budget
	consumer string

	bytes  int64 // guarded by budget.mu
	closed bool  // guarded by budget.mu
}

// Grow is called before n more bytes are allocated. With [ErrOverloaded] they must
// not be.
func (m *Memory) Grow(n int64) error {
	if m == nil || m.budget == nil {
		return nil
	}
	b := m.budget
	short := b.Short != nil && b.Short()
	b.mu.Lock()
	defer b.mu.Unlock()
	own, left := b.held[m.consumer]+n, b.Limit-b.used-n
	if own > claim*left || short && own*int64(len(b.held)) >= b.used {
		return ErrOverloaded
	}
	m.add(n)
	return nil
}

// Charge is Grow for what cannot be refused any more: it may exceed the budget, and
// keeps others from growing.
func (m *Memory) Charge(n int64) { m.locked(func() { m.add(n) }) }

// Shrink is called when n bytes are not used any more; after Close it does nothing.
func (m *Memory) Shrink(n int64) { m.locked(func() { m.add(-n) }) }

// Close ends the request: it holds nothing any more.
func (m *Memory) Close() {
	m.locked(func() {
		m.add(-m.bytes)
		m.closed = true
	})
}

func (m *Memory) locked(do func()) {
	if m != nil && m.budget != nil {
		m.budget.mu.Lock()
		defer m.budget.mu.Unlock()
		do()
	}
}

// add adds n, which may be negative, to what is held. The caller holds mu.
func (m *Memory) add(n int64) {
	if m.closed || n == 0 {
		return
	}
	b := m.budget
	m.bytes += n
	b.used += n
	if b.held == nil {
		b.held = map[string]int64{}
	}
	if b.held[m.consumer] += n; b.held[m.consumer] <= 0 {
		delete(b.held, m.consumer)
	}
}
