package e2e_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// Whatever becomes of requests, plain or streamed, what the backends used is
// booked, to the token and at the price of cached ones, and the prompt that the content
// filter refused by its estimate; what nobody served is given back.
func TestQuotaCountsWhatBackendsReported(t *testing.T) {
	t.Parallel()
	s := metered(map[string]any{"name": "team", "tokensPerMinute": 1_000_000, "tokensPerMonth": 100_000_000, "budgetPerMonth": 1000})
	s.journal = 0
	s.env = append(s.env, "SPILLWAY_OPERATOR_KEY="+accountingOperatorKey)
	c := startConsumerFleet(t, 2, s)
	long := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 200)
	prompts := []string{"Hello", long, long, long}
	for n, prompt := range prompts {
		for _, body := range []string{modest, modestSSE} {
			if a := c.ask(n, keyOf("team"), strings.Replace(body, "Hello", prompt, 1)); a.status != http.StatusOK || a.err != nil {
				t.Errorf("%d %v: %.200s", a.status, a.err, a.body)
			}
		}
	}
	c.sim.Next("a", simulator.Fault{Action: "400-filter"})
	for n := range 3 {
		c.ask(n, keyOf("team"), modest)
	}
	c.sim.Next("a", simulator.Fault{Action: "503"}, simulator.Fault{Action: "503"}) // also when it is asked once more
	if a := c.ask(0, keyOf("team"), modest); a.status != http.StatusServiceUnavailable {
		t.Errorf("with nobody to serve: %d %s", a.status, a.body)
	}
	tokens, cached, nanos := int64(0), 0, 0.0
	for _, e := range c.sim.Journal() {
		if e.Outcome != simulator.Served || e.Status != http.StatusOK {
			continue
		}
		tokens += int64(e.PromptTokens + e.CompletionTokens)
		cached += e.CachedTokens
		nanos += float64(e.PromptTokens-e.CachedTokens)*2500 + float64(e.CachedTokens)*1250 + float64(e.CompletionTokens)*10_000
	}
	if cached == 0 {
		t.Error("no prompt was cached: their price is not shown")
	}
	filtered := c.estimatedPrompt(t, "team")
	if filtered == 0 {
		t.Error("the prompt that the content filter refused is not booked")
	}
	c.wantBooked(t, "team", tokens+filtered)
	c.wantMoney(t, "team", int64(math.Round(nanos))+filtered*2500)
}

// estimatedPrompt is what the books have of prompts of which no usage was reported, once
// there are any.
func (c *consumerFleet) estimatedPrompt(t *testing.T, consumer string) (tokens int64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); tokens == 0 && time.Now().Before(deadline); {
		tokens = c.books(t)[consumer].EstimatedPrompt
	}
	return tokens
}

// wantMoney waits until the month's row holds this much money, in billionths.
func (c *consumerFleet) wantMoney(t *testing.T, consumer string, nanos int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	booked := c.granted(consumer, "bpmo")
	for ; booked != nanos && ctx.Err() == nil; booked = c.granted(consumer, "bpmo") {
		time.Sleep(100 * time.Millisecond)
	}
	if booked != nanos {
		t.Errorf("%d billionths were spent, and %d are booked", nanos, booked)
	}
}
