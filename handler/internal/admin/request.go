package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Requests is the latest decisions of the answering instance, newest first.
type Requests struct {
	Instance string    `json:"instance"`
	Kept     int       `json:"kept"`
	Since    time.Time `json:"since"` // the oldest that is kept
	Requests []Request `json:"requests"`
}

// Request is the story of one request, with the reasoning behind it. Durations
// are in milliseconds. It holds no prompt, no answer and no credential.
type Request struct {
	ID        string          `json:"id"`
	Instance  string          `json:"instance"`
	At        time.Time       `json:"at"`
	Method    string          `json:"method"`
	Operation string          `json:"operation,omitempty"`
	Family    string          `json:"url,omitempty"`
	Consumer  string          `json:"consumer,omitempty"`
	Caller    string          `json:"caller,omitempty"`
	Key       string          `json:"key,omitempty"` // which of the consumer's
	Model     string          `json:"model,omitempty"`
	Fallback  string          `json:"fallbackModel,omitempty"`
	Stream    bool            `json:"stream,omitempty"`
	Status    int             `json:"status"`
	Code      string          `json:"code,omitempty"`
	Cause     string          `json:"cause,omitempty"`
	Backend   string          `json:"backend,omitempty"` // that served
	TotalMS   float64         `json:"totalMs"`
	FirstMS   float64         `json:"firstTokenMs,omitempty"`
	WaitedMS  float64         `json:"waitedMs,omitempty"`
	Finish    string          `json:"finish,omitempty"`
	Broken    bool            `json:"broken,omitempty"`
	Tokens    *TokensStatus   `json:"tokens,omitempty"`
	Cost      float64         `json:"cost,omitempty"`
	Currency  string          `json:"currency,omitempty"`
	Snapshot  uint64          `json:"stateVersion,omitempty"`
	Placed    []PlacedStatus  `json:"candidates,omitempty"`
	Attempts  []AttemptStatus `json:"attempts,omitempty"`
	Why       []string        `json:"why"` // the whole story in sentences
}

// TokensStatus is what the answer consumed, as its backend reported it.
type TokensStatus struct {
	Prompt     int64 `json:"prompt"`
	Cached     int64 `json:"cached"`
	Completion int64 `json:"completion"`
	Reasoning  int64 `json:"reasoning"`
}

// PlacedStatus is a candidate in the order of the decision, with the reason it
// was placed or passed over.
type PlacedStatus struct {
	Backend  string  `json:"backend"`
	Priority int     `json:"priority"`
	Place    int     `json:"place"` // in the line, from 1; 0 = passed over
	Reason   string  `json:"reason,omitempty"`
	LeftMS   float64 `json:"leftMs,omitempty"` // for how long the reason still held
}

// AttemptStatus is one request sent to one backend.
type AttemptStatus struct {
	Backend string  `json:"backend"`
	Verdict string  `json:"verdict"`
	Why     string  `json:"why,omitempty"`
	Status  int     `json:"status,omitempty"`
	Probe   bool    `json:"probe,omitempty"`
	TookMS  float64 `json:"tookMs"`
	WaitMS  float64 `json:"askedWaitMs,omitempty"`
}

// maxLast is how many decisions one answer tells of.
const maxLast = 200

func (o *Ops) requests(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if id := strings.TrimSpace(query.Get("id")); id != "" {
		o.oneRequest(w, id)
		return
	}
	last, err := strconv.Atoi(query.Get("last"))
	if err != nil || last < 1 {
		fail(w, http.StatusBadRequest, "invalid_query", fmt.Sprintf("Say which: ?id=REQUEST-ID, or ?last=N with N from 1 to %d.", maxLast))
		return
	}
	kept, since := o.cfg.Recent.kept()
	all := Requests{Instance: o.cfg.Instance, Kept: kept, Since: since.UTC(), Requests: []Request{}}
	for _, d := range o.cfg.Recent.find("", min(last, maxLast)) {
		all.Requests = append(all.Requests, o.story(&d))
	}
	answer(w, http.StatusOK, all)
}

// oneRequest tells who was asked even where nothing was found: behind one
// address the next try may reach the instance that knows.
func (o *Ops) oneRequest(w http.ResponseWriter, id string) {
	if found := o.cfg.Recent.find(id, 1); len(found) > 0 {
		answer(w, http.StatusOK, o.story(&found[0]))
		return
	}
	kept, since := o.cfg.Recent.kept()
	message := fmt.Sprintf("Not among the last %d decisions of %s. It may be older, or of another instance.", kept, o.cfg.Instance)
	answer(w, http.StatusNotFound, map[string]any{
		"error":    failure(http.StatusNotFound, "request_not_found", message),
		"instance": o.cfg.Instance, "kept": kept, "since": since.UTC(),
	})
}
