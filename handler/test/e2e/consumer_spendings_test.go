package e2e_test

import (
	"net/http"
	"strings"
	"time"

	"spillway/handler/internal/simulator"
)

// spending is one way in which a consumer might use more than its limit. Zero values
// of the bounds are not checked.
type spending struct {
	consumer string
	limits   map[string]any
	model    string
	settings map[string]any        // of the model
	answer   *simulator.Deployment // nil = another consumer has the model
	first    *simulator.Deployment // of a backend that is asked before that of answer; nil = there is none
	fault    *simulator.Fault      // of the backend
	path     string                // "" = chat completions
	prompt   string                // besides who asks
	requests int
	atOnce   int           // 0 = evenly over two minutes
	body     string        // what the request has besides
	leaveAt  string        // the caller leaves at this text of the answer; "" = it stays
	patience time.Duration // the caller leaves after so long; 0 = it stays

	price           float64 // of a million tokens of the answer, at who serves; 0 = 1
	each            float64 // what each answer costs, whatever the journal says; 0 = by its tokens
	budget          float64
	tokens          int64   // of all
	tokensAMinute   int64   // at most twice as many
	requestsAMinute int64   // at most 5 % more
	refused         float64 // percent
	largest         int64   // answer; each process may go so far beyond budget and tokens
	forbidden       bool    // nothing reaches a backend
	estimated       bool    // the books have at least what backends generated
}

func priced(output float64) map[string]any {
	return map[string]any{"price": map[string]any{"currency": "USD", "input": 0.0, "output": output}}
}

// parts is an answer whose tokens have all prices that there are: $0.00918, and at the
// priority tier twice as much.
const parts = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","service_tier":"TIER","choices":[{"index":0,"message":{"role":"assistant","content":"Water"},"finish_reason":"stop"}],
"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"prompt_tokens_details":{"cached_tokens":200,"cache_write_tokens":300,"audio_tokens":100},"completion_tokens_details":{"reasoning_tokens":40,"audio_tokens":30}}}`

func pricedParts(times float64) map[string]any {
	price := map[string]any{}
	for name, amount := range map[string]float64{"input": 2, "cachedInput": 1, "cacheWrite": 3, "audioInput": 40, "output": 8, "reasoning": 16, "audioOutput": 80} {
		price[name] = times * amount
	}
	return price
}

