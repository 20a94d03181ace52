package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/proxy"
)

// Requests is the latest requests of the answering instance, newest first.
type Requests struct {
	Instance string    `json:"instance"`
	Kept     int       `json:"kept"`
	Since    time.Time `json:"since"` // the oldest that is kept
	Requests []Request `json:"requests"`
}

// Request is one request and why it went to its backend. Durations are in
// milliseconds. It holds no prompt, no response body and no credential.
type Request struct {
	ID           string            `json:"id"`
	Instance     string            `json:"instance"`
	At           time.Time         `json:"at"`
	Method       string            `json:"method"`
	Operation    string            `json:"operation,omitempty"`
	Family       string            `json:"url,omitempty"`
	Consumer     string            `json:"consumer,omitempty"`
	Caller       string            `json:"caller,omitempty"`
	Key          string            `json:"key,omitempty"` // the id of the consumer's key
	Model        string            `json:"model,omitempty"`
	Fallback     string            `json:"fallbackModel,omitempty"`
	Stream       bool              `json:"stream,omitempty"`
	Status       int               `json:"status"`
	Code         string            `json:"code,omitempty"`
	Cause        string            `json:"cause,omitempty"`
	Backend      string            `json:"backend,omitempty"` // that served
	TotalMS      float64           `json:"totalMs"`
	FirstMS      float64           `json:"firstTokenMs,omitempty"`
	WaitedMS     float64           `json:"waitedMs,omitempty"`
	Finish       string            `json:"finish,omitempty"`
	Broken       bool              `json:"broken,omitempty"`
	Tokens       *TokensStatus     `json:"tokens,omitempty"`
	Cost         float64           `json:"cost,omitempty"`
	Currency     string            `json:"currency,omitempty"`
	StateVersion uint64            `json:"stateVersion,omitempty"`
	Candidates   []CandidateStatus `json:"candidates,omitempty"`
	Attempts     []AttemptStatus   `json:"attempts,omitempty"`
	Why          []string          `json:"why"` // the explanation, in sentences
}

// TokensStatus is the tokens of the request, as its backend reported them.
type TokensStatus struct {
	Prompt     int64 `json:"prompt"`
	Cached     int64 `json:"cached"`
	Completion int64 `json:"completion"`
	Reasoning  int64 `json:"reasoning"`
}

// CandidateStatus is a candidate in the order of the decision.
type CandidateStatus struct {
	Backend  string  `json:"backend"`
	Priority int     `json:"priority"`
	Position int     `json:"place"` // in the order of attempts, from 1; 0 = skipped
	Reason   string  `json:"reason,omitempty"`
	Cause    string  `json:"cause,omitempty"`  // of a circuit: what opened it; of an operation: what the backend said
	Own      bool    `json:"own,omitempty"`    // that circuit bound the instance alone
	LeftMS   float64 `json:"leftMs,omitempty"` // for which the reason was to hold
}

// AttemptStatus is one request sent to one backend.
type AttemptStatus struct {
	Backend  string  `json:"backend"`
	Verdict  string  `json:"verdict"`
	Why      string  `json:"why,omitempty"`
	Status   int     `json:"status,omitempty"`
	Probe    bool    `json:"probe,omitempty"`
	Trial    bool    `json:"trial,omitempty"`  // its circuit was open, and no other backend was left
	Repeat   bool    `json:"repeat,omitempty"` // it had failed this request before
	Hedge    bool    `json:"hedge,omitempty"`  // because another attempt was late
	Silent   bool    `json:"silent,omitempty"` // no content for SilentMS
	SilentMS float64 `json:"silentAfterMs,omitempty"`
	TookMS   float64 `json:"tookMs"`
	WaitMS   float64 `json:"askedWaitMs,omitempty"`
}

// maxListed bounds the requests of one response.
const maxListed = 200

