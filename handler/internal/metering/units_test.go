package metering

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// What is billed by image or by second spends a budget, and is refused at its end, also
// when no backend tells what it was, when the caller leaves, and when all are asked for
// at once.
func TestImagesAndSecondsSpendTheBudget(t *testing.T) {
	drawing := &balancer.Pool{Model: "dall-e-3", Price: usage.Price{Currency: "USD", Image: 0.04}, Backends: []balancer.Backend{{Name: "a"}}}
	hearing := &balancer.Pool{Model: "whisper", Price: usage.Price{Currency: "USD", AudioSecond: 0.0001}, Backends: []balancer.Backend{{Name: "a"}}}
	speaking := &balancer.Pool{Model: "gpt-4o-mini-tts", Price: usage.Price{Currency: "USD", AudioOutput: 200}, Backends: []balancer.Backend{{Name: "a"}}}
	for name, x := range map[string]struct {
		pool      *balancer.Pool
		operation string
		body      int // bytes
		used      usage.Tokens
		left      bool
		atOnce    bool
		sent      int // of a budget of $1
	}{
		"images":                {pool: drawing, operation: "images", sent: 12},
		"images, with tokens":   {pool: drawing, operation: "images", used: usage.Tokens{Prompt: 10}, sent: 12},
		"edited images":         {pool: drawing, operation: "image-edits", sent: 12},
		"images, left":          {pool: drawing, operation: "images", left: true, sent: 12},
		"images at once":        {pool: drawing, operation: "images", atOnce: true, sent: 12},
		"spoken text":           {pool: speaking, operation: "speech", sent: 9},
		"spoken text, left":     {pool: speaking, operation: "speech", left: true, sent: 9},
		"speech of 500 seconds": {pool: hearing, operation: "transcriptions", body: 2_000_000, used: usage.Tokens{Seconds: 500}, sent: 20},
		"speech that says none": {pool: hearing, operation: "transcriptions", body: 2_000_000, sent: 20},
		"speech, left":          {pool: hearing, operation: "translations", body: 2_000_000, left: true, sent: 20},
		"speech at once":        {pool: hearing, operation: "transcriptions", body: 2_000_000, atOnce: true, sent: 4}, // each may have 2,667 seconds
	} {
		bubble(t, name, func(t *testing.T) {
			time.Sleep(5 * time.Second)
			who := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 1}
			m := newMeter(t, who)
			sent, cost := 0, 0.0
			var under []func()
			for range 100 {
				r := chat(false, 400, 0)
				r.Consumer, r.Operation, r.Body, r.Parsed.Choices = who, *operations.ByName(x.operation), make([]byte, x.body), 2
				reserved, err := m.Reserve(t.Context(), r, []*balancer.Pool{x.pool})
				var over *quota.ExceededError
				if errors.As(err, &over) {
					continue
				}
				sent++
				result := served(x.pool, 5*time.Second, proxy.Delivery{Usage: x.used})
				if x.left {
					result = ended(x.pool, abandoned(&x.pool.Backends[0], "caller left", time.Second))
				}
				settle := func() {
					_, charged, _ := Total(m.Settle(reserved, r, result))
					cost += charged
				}
				if under = append(under, settle); !x.atOnce {
					settle()
				}
			}
			if x.atOnce {
				for _, settle := range under {
					settle()
				}
			}
			if sent < x.sent || sent > x.sent+1 || cost < 0.9 && !x.atOnce {
				t.Errorf("%d sent, and $%.2f charged of a budget of $1; want about %d", sent, cost, x.sent)
			}
		})
	}
}

// Answers that cost more by the token than text, such as sound and reasoning, are
// reserved at what they may cost.
func TestDearTokensAreReserved(t *testing.T) {
	price := usage.Price{Currency: "USD", Input: 2, Output: 10, AudioInput: 40, AudioOutput: 80, CacheWrite: 3, Reasoning: 20}
	sounding := &balancer.Pool{Model: "gpt-4o-audio", Price: price, Backends: []balancer.Backend{{Name: "a"}}, MaxOutputTokens: 2000}
	for name, used := range map[string]usage.Tokens{
		"sound":     {Prompt: 200, AudioInput: 200, Completion: 2000, AudioOutput: 2000},
		"reasoning": {Prompt: 200, CacheWrite: 200, Completion: 2000, Reasoning: 2000},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(5 * time.Second)
			who := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 2}
			cost, n := spendAtOnce(t, newMeter(t, who), sounding, 1000, used, func() *proxy.Request {
				r := chat(false, 400, 0)
				r.Consumer, r.Parsed.Audio = who, name == "sound"
				return r
			})
			if answer := price.Cost(used); cost > 2+answer || cost < 0.9 {
				t.Errorf("%s: %d answers of $%.3f for $%.2f under a budget of $2", name, n, answer, cost)
			}
		})
	}
}

// spendAtOnce has so many requests under way together, as many as are granted, and
// settles each with what it used. It returns what they cost, and how many they were.
func spendAtOnce(t *testing.T, m *Meter, p *balancer.Pool, requests int, used usage.Tokens, request func() *proxy.Request) (cost float64, granted int) {
	t.Helper()
	var under []func()
	for range requests {
		r := request()
		x, err := m.Reserve(t.Context(), r, []*balancer.Pool{p})
		if err != nil {
			continue
		}
		under = append(under, func() {
			_, charged, _ := Total(m.Settle(x, r, served(p, time.Second, proxy.Delivery{Usage: used})))
			cost += charged
		})
	}
	for _, settle := range under {
		settle()
	}
	return cost, len(under)
}
