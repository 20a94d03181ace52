package simulator

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Outcome is how a request ended.
type Outcome string

// The outcomes. An unfinished entry has none.
const (
	Served       Outcome = "served"       // answered in full
	Throttled    Outcome = "throttled"    // 429
	Refused      Outcome = "refused"      // any other 4xx
	Failed       Outcome = "failed"       // 5xx
	Broken       Outcome = "broken"       // a fault broke the response or the connection
	Disconnected Outcome = "disconnected" // the client left before the end
)

// Entry is the record of one request.
type Entry struct {
	Seq        uint64    `json:"seq"` // order of arrival, from 1
	Time       time.Time `json:"time"`
	Resource   string    `json:"resource"`
	Deployment string    `json:"deployment"`
	Operation  string    `json:"operation"`

	Proto    string      `json:"proto"`
	Method   string      `json:"method"`
	Host     string      `json:"host"`
	Path     string      `json:"path"` // escaped, as received
	RawQuery string      `json:"rawQuery"`
	Remote   string      `json:"remote"` // the client's address and port: one per connection
	Header   http.Header `json:"header"` // with hop-by-hop and repeated ones

	Body       []byte `json:"body,omitempty"`
	BodySize   int    `json:"bodySize"`
	BodySHA256 string `json:"bodySha256,omitempty"` // in hex

	Stream           bool    `json:"stream"`
	EstimatedTokens  int     `json:"estimatedTokens"`
	PromptTokens     int     `json:"promptTokens"`
	CachedTokens     int     `json:"cachedTokens"`
	CompletionTokens int     `json:"completionTokens"` // generated until the end or the abort
	Utilization      float64 `json:"utilization"`      // percent of a provisioned deployment, this request included if it was admitted
	Admitted         bool    `json:"admitted"`         // within the limits
	SpilledFrom      string  `json:"spilledFrom,omitempty"`

	Fault          string      `json:"fault,omitempty"`   // the action that was applied
	ErrorName      string      `json:"refusal,omitempty"` // short name, as in Fault.Action
	Status         int         `json:"status"`            // 0: no status line was sent
	RequestID      string      `json:"requestId"`
	Outcome        Outcome     `json:"outcome"`
	FirstContent   time.Time   `json:"firstContent,omitzero"` // when the first token was sent
	End            time.Time   `json:"end,omitzero"`
	Done           bool        `json:"done"`
	DisconnectedAt time.Time   `json:"leftAt,omitzero"` // when the client left
	ResponseHeader http.Header `json:"answer,omitempty"`
}

// Disconnected reports whether the client left before the end.
func (e Entry) Disconnected() bool { return !e.DisconnectedAt.IsZero() }

// journal keeps the last entries and notifies waiters.
type journal struct {
	keep int

	mu      sync.Mutex
	entries []*Entry
	waiters []*waiter
	counts  map[countKey]*Count
}

func newJournal(keep int) *journal {
	return &journal{keep: keep, counts: map[countKey]*Count{}}
}

func (j *journal) keepsBodies() bool { return j.keep >= 0 }

// add adds an entry, on arrival.
func (j *journal) add(e *Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.notify(e)
	if j.keep < 0 {
		return
	}
	if j.keep > 0 && len(j.entries) >= 2*j.keep {
		j.entries = slices.Clone(j.entries[len(j.entries)-j.keep:])
	}
	j.entries = append(j.entries, e)
}

// update changes an entry under the journal's lock and notifies waiters.
func (j *journal) update(e *Entry, change func(*Entry)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := e.Done
	change(e)
	if e.Done && !before {
		j.count(e)
	}
	j.notify(e)
}

func (j *journal) snapshot(resource string) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Entry
	for _, e := range j.kept() {
		if resource == "" || e.Resource == resource {
			out = append(out, *e)
		}
	}
	return out
}

func (j *journal) kept() []*Entry {
	if j.keep > 0 && len(j.entries) > j.keep {
		return j.entries[len(j.entries)-j.keep:]
	}
	return j.entries
}

func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
	clear(j.counts)
}

// Journal is every kept entry in order of arrival, unfinished ones included. An
// entry is finished before the last byte of its response is sent, so a client that
// has the whole response finds the whole entry.
func (s *Service) Journal() []Entry { return s.journal.snapshot("") }

