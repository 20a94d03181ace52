package metering

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// responseAfter is a request of so many bytes that goes on from an earlier response.
func responseAfter(who *consumer.Consumer, promptBytes, most int64) *proxy.Request {
	r := chat(false, promptBytes, most)
	r.Consumer, r.Operation, r.Parsed.PreviousResponseID = who, *operations.ByName("responses"), "resp_1"
	return r
}

// Requests that name what is stored have prompts that their body does not show. Those
// say nothing of how many tokens a byte has: a long document is not refused for them,
// and another short request is expected to have as much behind it.
func TestPromptsThatAreNotShownMakeNoneLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		who := &consumer.Consumer{Name: "team-a", TokensPerMinute: 2_000_000}
		m := newMeter(t, who)
		picture := chat(false, 100, 100) // named by its address, in a request of the same kind
		picture.Consumer, picture.Operation = who, *operations.ByName("responses")
		for range 15 {
			for _, r := range []*proxy.Request{responseAfter(who, 100, 100), picture} {
				x, err := m.Reserve(t.Context(), r, []*balancer.Pool{mini})
				if err != nil {
					t.Fatal(err)
				}
				m.Settle(x, r, served(mini, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 30_000, Completion: 50}}))
			}
		}
		for what, r := range map[string]*proxy.Request{"that goes on": responseAfter(who, 150_000, 100), "alone": picture} {
			r.Parsed.PromptBytes = 150_000
			x, err := m.Reserve(t.Context(), r, []*balancer.Pool{mini})
			if err != nil {
				t.Errorf("a document %s: %v", what, err)
			}
			x.Refund()
		}
		r := responseAfter(who, 100, 100)
		e := m.expect(keyOf(r, mini.Model))
		if d := demand(r, []*balancer.Pool{mini}, &e); d.Prompt+d.Hidden != 30_000 || d.Prompt > 50 {
			t.Errorf("a short request is expected to have %d and %d tokens, want 30000", d.Prompt, d.Hidden)
		}
	})
}

// What a request only names may be as large as the model reads: of a budget so much is
// reserved, whatever was usual, and a small budget is spent all the same.
func TestPromptsThatAreNotShownStayWithinTheBudget(t *testing.T) {
	for name, named := range map[string]request.ParsedRequest{
		"a response":     {PreviousResponseID: "resp_1"},
		"a conversation": {Conversation: "conv_1"},
		"a PDF file":     {File: true},
		"an address":     {},
		"a file":         {References: []request.Reference{{Kind: operations.KindFile, ID: "file-1"}}},
	} {
		bubble(t, name, func(t *testing.T) {
			time.Sleep(5 * time.Second)
			who := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 2}
			m := newMeter(t, who)
			used, cost := usage.Tokens{Prompt: 100_000, Completion: 50}, 0.0
			for range 20 {
				more, _ := spendAtOnce(t, m, mini, 200, used, func() *proxy.Request {
					r := chat(false, 100, 100)
					named.PromptBytes, named.MaxOutputTokens = 100, 100
					r.Consumer, r.Operation, r.Parsed = who, *operations.ByName("responses"), named
					if name == "an address" {
						r.Body = []byte(`{"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://example.org/a.pdf"}]}]}`)
					}
					return r
				})
				cost += more
			}
			if answer := mini.Price.Cost(used); cost > 2+answer || cost < 2-answer {
				t.Errorf("$%.2f were spent under a budget of $2, by answers of $%.2f", cost, answer)
			}
		})
	}
}

// Each token costs as much as it may anywhere: one backend is dear for prompts, the
// other for answers.
func TestReservesAtThePriceOfTheDearestBackend(t *testing.T) {
	p := &balancer.Pool{Model: "m", Price: usage.Price{Input: 1, Output: 1}, Backends: []balancer.Backend{
		{Name: "a", Price: &usage.Price{Input: 9, Output: 1}},
		{Name: "b", Price: &usage.Price{Input: 1, Output: 8}},
	}}
	if most := dearest([]*balancer.Pool{p}, chat(false, 0, 0)); most.Input != 9 || most.Output != 8 {
		t.Errorf("%v for prompts and %v for answers, want 9 and 8", most.Input, most.Output)
	}
}

// An answer that broke off before it named its service tier costs what the tier does
// that was asked for, in the body or by a header.
func TestBrokenAnswersCostTheirTier(t *testing.T) {
	p := &balancer.Pool{Model: "m", Backends: []balancer.Backend{{Name: "a"}}, Price: usage.Price{Input: 1, Output: 1, Tiers: map[string]usage.Price{"priority": {Input: 10, Output: 10}}}}
	byBody, byHeader := chat(true, 4000, 100), chat(true, 4000, 100)
	byBody.Parsed.ServiceTier = "priority"
	byHeader.Header = map[string][]string{"X-Ms-Service-Tier": {"Priority"}}
	for what, r := range map[string]*proxy.Request{"body": byBody, "header": byHeader} {
		for how, result := range map[string]*proxy.Result{
			"left":    ended(p, abandoned(&p.Backends[0], "caller left", time.Millisecond)),
			"cut":     served(p, time.Millisecond, proxy.Delivery{Broken: true}),
			"a loser": ended(p, abandoned(&p.Backends[0], lostHedge, time.Millisecond)),
		} {
			charges := New(nil, nil, nil).Settle(nil, r, result)
			if len(charges) != 1 || charges[0].Tier != "priority" || charges[0].Cost != 0.01 {
				t.Errorf("%s, tier in the %s: %+v", how, what, charges)
			}
		}
	}
}
