package api

import (
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// RequestRecord is the story of one request, for the log, the metrics and the
// books. It holds no secret and no prompt.
type RequestRecord struct {
	ID        string
	Start     time.Time
	Duration  time.Duration
	Method    string
	Trace     trace.SpanContext // the trace it belongs to; zero = none
	Operation string            // "" = the path was not understood
	Family    string
	Consumer  *consumer.Consumer // nil = anybody
	Caller    string             // who the token is of; "" for keys
	KeyID     string             // which of the consumer's keys; "" for tokens
	Model     string             // the pool's; "" = none was found
	Stream    bool
	Status    int
	Code      string // of our own refusal
	Cause     error  // for the log, not for the caller
	Backend   *balancer.Backend
	Result    *proxy.Result // nil = refused before any backend was looked at
}

// Explain is a decision in one line: who was tried or passed over, and why.
func Explain(result *proxy.Result, now time.Time) string {
	var line strings.Builder
	for i := range result.Decision.Candidates {
		c := &result.Decision.Candidates[i]
		if i > 0 {
			line.WriteString("; ")
		}
		fmt.Fprintf(&line, "%s priority=%d %s", c.Backend.Name, c.Backend.Priority, reason(c, result, now))
	}
	return line.String()
}

func reason(c *balancer.Candidate, result *proxy.Result, now time.Time) string {
	for i := range result.Attempts {
		if a := &result.Attempts[i]; a.Backend == c.Backend {
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
