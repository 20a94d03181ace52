package e2e_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// An SDK that retries three times sends one request when the month is used up: the answer
// says that waiting does not help.
func TestSDKsDoNotRetryWhenTheMonthIsUsedUp(t *testing.T) {
	t.Parallel()
	tools(t)
	c := startConsumerFleet(t, 1, metered(
		map[string]any{"name": "openai", "tokensPerMonth": 500}, map[string]any{"name": "azure", "budgetPerMonth": 0.01},
		map[string]any{"name": "golang", "tokensPerMonth": 500},
	))
	for _, form := range []string{"openai", "azure"} {
		got := c.openAIForNode(t, form, "limited", keyOf(form))
		if got["served"].(float64) == 0 || got["attempts"] != 1.0 || got["error"] != "RateLimitError" || got["code"] != "insufficient_quota" {
			t.Errorf("%s: %v, want one attempt after some that were served", form, got)
		}
	}
	served, attempts, err := untilRetried(t, c, keyOf("golang"))
	var refused *openai.Error
	if !errors.As(err, &refused) || served == 0 || attempts != 1 || refused.Code != "insufficient_quota" {
		t.Errorf("openai-go: %d attempts after %d served: %v", attempts, served, err)
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
		got := c.openAIForNode(t, form, "limited", keyOf(form))
		t.Logf("%s: %v", form, got)
		if got["error"] != nil || got["attempts"].(float64) > 3 || time.Duration(got["ms"].(float64))*time.Millisecond > 65*time.Second {
			t.Errorf("%s: %v, want an attempt that is served when the minute is over", form, got)
		}
	}
	began := time.Now()
	served, attempts, err := untilRetried(t, c, keyOf("golang"))
	t.Logf("openai-go: %d attempts after %d served, %v", attempts, served, time.Since(began))
	if err != nil || attempts > 3 || time.Since(began) > 65*time.Second {
		t.Errorf("openai-go: %d attempts after %d served in %v: %v", attempts, served, time.Since(began), err)
	}
}

// untilRetried asks by openai-go until a request takes several attempts, or is refused.
func untilRetried(t *testing.T, c *consumerFleet, key string) (served, attempts int, err error) {
	t.Helper()
	client := openai.NewClient(option.WithBaseURL(c.host.URL+"/openai/v1"), option.WithAPIKey(key), option.WithMaxRetries(3),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			attempts++
			return next(r)
		}))
	p := params("Hello")
	p.MaxTokens = openai.Int(120)
	for ; err == nil && attempts < 2; served++ {
		attempts = 0
		_, err = client.Chat.Completions.New(t.Context(), p)
	}
	return served - 1, attempts, err
}
