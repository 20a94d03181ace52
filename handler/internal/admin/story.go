package admin

import (
	"time"

	"spillway/handler/internal/proxy"
)

// story is a decision as the API tells it.
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
