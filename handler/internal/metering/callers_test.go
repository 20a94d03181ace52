package metering

import (
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// What a caller's answers lately used counts for it, and not what another one's
// did: nobody's small answers make another one's large ones cheap.
func TestExpectationOfACaller(t *testing.T) {
	bubble(t, "callers", func(t *testing.T) {
		who := &consumer.Consumer{Name: "by caller", TokensPerMinute: 100_000, PerCaller: &consumer.CallerLimits{Limits: consumer.Limits{TokensPerMinute: 50_000}, MaxActive: 10}}
		m := newMeter(t, who)
		request := func(user string) *proxy.Request {
			r := chat(false, 400, 4000)
			r.Consumer, r.Parsed.User = who, user
			return r
		}
		answer := func(user string, tokens int64) {
			r := request(user)
			x, err := m.Reserve(t.Context(), r, []*balancer.Pool{mini})
			if err != nil {
				t.Fatal(err)
			}
			m.Settle(x, r, served(mini, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: tokens}}))
		}
		for range 10 {
			answer("large", 3000)
			time.Sleep(time.Minute)
		}
		for range 60 {
			answer("small", 1)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for user, want := range map[string]int64{"large": 3100, "small": 101} {
			before := m.RateLimits(request(user), mini).Tokens.Remaining
			x, err := m.Reserve(t.Context(), request(user), []*balancer.Pool{mini})
			if err != nil {
				t.Fatal(err)
			}
			if got := before - m.RateLimits(request(user), mini).Tokens.Remaining; got != want {
				t.Errorf("%s: %d tokens were reserved, want %d", user, got, want)
			}
			x.Refund()
		}
	})
}

func TestNamesOfCallers(t *testing.T) {
	names := map[string]bool{}
	for _, r := range []*proxy.Request{chat(false, 1, 1), chat(false, 1, 1), chat(false, 1, 1), chat(false, 1, 1)} {
		switch len(names) {
		case 1:
			r.Caller = "ann"
		case 2:
			r.Parsed.User = "ann"
		case 3:
			r.Parsed.User, r.Parsed.SafetyIdentifier = "ann", "token ann"
		}
		names[callerOf(r)] = true
	}
	if len(names) != 4 {
		t.Errorf("%v: an end user's name passes for a token's subject", names)
	}
}

// Anthropic's API names the end user in the metadata, which other dialects leave to
// the caller.
func TestNameOfACallerOfMessages(t *testing.T) {
	for operation, want := range map[string]string{"messages": "user ann", "chat": "", "responses": ""} {
		r := chat(false, 1, 1)
		r.Operation, r.Parsed.MetadataUser = *operations.ByName(operation), "ann"
		if got := callerOf(r); got != want {
			t.Errorf("%s: %q, want %q", operation, got, want)
		}
		r.Caller = "token"
		if got := callerOf(r); got != "token token" {
			t.Errorf("%s with a token: %q", operation, got)
		}
	}
}
