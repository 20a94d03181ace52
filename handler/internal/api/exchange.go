package api

import (
	"fmt"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// Exchange is the story of one request, for the log, the metrics and the
// books. It holds no secret and no prompt.
type Exchange struct {
	ID          string
	Began       time.Time
	Took        time.Duration
	Method      string
	Traceparent string // W3C trace context, as the caller sent it: not checked
	Operation   string // "" = the path was not understood
	Family      string
	Consumer    *consumer.Consumer // nil = anybody
	Caller      string             // who the token is of; "" for keys
	KeyID       string             // which of the consumer's keys; "" for tokens
	Model       string             // the pool's; "" = none was found
	Stream      bool
	Status      int
	Code        string // of our own refusal
	Cause       error  // for the log, not for the caller
	Serving     *balancer.Backend
	Result      *proxy.Result // nil = refused before any backend was looked at
}

// Explain is a decision in one line: who was tried or passed over, and why.
func Explain(story *proxy.Result, now time.Time) string {
	var line strings.Builder
	for i := range story.Decision.Candidates {
		c := &story.Decision.Candidates[i]
		if i > 0 {
			line.WriteString("; ")
		}
		fmt.Fprintf(&line, "%s priority=%d %s", c.Backend.Name, c.Backend.Priority, reason(c, story, now))
	}
	return line.String()
}

func reason(c *balancer.Candidate, story *proxy.Result, now time.Time) string {
	for i := range story.Attempts {
		if a := &story.Attempts[i]; a.Backend == c.Backend {
			if a.Outcome.Class == health.Served {
				return "served"
			}
			return strings.TrimSpace(a.Outcome.Class.String() + " " + a.Outcome.Reason)
		}
	}
	if c.Reason == health.NotSkipped {
		return "not needed"
	}
	if left := c.Until.Sub(now); left > 0 {
		return fmt.Sprintf("%s for %s", c.Reason, left.Round(time.Millisecond))
	}
	return string(c.Reason)
}
