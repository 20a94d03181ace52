package simulator

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Outcome is how a request ended, in one word.
type Outcome string

// The outcomes. An entry still under way has none.
const (
	Served       Outcome = "served"       // answered in full
	Throttled    Outcome = "throttled"    // 429
	Refused      Outcome = "refused"      // any other 4xx
	Failed       Outcome = "failed"       // 5xx
	Broken       Outcome = "broken"       // a fault spoiled the answer or the connection
	Disconnected Outcome = "disconnected" // the caller left before the end
)

// Entry is what the service knows of one request it received.
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
	Remote   string      `json:"remote"` // the caller's address and port: one per connection
	Header   http.Header `json:"header"` // hop-by-hop and repeated ones too

	Body       []byte `json:"body,omitempty"`
	BodySize   int    `json:"bodySize"`
	BodySHA256 string `json:"bodySha256,omitempty"` // in hex

	Stream           bool    `json:"stream"`
	EstimatedTokens  int     `json:"estimatedTokens"`
	PromptTokens     int     `json:"promptTokens"`
	CachedTokens     int     `json:"cachedTokens"`
	CompletionTokens int     `json:"completionTokens"` // generated until the end or the abort
	Utilization      float64 `json:"utilization"`      // percent of a provisioned deployment, this request included if it was admitted
	Admitted         bool    `json:"admitted"`         // past the limits
	SpilledFrom      string  `json:"spilledFrom,omitempty"`

	Fault          string      `json:"fault,omitempty"`   // the action that struck
	ErrorName      string      `json:"refusal,omitempty"` // short name, as in Fault.Action
	Status         int         `json:"status"`            // 0: no status line was sent
	RequestID      string      `json:"requestId"`
	Outcome        Outcome     `json:"outcome"`
	FirstContent   time.Time   `json:"firstContent,omitzero"` // when the first token was sent
	End            time.Time   `json:"end,omitzero"`
	Done           bool        `json:"done"`
	DisconnectedAt time.Time   `json:"leftAt,omitzero"` // when the caller was seen to have left
	ResponseHeader http.Header `json:"answer,omitempty"`
}

// Disconnected tells whether the caller left before the end.
func (e Entry) Disconnected() bool { return !e.DisconnectedAt.IsZero() }

// journal keeps the last entries and wakes who waits for one.
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

// add begins an entry, on arrival.
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

// update changes an entry under the journal's lock and wakes who waits for it.
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

// Journal is every kept entry in order of arrival, those under way included.
// An entry is settled before the last byte of its answer is sent, so who has
// the whole answer sees the whole entry.
func (s *Service) Journal() []Entry { return s.journal.snapshot("") }

// JournalOf is the journal of one resource.
func (s *Service) JournalOf(resource string) []Entry { return s.journal.snapshot(resource) }