// JournalOf is the journal of one resource.
func (s *Service) JournalOf(resource string) []Entry { return s.journal.snapshot(resource) }

// waiter is a WaitJournal that blocks.
type waiter struct {
	match func(Entry) bool
	found chan Entry
}

// notify sends an entry to every waiter that it matches. The caller holds the lock.
func (j *journal) notify(e *Entry) {
	if len(j.waiters) == 0 {
		return
	}
	rest := j.waiters[:0]
	for _, w := range j.waiters {
		if w.match(*e) {
			w.found <- *e
			continue
		}
		rest = append(rest, w)
	}
	j.waiters = rest
}

// WaitJournal waits until an entry matches, a kept one or a later one, and returns
// it as it was then. match must return at once and must not call the service. The
// error is the context's.
func (s *Service) WaitJournal(ctx context.Context, match func(Entry) bool) (Entry, error) {
	w := &waiter{match: match, found: make(chan Entry, 1)}
	if e, ok := s.journal.addWaiter(w); ok {
		return e, nil
	}
	select {
	case e := <-w.found:
		return e, nil
	case <-ctx.Done():
		s.journal.removeWaiter(w)
		return Entry{}, fmt.Errorf("wait for a journal entry: %w", ctx.Err())
	}
}

// WaitArrival waits until a resource has received n requests.
func (s *Service) WaitArrival(ctx context.Context, resource string, n int) (Entry, error) {
	seen := map[uint64]bool{}
	return s.WaitJournal(ctx, func(e Entry) bool {
		if e.Resource == resource {
			seen[e.Seq] = true
		}
		return len(seen) >= n && e.Resource == resource
	})
}

// WaitDisconnect waits until a client of the resource has left.
func (s *Service) WaitDisconnect(ctx context.Context, resource string) (Entry, error) {
	return s.WaitJournal(ctx, func(e Entry) bool {
		return e.Resource == resource && e.Disconnected() && e.Done
	})
}

func (j *journal) addWaiter(w *waiter) (Entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.kept() {
		if w.match(*e) {
			return *e, true
		}
	}
	j.waiters = append(j.waiters, w)
	return Entry{}, false
}

func (j *journal) removeWaiter(w *waiter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, other := range j.waiters {
		if other == w {
			j.waiters = append(j.waiters[:i], j.waiters[i+1:]...)
			return
		}
	}
}

type countKey struct {
	resource, deployment string
}

// Count sums the finished requests of one deployment, whatever the journal keeps.
type Count struct {
	Resource         string          `json:"resource"`
	Deployment       string          `json:"deployment"`
	Requests         int             `json:"requests"`
	Outcomes         map[Outcome]int `json:"outcomes"`
	Statuses         map[int]int     `json:"statuses"`
	PromptTokens     int             `json:"promptTokens"`
	CachedTokens     int             `json:"cachedTokens"`
	CompletionTokens int             `json:"completionTokens"`
}

// count adds a finished entry. The caller holds the lock.
func (j *journal) count(e *Entry) {
	key := countKey{e.Resource, e.Deployment}
	c := j.counts[key]
	if c == nil {
		c = &Count{Resource: e.Resource, Deployment: e.Deployment, Outcomes: map[Outcome]int{}, Statuses: map[int]int{}}
		j.counts[key] = c
	}
	c.Requests++
	c.Outcomes[e.Outcome]++
	c.Statuses[e.Status]++
	c.PromptTokens += e.PromptTokens
	c.CachedTokens += e.CachedTokens
	c.CompletionTokens += e.CompletionTokens
}

// Counts are the sums over finished requests by resource and deployment ("" where
// none was named or known), sorted.
func (s *Service) Counts() []Count {
	j := s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Count, 0, len(j.counts))
	for _, c := range j.counts {
		sum := *c
		sum.Outcomes, sum.Statuses = maps.Clone(c.Outcomes), maps.Clone(c.Statuses)
		out = append(out, sum)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return strings.Compare(a.Resource+"/"+a.Deployment, b.Resource+"/"+b.Deployment)
	})
	return out
}
