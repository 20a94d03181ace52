package e2e_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	pooldoc "spillway/handler/internal/config/document"
	"spillway/handler/internal/health"
)

// tableHistory is what all table proxies of a fleet have seen: every write of the
// shared row that the table accepted, and which member read it when. It parses
// the stored format, independently of what the instances report.
type tableHistory struct {
	mu      sync.Mutex
	changed chan struct{}
	commits []commit        // in order of revision
	known   [][]adoption    // by member
	counts  []requestCounts // by member
	marked  time.Time
	again   []time.Time // by member: when the table first answered it since
}

// commit is one write of the shared row.
type commit struct {
	revision uint64
	at       time.Time // when the table had taken it
	by       int
	row      map[string]health.Record // all that it holds
	records  map[string]health.Record // those that differ from the write before; the zero record where a column has gone
}

// adoption is when a member first read a revision.
type adoption struct {
	revision uint64
	at       time.Time
}

// requestCounts counts exchanges that were asked for, by what they are about, and
// those answered.
type requestCounts struct{ reads, writes, stamps, board, quotas, answered int }

func (c requestCounts) sum() int { return c.reads + c.writes + c.stamps + c.board + c.quotas }

// plus is the sum with n times the other.
func (c requestCounts) plus(o requestCounts, n int) requestCounts {
	return requestCounts{c.reads + n*o.reads, c.writes + n*o.writes, c.stamps + n*o.stamps, c.board + n*o.board, c.quotas + n*o.quotas, c.answered + n*o.answered}
}

// exchange is one request to the table.
type exchange struct {
	member int
	method string
	url    string
	asked  []byte
	asking context.Context // done when whoever asked has given up
}

func newHistory(ways int) *tableHistory {
	return &tableHistory{changed: make(chan struct{}), known: make([][]adoption, ways), counts: make([]requestCounts, ways), again: make([]time.Time, ways)}
}

func (e *exchange) write() bool { return e.method != http.MethodGet }

// of reports whether the exchange is about a row of this kind: the fleet's is
// "fleet|", stamps are "agree|".
func (e *exchange) of(kind string) bool {
	return strings.Contains(e.url, kind+"%7C") || strings.Contains(e.url, kind+"|") || strings.Contains(string(e.asked), kind+"|")
}

func (h *tableHistory) began(e *exchange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.counts[e.member]
	switch {
	case e.of("fleet") && e.write():
		c.writes++
	case e.of("fleet"):
		c.reads++
	case e.of("agree"):
		c.stamps++
	case e.of("q"):
		c.quotas++
	default:
		c.board++
	}
}

// done notes what the table took.
func (h *tableHistory) done(e *exchange, status int) {
	if !e.write() || status >= 300 || !e.of("fleet") {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	revision, row := readRow(e.asked)
	at, _ := slices.BinarySearchFunc(h.commits, revision, func(c commit, revision uint64) int { return cmp.Compare(c.revision, revision) })
	h.commits = slices.Insert(h.commits, at, commit{revision: revision, at: time.Now(), by: e.member, row: row})
	for i := at; i < min(at+2, len(h.commits)); i++ { // the confirmation of the write before may arrive later than this one
		var before map[string]health.Record
		if i > 0 {
			before = h.commits[i-1].row
		}
		h.commits[i].records = changedRecords(before, h.commits[i].row)
	}
	h.wake()
}

// changedRecords are the records of a row that differ from those of the row before.
func changedRecords(before, after map[string]health.Record) map[string]health.Record {
	changed := map[string]health.Record{}
	for column, r := range after {
		if !r.Equal(before[column]) {
			changed[column] = r
		}
	}
	for column := range before {
		if _, ok := after[column]; !ok {
			changed[column] = health.Record{}
		}
	}
	return changed
}

// answered records what a member has read.
func (h *tableHistory) answered(e *exchange, r *reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.wake()
	now := time.Now()
	h.counts[e.member].answered++
	if h.again[e.member].IsZero() {
		h.again[e.member] = now
	}
	if r.status >= 300 || !e.of("fleet") {
		return
	}
	text := r.body
	if e.write() {
		text = e.asked
	}
	revision, _ := revisionOf(text)
	if known := h.known[e.member]; len(known) == 0 || known[len(known)-1].revision < revision {
		h.known[e.member] = append(known, adoption{revision, now})
	}
}

// mark begins to look for each member's next answer, and returns when.
func (h *tableHistory) mark() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.again)
	h.marked = time.Now()
	return h.marked
}

func (h *tableHistory) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// await waits until the condition holds; it is asked with the lock held.
func (h *tableHistory) await(ctx context.Context, holds func() bool) bool {
	for {
		h.mu.Lock()
		ok, changed := holds(), h.changed
		h.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// readAt is when the member read this revision or a later one. Called with
// the lock held.
func (h *tableHistory) readAt(member int, revision uint64) (time.Time, bool) {
	known := h.known[member]
	i := slices.IndexFunc(known, func(a adoption) bool { return a.revision >= revision })
	if i < 0 {
		return time.Time{}, false
	}
	return known[i].at, true
}

// first is the first commit after an instant of which the condition holds for
// a backend's record. Called with the lock held.
func (h *tableHistory) first(after time.Time, column string, holds func(health.Record) bool) (commit, bool) {
	for _, c := range h.commits {
		if r, ok := c.records[column]; ok && c.at.After(after) && holds(r) {
			return c, true
		}
	}
	return commit{}, false
}

// of are the commits that changed a column. Called with the lock held.
func (h *tableHistory) of(column string) []commit {
	return slices.DeleteFunc(slices.Clone(h.commits), func(c commit) bool { _, ok := c.records[column]; return !ok })
}

// circuitSince is since which commit a circuit was not closed, from an instant on.
type circuitSince struct {
	from  time.Time
	since commit
	shut  bool // else it is closed
}

// shutTimes are the changes of a backend's circuit, of the commits that changed its
// column.
func shutTimes(commits []commit, column string) []circuitSince {
	all := []circuitSince{{}}
	for i := range commits {
		c, next := &commits[i], all[len(all)-1]
		closed := c.records[column].Circuit.State == health.Closed
		if !next.shut && !closed {
			next.since = *c
		}
		next.from, next.shut = c.at, !closed
		all = append(all, next)
	}
	return all
}

// shutAt is what was so at an instant.
func shutAt(all []circuitSince, at time.Time) *circuitSince {
	after := sort.Search(len(all), func(i int) bool { return all[i].from.After(at) })
	return &all[after-1]
}

func revisionOf(row []byte) (uint64, map[string]any) {
	var columns map[string]any
	if json.Unmarshal(row, &columns) != nil {
		return 0, nil
	}
	text, _ := columns["rev"].(string)
	n, _ := strconv.ParseUint(text, 10, 64)
	return n, columns
}

func readRow(row []byte) (uint64, map[string]health.Record) {
	n, columns := revisionOf(row)
	records := map[string]health.Record{}
	for name, value := range columns {
		text, ok := value.(string)
		if !ok || !strings.HasPrefix(name, "s_") {
			continue
		}
		if r, err := health.Decode(text); err == nil {
			records[name] = r
		}
	}
	return n, records
}

// columnOf is where the shared row keeps the record of the tests' one model at
// an endpoint.
func columnOf(endpoint string) string { return columnOfModel(endpoint, "gpt-4o") }

func columnOfModel(endpoint, model string) string {
	sum := sha256.Sum256([]byte(pooldoc.Identity(&pooldoc.Backend{Endpoint: endpoint}, model, model)))
	return "s_" + hex.EncodeToString(sum[:10])
}
