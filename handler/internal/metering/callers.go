package metering

import (
	"cmp"
	"sync"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// callerOf is who calls: the subject of a token, which nobody can invent, else the
// end user that the request names. Nobody can pass for the other kind.
func callerOf(r *proxy.Request) string {
	if r.Caller != "" {
		return "token " + r.Caller
	}
	name := cmp.Or(r.Parsed.SafetyIdentifier, r.Parsed.User)
	if r.Operation.Dialect == operations.Messages {
		name = cmp.Or(name, r.Parsed.MetadataUser)
	}
	if name != "" {
		return "user " + name
	}
	return ""
}

// callerMeans is how large the answers of single callers lately were, of consumers
// with limits for each of them. It is safe for concurrent use.
type callerMeans struct {
	mu    sync.Mutex
	means map[callerKind]callerMean
}

type callerKind struct {
	profileKey
	caller string
}

// callerMean is a mean in which each answer weighs a twentieth, once there are as
// many.
type callerMean struct {
	answers int
	output  float64
}

const (
	maxCallerMeans = 10_000 // callers invent their names
	callerWeight   = 20     // answers
)

// expect replaces the consumer's expectation by the caller's, when that is known.
func (c *callerMeans) expect(r *proxy.Request, k profileKey, e *usage.Expectation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.means[callerKind{k, callerOf(r)}]; m.answers >= certainAnswers {
		e.Output, e.Answers = int64(m.output+0.5), max(e.Answers, m.answers)
	}
}

// learn remembers an answer.
func (c *callerMeans) learn(r *proxy.Request, k profileKey, output int64) {
	kind := callerKind{k, callerOf(r)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.means == nil {
		c.means = map[callerKind]callerMean{}
	}
	m, known := c.means[kind]
	for other := range c.means {
		if known || len(c.means) < maxCallerMeans {
			break
		}
		delete(c.means, other)
	}
	m.answers = min(m.answers+1, callerWeight)
	m.output += (float64(output) - m.output) / float64(m.answers)
	c.means[kind] = m
}