func (o *Handler) serveRequests(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if id := strings.TrimSpace(query.Get("id")); id != "" {
		o.serveRequest(w, id)
		return
	}
	last, err := strconv.Atoi(query.Get("last"))
	if err != nil || last < 1 {
		writeError(w, http.StatusBadRequest, "invalid_query", fmt.Sprintf("Add ?id=REQUEST-ID, or ?last=N with N from 1 to %d.", maxListed))
		return
	}
	kept, since := o.cfg.Recent.retained()
	all := Requests{Instance: o.cfg.Instance, Kept: kept, Since: since.UTC(), Requests: []Request{}}
	for _, d := range o.cfg.Recent.find("", min(last, maxListed)) {
		all.Requests = append(all.Requests, o.requestView(&d))
	}
	writeJSON(w, http.StatusOK, all)
}

// serveRequest names the instance also when it does not have the request: the next
// try may reach another one.
func (o *Handler) serveRequest(w http.ResponseWriter, id string) {
	if found := o.cfg.Recent.find(id, 1); len(found) > 0 {
		writeJSON(w, http.StatusOK, o.requestView(&found[0]))
		return
	}
	kept, since := o.cfg.Recent.retained()
	message := fmt.Sprintf("Not among the last %d requests of %s. It may be older, or on another instance.", kept, o.cfg.Instance)
	writeJSON(w, http.StatusNotFound, map[string]any{
		"error":    errorBody(http.StatusNotFound, "request_not_found", message),
		"instance": o.cfg.Instance, "kept": kept, "since": since.UTC(),
	})
}

// requestView is a request as the API returns it.
func (o *Handler) requestView(d *requestRecord) Request {
	s := Request{
		ID: d.id, Instance: o.cfg.Instance, At: d.began.UTC(), Method: d.method, Operation: d.operation, Family: d.family,
		Consumer: d.consumer, Caller: d.caller, Key: d.key, Model: d.model, Stream: d.stream, Status: d.status, Code: d.code, Cause: d.cause,
		TotalMS: milliseconds(d.took), WaitedMS: milliseconds(d.waited), FirstMS: milliseconds(max(d.firstToken, 0)), Finish: d.finish, Broken: d.broken,
		Cost: d.cost, Currency: d.currency, StateVersion: d.version,
	}
	if d.pool != "" && d.pool != d.model {
		s.Fallback = d.pool
	}
	if d.served != nil {
		s.Backend = d.served.Name
	}
	if d.tokens.Total() > 0 {
		s.Tokens = &TokensStatus{d.tokens.Prompt, d.tokens.Cached, d.tokens.Completion, d.tokens.Reasoning}
	}
	for i := range d.candidates {
		s.Candidates = append(s.Candidates, candidateStatus(d, i))
	}
	for i := range d.attempts {
		s.Attempts = append(s.Attempts, attemptStatus(&d.attempts[i]))
	}
	s.Why = explain(d)
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func candidateStatus(d *requestRecord, i int) CandidateStatus {
	c := &d.candidates[i]
	s := CandidateStatus{Backend: c.Backend.Name, Priority: c.Backend.Priority, Reason: string(c.Reason), Cause: c.Cause, Own: c.Own}
	if i < d.eligible {
		s.Position = i + 1
	}
	if left := c.Until.Sub(d.began); left > 0 {
		s.LeftMS = milliseconds(left)
	}
	return s
}

func attemptStatus(a *proxy.Attempt) AttemptStatus {
	return AttemptStatus{
		Backend: a.Backend.Name, Verdict: a.Outcome.Class.String(), Why: a.Outcome.Reason, Status: a.Status, Probe: a.Probe,
		Trial: a.Trial, Repeat: a.Repeat, Hedge: a.Hedge, Silent: a.Silent, SilentMS: milliseconds(a.SilentAfter),
		TookMS: milliseconds(a.Duration), WaitMS: milliseconds(a.Outcome.RawWait),
	}
}
