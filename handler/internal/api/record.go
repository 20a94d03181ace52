package api

import (
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/proxy"
)

// RequestRecord describes one request for the log, the metrics, the traces and
// accounting. It holds no secret and no prompt. Observers must not change it.
type RequestRecord struct {
	ID        string
	Start     time.Time
	Duration  time.Duration
	Method    string
	Trace     trace.SpanContext // the trace it belongs to; zero = none
	Operation string            // "" = no route matched, or the caller is unknown
	Family    string
	Route     string             // the pattern of its path; "" = no route matched
	Consumer  *consumer.Consumer // nil = anonymous or unauthenticated
	Caller    string             // the token's oid or sub; "" for keys
	CallerKey string             // by which the limits and the usage of its consumer's callers are kept apart; "" = they are not
	KeyID     string             // id of the consumer's key; "" for tokens
	Model     string             // the first pool's; "" = none was found
	Requested string             // the model as the caller named it, at most 128 bytes; "" = none, unknown, or Model
	Stream    bool
	Status    int
	Code      string // of an error that no backend sent
	Rule      string // what refused it: a setting, a limit or a check; "" = nothing did
	Cause     error  // for the log, not for the caller
	Backend   *balancer.Backend
	Result    *proxy.Result     // nil = answered before a backend was selected
	Charges   []metering.Charge // what its attempts used
}

// Explain returns a decision in one line: each candidate, and why it was tried
// or skipped.
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
