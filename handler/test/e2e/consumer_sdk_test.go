package e2e_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// An SDK that retries three times sends one request once the month is used up: the answer
// says that waiting does not help. The first refusal may be of what another request has
// reserved, so it is the second that counts.
func TestSDKsDoNotRetryWhenTheMonthIsUsedUp(t *testing.T) {
	t.Parallel()
	tools(t)
	c := startConsumerFleet(t, 1, metered(
		map[string]any{"name": "openai", "tokensPerMonth": 500}, map[string]any{"name": "azure", "budgetPerMonth": 0.01},
		map[string]any{"name": "golang", "tokensPerMonth": 500},
	))
	for _, form := range []string{"openai", "azure"} {
		got := c.openAIForNode(t, form, "usedUp", keyOf(form))
		if got["served"].(float64) == 0 || got["attempts"] != 1.0 || got["error"] != "RateLimitError" || got["code"] != "insufficient_quota" {
			t.Errorf("%s: %v, want one attempt after some that were served", form, got)
		}
	}
	sdk := newCountingSDK(c, keyOf("golang"))
	for sdk.ask(t) == nil {
	}
	err := sdk.ask(t)
	var refused *openai.Error
	if !errors.As(err, &refused) || sdk.attempts != 1 || refused.Code != "insufficient_quota" {
		t.Errorf("openai-go: %d attempts: %v", sdk.attempts, err)
	}
}

// When the minute is used up, an SDK waits until the next one, and its second attempt is
// served; the third, where the minute had only begun: SDKs wait for less than a minute.
func TestSoakSDKsWaitForTheNextMinute(t *testing.T) {
	soakOnly(t)
	c := startConsumerFleet(t, 1, metered(
		map[string]any{"name": "openai", "tokensPerMinute": 1000}, map[string]any{"name": "azure", "requestsPerMinute": 5},
		map[string]any{"name": "golang", "tokensPerMinute": 1000},
	))
	for _, form := range []string{"openai", "azure"} {
		got := c.openAIForNode(t, form, "retriedUntilServed", keyOf(form))
		t.Logf("%s: %v", form, got)
		if got["attempts"].(float64) > 3 || time.Duration(got["ms"].(float64))*time.Millisecond > 65*time.Second {
			t.Errorf("%s: %v, want an attempt that is served when the minute is over", form, got)
		}
	}
	sdk, began := newCountingSDK(c, keyOf("golang")), time.Now()
	for sdk.attempts < 2 {
		if err := sdk.ask(t); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("openai-go: %d attempts, %v", sdk.attempts, time.Since(began))
	if sdk.attempts > 3 || time.Since(began) > 65*time.Second {
		t.Errorf("openai-go: %d attempts in %v", sdk.attempts, time.Since(began))
	}
}

// countingSDK is openai-go with three retries.
type countingSDK struct {
	openai.Client
	attempts int // of the last request
}

func newCountingSDK(c *consumerFleet, key string) *countingSDK {
	s := new(countingSDK)
	s.Client = openai.NewClient(option.WithBaseURL(c.host.URL+"/openai/v1"), option.WithAPIKey(key), option.WithMaxRetries(3),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			s.attempts++
			return next(r)
		}))
	return s
}

func (s *countingSDK) ask(t *testing.T) error {
	t.Helper()
	s.attempts = 0
	p := params("Hello")
	p.MaxTokens = openai.Int(120)
	_, err := s.Chat.Completions.New(t.Context(), p)
	return err
}