// spendings are ways to evade limits of requests, tokens and money.
func spendings() []spending {
	cheap, hedged := priced(1), priced(1)
	cheap["fallbacks"] = []string{"gpt-4o-dear"}
	hedged["hedge"] = map[string]any{"after": "100ms", "maxPercent": 50}
	tiers := pricedParts(1)
	tiers["tiers"] = map[string]any{"priority": pricedParts(2)}
	reports := func(tier string) *simulator.Fault {
		return &simulator.Fault{Action: "status", Status: http.StatusOK, ContentType: "application/json", Body: strings.Replace(parts, "TIER", tier, 1)}
	}
	return []spending{
		{
			consumer: "finish", limits: map[string]any{"budgetPerMonth": 1}, model: "gpt-4o-finish", settings: priced(410), answer: &simulator.Deployment{AnswerTokens: 1000, FilterBurst: 50},
			requests: 60, atOnce: 5, body: `"stream":true`, leaveAt: `"finish_reason":"stop"`, price: 410, budget: 1, largest: 1000,
		},
		{
			consumer: "aborts", limits: map[string]any{"requestsPerMinute": 600}, model: "gpt-4o-aborts", answer: &simulator.Deployment{TimeToFirstToken: time.Minute},
			requests: 1500, atOnce: 50, body: `"max_tokens":1`, patience: time.Second, requestsAMinute: 600,
		},
		{
			consumer: "fallback", limits: map[string]any{"budgetPerMonth": 2}, model: "gpt-4o-cheap", settings: cheap, answer: new(simulator.Deployment),
			fault: &simulator.Fault{Action: "429-token", RetryAfter: time.Minute}, requests: 350, atOnce: 10, body: `"max_tokens":100`, price: 1000, budget: 2, largest: 100,
		},
		{
			consumer: "bounded", limits: map[string]any{"perModel": map[string]any{"gpt-4o-dear": map[string]any{"tokensPerMonth": 1100}}}, model: "gpt-4o-cheap",
			requests: 60, atOnce: 5, body: `"max_tokens":100`, price: 1000, tokens: 1100, largest: 120,
		},
		{
			consumer: "open", limits: map[string]any{"tokensPerMinute": 60_000}, model: "gpt-4o-open", answer: &simulator.Deployment{AnswerTokens: 5000, PerToken: time.Millisecond, FilterBurst: 250},
			requests: 87, atOnce: 87, body: `"stream":true`, tokensAMinute: 60_000,
		},
		{
			consumer: "roomy", limits: map[string]any{"tokensPerMinute": 60_000}, model: "gpt-4o-roomy", answer: &simulator.Deployment{AnswerTokens: 481},
			requests: 190, body: `"max_tokens":4096`, refused: 1,
		},
		{
			consumer: "parts", limits: map[string]any{"budgetPerMonth": 0.5}, model: "gpt-4o-parts", settings: map[string]any{"price": tiers}, answer: new(simulator.Deployment), fault: reports("default"),
			requests: 100, atOnce: 2, body: `"max_tokens":100`, each: 0.00918, budget: 0.5, largest: 1200,
		},
		{
			consumer: "tier", limits: map[string]any{"budgetPerMonth": 0.5}, model: "gpt-4o-tier", settings: map[string]any{"price": tiers}, answer: new(simulator.Deployment), fault: reports("priority"),
			requests: 50, atOnce: 2, body: `"max_tokens":100,"service_tier":"priority"`, each: 2 * 0.00918, budget: 0.5, largest: 1200,
		},
		{
			consumer: "hedge", limits: map[string]any{"tokensPerMonth": 1_000_000}, model: "gpt-4o-hedge", settings: hedged, answer: &simulator.Deployment{AnswerTokens: 100},
			first: &simulator.Deployment{AnswerTokens: 100, TimeToFirstToken: 2 * time.Second}, requests: 20, atOnce: 2, body: `"stream":true`, estimated: true,
		},
		{
			consumer: "filtered", limits: map[string]any{"tokensPerMonth": 20_000}, model: "gpt-4o-filtered", answer: new(simulator.Deployment), prompt: simulator.TriggerPromptFilter + strings.Repeat(" word", 1600),
			requests: 30, atOnce: 2, body: `"max_tokens":1`, tokens: 20_000, largest: 2100, estimated: true,
		},
		{
			consumer: "background", limits: map[string]any{"tokensPerMonth": 2400}, model: "gpt-4o-background", answer: &simulator.Deployment{AnswerTokens: 48}, path: responsesPath,
			requests: 60, atOnce: 1, body: `"background":true,"max_output_tokens":48`, tokens: 2400, largest: 70,
		},
		{
			consumer: "batches", limits: map[string]any{"budgetPerMonth": 10}, model: "gpt-4o-roomy", path: "/openai/v1/batches",
			requests: 5, atOnce: 1, body: `"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"`, forbidden: true,
		},
		{
			consumer: "tuning", limits: map[string]any{"tokensPerMinute": 1000}, model: "gpt-4o-roomy", path: "/openai/v1/fine_tuning/jobs",
			requests: 5, atOnce: 1, body: `"training_file":"file-1"`, forbidden: true,
		},
		{
			consumer: "trained", limits: map[string]any{"tokensPerMinute": 60_000, "budgetPerMonth": 10}, model: "gpt-4o-trained", settings: priced(40), answer: &simulator.Deployment{AnswerTokens: 16_000},
			requests: 400, atOnce: 100, body: `"stream":false`, price: 40, budget: 10, tokensAMinute: 60_000, largest: 16_000,
		},
	}
}
