package simulator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/simulator"
)

// clock is a virtual clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// one is a service of one resource with one deployment on a virtual clock.
func one(d simulator.Deployment) (*simulator.Service, *clock) {
	c := newClock()
	d.Name, d.Model, d.ModelVersion = "gpt-4o", "gpt-4o", "2024-11-20"
	return simulator.New(simulator.Config{Seed: 1, Now: c.Now, Resources: []simulator.Resource{
		{Name: "one", Region: "eastus2", Auth: simulator.AuthAnonymous, Deployments: []simulator.Deployment{d}},
	}}), c
}

// call sends a body through the shared handler, without a network.
func call(t *testing.T, s *simulator.Service, path, body string) reply {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/one"+path, strings.NewReader(body))
	s.ServeHTTP(w, r)
	return reply{status: w.Code, header: w.Header(), body: w.Body.String()}
}

// costing is a chat body whose estimate is so many tokens: 10 of prompt, the
// rest of completion.
func costing(tokens int) string {
	return fmt.Sprintf(`{"model":"gpt-4o","max_tokens":%d,"messages":[{"role":"user","content":%q}]}`, tokens-10, strings.Repeat("word", 10))
}

func TestTokensPerMinute(t *testing.T) {
	s, clock := one(simulator.Deployment{TokensPerMinute: 1000})
	for i, want := range []string{"600", "200", "-200"} {
		r := call(t, s, chatPath, costing(400))
		if got := r.header.Get("x-ratelimit-remaining-tokens"); r.status != 200 || got != want {
			t.Fatalf("request %d: got %d with %s tokens left, want 200 with %s", i, r.status, got, want)
		}
		clock.pass(10 * time.Second)
	}
	r := call(t, s, chatPath, costing(400))
	want := `{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 30 seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit."}}`
	if r.status != 429 || r.body != want {
		t.Fatalf("got %d %s, want 429 %s", r.status, r.body, want)
	}
	for name, want := range map[string]string{
		"retry-after": "30", "retry-after-ms": "30000", "x-ratelimit-limit-tokens": "1000", "x-ratelimit-reset-tokens": "30",
		"x-ratelimit-renewalperiod-tokens": "60", "x-ratelimit-remaining-tokens": "-200", "x-ratelimit-key": "gpt-4o",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	clock.pass(30*time.Second - time.Nanosecond)
	if r := call(t, s, chatPath, costing(400)); r.status != 429 {
		t.Errorf("just before the minute is over: got %d, want 429", r.status)
	}
	clock.pass(time.Nanosecond)
	if r := call(t, s, chatPath, costing(400)); r.status != 200 {
		t.Errorf("when the minute is over: got %d, want 200", r.status)
	}
}

func TestSlidingTokens(t *testing.T) {
	s, clock := one(simulator.Deployment{TokensPerMinute: 1000, SlidingTokens: true})
	call(t, s, chatPath, costing(500))
	clock.pass(20 * time.Second)
	call(t, s, chatPath, costing(600))
	r := call(t, s, chatPath, costing(100))
	if r.status != 429 || r.header.Get("retry-after") != "40" {
		t.Fatalf("got %d, retry-after %s; want 429 and 40", r.status, r.header.Get("retry-after"))
	}
	clock.pass(40 * time.Second)
	if r := call(t, s, chatPath, costing(100)); r.status != 200 || r.header.Get("x-ratelimit-remaining-tokens") != "300" {
		t.Errorf("got %d with %s left, want 200 with 300", r.status, r.header.Get("x-ratelimit-remaining-tokens"))
	}
}

func TestRequestAboveTheLimitWaitsADay(t *testing.T) {
	s, _ := one(simulator.Deployment{TokensPerMinute: 1000})
	r := call(t, s, v1ChatPath, costing(1001))
	want := `{"error":{"message":"Your requests to gpt-4o-2024-11-20 for gpt-4o-2024-11-20 in eastus2 have exceeded token rate limit.","type":"too_many_requests","param":null,"code":"rate_limit_exceeded"}}`
	if r.status != 429 || r.body != want || r.header.Get("retry-after") != "86400" {
		t.Errorf("got %d %s, retry-after %s; want 429 %s and 86400", r.status, r.body, r.header.Get("retry-after"), want)
	}
}

func TestSimpleEstimateExcludesPrompt(t *testing.T) {
	s, _ := one(simulator.Deployment{TokensPerMinute: 1000, SimpleEstimate: true})
	call(t, s, chatPath, costing(110))
	call(t, s, chatPath, hello)
	entries := s.Journal()
	if entries[0].EstimatedTokens != 100 || entries[1].EstimatedTokens != 16 {
		t.Errorf("got estimates %d and %d, want 100 and 16", entries[0].EstimatedTokens, entries[1].EstimatedTokens)
	}
}

func TestEstimateCountsEveryChoice(t *testing.T) {
	s, _ := one(simulator.Deployment{})
	call(t, s, chatPath, `{"n":3,"max_completion_tokens":50,"messages":[{"role":"user","content":"12345678"}]}`)
	if got := s.Journal()[0].EstimatedTokens; got != 152 {
		t.Errorf("got an estimate of %d, want 2 + 3×50", got)
	}
}

func TestRequestsPerMinuteWindow(t *testing.T) {
	tests := []struct {
		window time.Duration
		fit    int
		period string
	}{{0, 20, "10"}, {time.Second, 2, "1"}}
	for _, tt := range tests {
		t.Run(tt.period+" s", func(t *testing.T) {
			s, clock := one(simulator.Deployment{RequestsPerMinute: 120, RequestWindow: tt.window})
			for i := range tt.fit {
				r := call(t, s, chatPath, `{"messages":[]}`) // 400s count as well
				if got := r.header.Get("x-ratelimit-remaining-requests"); r.status != 400 || got != fmt.Sprint(tt.fit-i-1) {
					t.Fatalf("request %d: got %d with %s left", i, r.status, got)
				}
			}
			r := call(t, s, chatPath, hello)
			if r.status != 429 || !strings.Contains(r.body, "have exceeded call rate limit") || r.header.Get("retry-after") != tt.period {
				t.Fatalf("got %d %s, retry-after %s", r.status, r.body, r.header.Get("retry-after"))
			}
			if got := r.header.Get("x-ratelimit-renewalperiod-requests"); got != tt.period {
				t.Errorf("renewal period: got %s, want %s", got, tt.period)
			}
			clock.pass(max(tt.window, time.Second) * 10)
			if r := call(t, s, chatPath, hello); r.status != 200 {
				t.Errorf("in the next window: got %d, want 200", r.status)
			}
		})
	}
}

func TestQuirkRateHeaders(t *testing.T) {
	s, _ := one(simulator.Deployment{TokensPerMinute: 100, RateHeaders: simulator.RateHeadersQuirk})
	r := call(t, s, chatPath, costing(1000))
	for name, want := range map[string]string{
		"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0", "x-ratelimit-limit-requests": "-1",
		"retry-after": "", "retry-after-ms": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestLimitsCanBeLoweredWhileServing(t *testing.T) {
	s, _ := one(simulator.Deployment{TokensPerMinute: 1000})
	call(t, s, chatPath, costing(400))
	err := s.SetDeployment("one", "gpt-4o", func(d *simulator.Deployment) { d.TokensPerMinute = 400 })
	if err != nil {
		t.Fatal(err)
	}
	if r := call(t, s, chatPath, costing(100)); r.status != 429 || r.header.Get("x-ratelimit-limit-tokens") != "400" {
		t.Errorf("got %d with limit %s, want 429 with 400", r.status, r.header.Get("x-ratelimit-limit-tokens"))
	}
	s.Reset()
	if r := call(t, s, chatPath, costing(500)); r.status != 200 {
		t.Errorf("after Reset: got %d, want 200", r.status)
	}
}

func TestContextWindow(t *testing.T) {
	s, _ := one(simulator.Deployment{ContextWindow: 100})
	r := call(t, s, chatPath, costing(101))
	want := `{"error":{"message":"This model's maximum context length is 100 tokens. However, your messages resulted in 101 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`
	if r.status != 400 || r.body != want {
		t.Errorf("got %d %s, want 400 %s", r.status, r.body, want)
	}
	if r := call(t, s, chatPath, costing(100)); r.status != 200 {
		t.Errorf("at the window: got %d, want 200", r.status)
	}
}

func longPrompt(key string, prefix, tail int) string {
	return `{"max_tokens":4,"prompt_cache_key":"` + key + `","messages":[{"role":"user","content":"` +
		strings.Repeat("pref", prefix) + strings.Repeat("tail", tail) + `"}]}`
}

func TestPromptCacheGrowsInSteps(t *testing.T) {
	tests := []struct {
		name          string
		first, second string
		wait          time.Duration
		cached        int
	}{
		{"too short", longPrompt("", 1023, 0), longPrompt("", 1023, 0), 0, 0},
		{"just long enough", longPrompt("", 1024, 0), longPrompt("", 1024, 0), 0, 1024},
		{"a step more", longPrompt("", 1151, 0), longPrompt("", 1151, 0), 0, 1024},
		{"two steps", longPrompt("", 1152, 0), longPrompt("", 1152, 0), 0, 1152},
		{"shared head", longPrompt("", 1500, 100), longPrompt("", 1500, 0), 0, 1408},
		{"other prompt", longPrompt("", 2000, 0), longPrompt("", 0, 2000), 0, 0},
		{"other key", longPrompt("a", 2000, 0), longPrompt("b", 2000, 0), 0, 0},
		{"almost idle too long", longPrompt("", 2000, 0), longPrompt("", 2000, 0), 5*time.Minute - 1, 1920},
		{"idle too long", longPrompt("", 2000, 0), longPrompt("", 2000, 0), 5 * time.Minute, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, clock := one(simulator.Deployment{})
			if c := complete(t, call(t, s, chatPath, tt.first)); c.Usage.Details.Cached != 0 {
				t.Fatalf("the first had %d cached", c.Usage.Details.Cached)
			}
			clock.pass(tt.wait)
			if c := complete(t, call(t, s, chatPath, tt.second)); c.Usage.Details.Cached != tt.cached {
				t.Errorf("got %d cached, want %d", c.Usage.Details.Cached, tt.cached)
			}
		})
	}
}

func TestBusyPromptCacheOverflows(t *testing.T) {
	s, clock := one(simulator.Deployment{})
	hits := 0
	for range 20 {
		if complete(t, call(t, s, chatPath, longPrompt("", 2000, 0))).Usage.Details.Cached > 0 {
			hits++
		}
	}
	if hits != 14 {
		t.Errorf("got %d hits of 20 in a minute, want 15 less the first", hits)
	}
	clock.pass(time.Minute)
	if complete(t, call(t, s, chatPath, longPrompt("", 2000, 0))).Usage.Details.Cached == 0 {
		t.Error("in the next minute: no hit")
	}
}

func TestCachedPromptHasFasterFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Config{Resources: []simulator.Resource{{
			Name: "one", Auth: simulator.AuthAnonymous,
			Deployments: []simulator.Deployment{{Name: "gpt-4o", Model: "gpt-4o", TimeToFirstToken: 400 * time.Millisecond, PerPromptToken: time.Millisecond}},
		}}})
		took := func() time.Duration {
			begin := time.Now()
			call(t, s, chatPath, longPrompt("", 2048, 0))
			return time.Since(begin)
		}
		if got := took(); got != 400*time.Millisecond+2048*time.Millisecond {
			t.Errorf("cold: got %v", got)
		}
		if got := took(); got != 200*time.Millisecond {
			t.Errorf("all cached: got %v, want half the base", got)
		}
	})
}
