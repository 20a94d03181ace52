package ops

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"spillway/handler/health"
	"spillway/handler/pool"
	"spillway/handler/proxy"
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
	kept, since := o.cfg.Recent.kept()
	if id := strings.TrimSpace(query.Get("id")); id != "" {
		found := o.cfg.Recent.find(id, 1)
		if len(found) == 0 {
			answer(w, http.StatusNotFound, map[string]any{
				"error":    map[string]any{"message": fmt.Sprintf("Not among the last %d decisions of %s. It may be older, or of another instance.", kept, o.cfg.Instance), "type": "invalid_request_error", "param": "id", "code": "request_not_found"},
				"instance": o.cfg.Instance, "kept": kept, "since": since.UTC(),
			})
			return
		}
		answer(w, http.StatusOK, o.story(&found[0]))
		return
	}
	last, err := strconv.Atoi(query.Get("last"))
	if err != nil || last < 1 {
		fail(w, http.StatusBadRequest, "invalid_query", fmt.Sprintf("Say which: ?id=REQUEST-ID, or ?last=N with N from 1 to %d.", maxLast))
		return
	}
	all := Requests{Instance: o.cfg.Instance, Kept: kept, Since: since.UTC(), Requests: []Request{}}
	for _, d := range o.cfg.Recent.find("", min(last, maxLast)) {
		all.Requests = append(all.Requests, o.story(&d))
	}
	answer(w, http.StatusOK, all)
}

func (o *Ops) story(d *decision) Request {
	s := Request{
		ID: d.id, Instance: o.cfg.Instance, At: d.began.UTC(), Method: d.method, Operation: d.operation, Family: d.family,
		Consumer: d.consumer, Caller: d.caller, Key: d.key, Model: d.model, Stream: d.stream, Status: d.status, Code: d.code, Cause: d.cause,
		TotalMS: millis(d.took), WaitedMS: millis(d.waited), FirstMS: millis(max(d.first, 0)), Finish: d.finish, Broken: d.broken,
		Cost: d.cost, Currency: d.currency, Snapshot: d.version,
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
		s.Placed = append(s.Placed, placed(d, i))
	}
	for i := range d.attempts {
		s.Attempts = append(s.Attempts, attempted(&d.attempts[i]))
	}
	s.Why = reasoning(d)
	return s
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func placed(d *decision, i int) PlacedStatus {
	c := &d.candidates[i]
	s := PlacedStatus{Backend: c.Backend.Name, Priority: c.Backend.Priority, Reason: string(c.Reason)}
	if i < d.line {
		s.Place = i + 1
	}
	if left := c.Until.Sub(d.began); left > 0 {
		s.LeftMS = millis(left)
	}
	return s
}

func attempted(a *proxy.Attempt) AttemptStatus {
	return AttemptStatus{
		Backend: a.Backend.Name, Verdict: a.Outcome.Verdict.String(), Why: a.Outcome.Why, Status: a.Status, Probe: a.Probe,
		TookMS: millis(a.Took), WaitMS: millis(a.Outcome.RawWait),
	}
}

// reasoning tells why the request went where it went, one sentence for each
// step.
func reasoning(d *decision) []string {
	var why []string
	if d.line == 0 && len(d.candidates) == 0 {
		return []string{refusedAhead(d)}
	}
	for i := d.line; i < len(d.candidates); i++ {
		why = append(why, passedOver(d, &d.candidates[i]))
	}
	if d.line == 0 {
		why = append(why, "Nobody was left to try.")
	}
	for i := range d.attempts {
		why = append(why, tried(d, i))
	}
	if d.waited > 0 {
		why = append(why, fmt.Sprintf("It waited %s for a throttled backend to reopen.", short(d.waited)))
	}
	if d.pool != "" && d.pool != d.model {
		why = append(why, fmt.Sprintf("Every backend of %s was exhausted, so its fallback %s was tried.", d.model, d.pool))
	}
	return append(why, ending(d))
}

func refusedAhead(d *decision) string {
	text := fmt.Sprintf("Answered %d", d.status)
	if d.code != "" {
		text += " (" + d.code + ")"
	}
	text += " before any backend was looked at"
	if d.cause != "" {
		text += ": " + d.cause
	}
	return text + "."
}

func passedOver(d *decision, c *pool.Candidate) string {
	text := fmt.Sprintf("%s (priority %d) was passed over: %s", c.Backend.Name, c.Backend.Priority, c.Reason)
	if left := c.Until.Sub(d.began); left > 0 {
		text += " for another " + short(left)
	}
	return text + "."
}

// tried is the sentence of one attempt.
func tried(d *decision, i int) string {
	a := &d.attempts[i]
	text := fmt.Sprintf("%s (priority %d) was tried ", a.Backend.Name, a.Backend.Priority)
	switch {
	case a.Probe:
		text += "as the one probe of the fleet"
	case i == 0:
		text += "first"
	default:
		text += "next"
	}
	return text + " and " + verdict(a) + "."
}

func verdict(a *proxy.Attempt) string {
	took := short(a.Took)
	because := ""
	if a.Outcome.Why != "" {
		because = " (" + a.Outcome.Why + ")"
	}
	switch a.Outcome.Verdict {
	case health.Served:
		return fmt.Sprintf("served with %d in %s", a.Status, took)
	case health.Throttled:
		if a.Outcome.RawWait > 0 {
			because += ", asking for " + short(a.Outcome.RawWait)
		}
		return "was throttled" + because + " after " + took
	case health.Failed:
		return "failed" + because + " after " + took
	case health.Misconfigured:
		return "refused our credential or deployment" + because + " after " + took
	case health.Abandoned:
		return "was abandoned" + because + " after " + took + ": the caller left"
	}
	return "ended after " + took
}

func ending(d *decision) string {
	text := fmt.Sprintf("The caller got %d", d.status)
	switch {
	case d.broken:
		return text + ", and the answer broke off: it ended in an error event and an aborted connection."
	case d.served != nil:
		return fmt.Sprintf("%s from %s in %s.", text, d.served.Name, short(d.took))
	}
	if d.end != "" {
		text += ": " + strings.TrimPrefix(d.end, "proxy: ")
	}
	if left := d.retryAt.Sub(d.began); left > 0 {
		text += "; the soonest reopening was " + short(left) + " away"
	}
	return text + "."
}

// short is a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
