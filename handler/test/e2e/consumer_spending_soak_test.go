package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
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
	requests int
	atOnce   int           // 0 = evenly over two minutes
	body     string        // what the request has besides
	leaveAt  string        // the caller leaves at this text of the answer; "" = it stays
	patience time.Duration // the caller leaves after so long; 0 = it stays

	price           float64 // of a million tokens of the answer, at who serves; 0 = 1
	budget          float64
	tokens          int64   // of all
	tokensAMinute   int64   // at most twice as many
	requestsAMinute int64   // at most 5 % more
	refused         float64 // percent
	largest         int64   // answer; each process may go so far beyond budget and tokens
}

func priced(output float64) map[string]any {
	return map[string]any{"price": map[string]any{"currency": "USD", "input": 0.0, "output": output}}
}

// spendings are ways to evade limits of requests, tokens and money.
func spendings() []spending {
	cheap := priced(1)
	cheap["fallbacks"] = []string{"gpt-4o-dear"}
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
			requests: 350, atOnce: 10, body: `"max_tokens":100`, price: 1000, budget: 2, largest: 100,
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
			consumer: "trained", limits: map[string]any{"tokensPerMinute": 60_000, "budgetPerMonth": 10}, model: "gpt-4o-trained", settings: priced(40), answer: &simulator.Deployment{AnswerTokens: 16_000},
			requests: 400, atOnce: 100, body: `"stream":false`, price: 40, budget: 10, tokensAMinute: 60_000, largest: 16_000,
		},
	}
}

// Every consumer tries to spend more than its limit, on one process and on several.
// What was spent is shown beside what is booked and the limit.
func TestSoakSpending(t *testing.T) {
	soakOnly(t)
	for _, n := range []int{1, 5} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			ways := spendings()
			f := startSpendingFleet(t, n, ways)
			tiny := spending{consumer: "trained", model: "gpt-4o-trained", requests: 60, atOnce: 1, body: `"max_tokens":1`}
			f.spend(&tiny)
			var all sync.WaitGroup
			for i := range ways {
				all.Go(func() { f.spend(&ways[i]) })
			}
			all.Wait()
			for i := range ways {
				f.check(t, &ways[i])
			}
		})
	}
}

// spendingFleet is instances whose consumers each spend in their way.
type spendingFleet struct {
	*consumerFleet
	mu       sync.Mutex
	outcomes map[string]map[string]int // by consumer
}

func startSpendingFleet(t *testing.T, n int, ways []spending) *spendingFleet {
	t.Helper()
	var consumers []map[string]any
	models := map[string]any{"gpt-4o-dear": priced(1000)}
	backends := []backend{{name: "dear", priority: 1, models: []string{"gpt-4o-dear"}, deployment: simulator.Deployment{AnswerTokens: 100}}}
	for i := range ways {
		w := &ways[i]
		entry := map[string]any{"name": w.consumer}
		for name, value := range w.limits {
			entry[name] = value
		}
		consumers = append(consumers, entry)
		if w.answer != nil {
			models[w.model] = w.settings
			if w.settings == nil {
				models[w.model] = priced(1)
			}
			backends = append(backends, backend{name: w.consumer, priority: 1, models: []string{w.model}, deployment: *w.answer})
		}
	}
	s := metered(consumers...)
	s.backends, s.journal = backends, 0
	s.document["models"] = models
	s.env = append(s.env, "SPILLWAY_OPERATOR_KEY="+accountingOperatorKey)
	f := &spendingFleet{consumerFleet: startConsumerFleet(t, n, s), outcomes: map[string]map[string]int{}}
	if a := ask(t.Context(), t, http.MethodGet, f.hosts[0].URL+"/health/ready", ""); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	f.sim.Fault("fallback", simulator.Fault{Action: "429-token", RetryAfter: time.Minute})
	return f
}

// spend sends what a consumer asks for.
func (f *spendingFleet) spend(w *spending) {
	var all sync.WaitGroup
	places := make(chan struct{}, max(w.atOnce, w.requests*(1-min(w.atOnce, 1))))
	for n := range w.requests {
		if w.atOnce == 0 {
			time.Sleep(2 * time.Minute / time.Duration(w.requests))
		}
		places <- struct{}{}
		all.Go(func() {
			outcome := f.one(w, n)
			<-places
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.outcomes[w.consumer] == nil {
				f.outcomes[w.consumer] = map[string]int{}
			}
			f.outcomes[w.consumer][outcome]++
		})
	}
	all.Wait()
}

// one sends a request, and leaves as its caller does. It returns the status and the
// code, or that the caller left.
func (f *spendingFleet) one(w *spending, n int) string {
	ctx, leave := context.WithCancel(f.t.Context())
	defer leave()
	if w.patience > 0 {
		time.AfterFunc(w.patience, leave)
	}
	body := fmt.Sprintf(`{"model":%q,%s,"messages":[{"role":"user","content":"from %s"}]}`, w.model, w.body, w.consumer)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.hosts[n%len(f.hosts)].URL+chatPath, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Api-Key", keyOf(w.consumer))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "left"
	}
	defer res.Body.Close()
	code := ""
	lines := bufio.NewScanner(res.Body)
	for lines.Buffer(nil, 8<<20); lines.Scan(); {
		if w.leaveAt != "" && strings.Contains(lines.Text(), w.leaveAt) {
			return fmt.Sprint(res.StatusCode, ", left")
		}
		var said struct {
			Error struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		if json.Unmarshal(lines.Bytes(), &said) == nil && said.Error.Code != "" {
			code = " " + said.Error.Code
		}
	}
	return fmt.Sprint(res.StatusCode, code)
}

// spent is what backends received and generated for a consumer.
type spent struct {
	requests, tokens, completion int64
	worstTokens, worstRequests   int64 // of a minute
}

func (f *spendingFleet) spent(consumer string) (s spent) {
	tokens, requests := map[int64]int64{}, map[int64]int64{}
	for _, e := range f.sim.Journal() {
		if strings.Contains(string(e.Body), "from "+consumer) && e.Status != http.StatusTooManyRequests {
			used, ended := int64(e.PromptTokens+e.CompletionTokens), e.End.Unix()/60
			s.requests, s.tokens, s.completion = s.requests+1, s.tokens+used, s.completion+int64(e.CompletionTokens)
			tokens[ended] += used
			requests[e.Time.Unix()/60]++
			s.worstTokens, s.worstRequests = max(s.worstTokens, tokens[ended]), max(s.worstRequests, requests[e.Time.Unix()/60])
		}
	}
	return s
}

// check shows what a consumer spent, and compares it with its bounds.
func (f *spendingFleet) check(t *testing.T, w *spending) {
	t.Helper()
	s := f.spent(w.consumer)
	money := float64(s.completion) * cmp.Or(w.price, 1) / 1e6
	var booked bookedUsage
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && math.Abs(booked.Cost-money) > 1e-6; {
		booked = f.books(t)[w.consumer]
	}
	refused := 0
	for outcome, n := range f.outcomes[w.consumer] {
		if strings.HasPrefix(outcome, "429") {
			refused += n
		}
	}
	t.Logf("%d processes, %s, limits %v: sent %v; at backends %d requests, %d tokens, $%.2f, worst minute %d tokens and %d requests; booked %d tokens (estimated %d), $%.2f (estimated $%.2f)",
		len(f.hosts), w.consumer, w.limits, f.outcomes[w.consumer], s.requests, s.tokens, money, s.worstTokens, s.worstRequests,
		booked.Prompt+booked.Completion, booked.EstimatedPrompt+booked.EstimatedCompletion, booked.Cost, booked.EstimatedCost)
	beyond := w.largest * int64(len(f.hosts))
	for what, broken := range map[string]bool{
		"money":               w.budget > 0 && money > w.budget+float64(beyond)*w.price/1e6,
		"tokens":              w.tokens > 0 && s.tokens > w.tokens+beyond,
		"tokens in a minute":  w.tokensAMinute > 0 && s.worstTokens > 2*w.tokensAMinute+beyond,
		"requests a minute":   w.requestsAMinute > 0 && float64(s.worstRequests) > 1.05*float64(w.requestsAMinute),
		"refusals":            w.refused > 0 && percent(int64(refused), int64(w.requests)) > w.refused,
		"what is in the book": w.patience == 0 && (booked.Prompt+booked.Completion != s.tokens || math.Abs(booked.Cost-money) > 1e-6),
	} {
		if broken {
			t.Errorf("%s: %s", w.consumer, what)
		}
	}
}

// A limit that is lowered by a rolling restart, after the old one was used, holds from
// then on, and nobody is locked out for longer than the minute.
func TestSoakLoweredLimit(t *testing.T) {
	soakOnly(t)
	for _, n := range []int{1, 5} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			with := func(limit int64) setup {
				s := metered(map[string]any{"name": "team", "tokensPerMinute": limit})
				s.backends[0].deployment.AnswerTokens, s.journal = 1000, 0
				return s
			}
			c := startConsumerFleet(t, n, with(60_000))
			time.Sleep(time.Until(nextMinute()))
			used := int64(0)
			for i := range 50 {
				used += c.one(i, keyOf("team"), hello).tokens
			}
			restarted := time.Now()
			for i := range c.hosts {
				lowered := with(6_000)
				lowered.env = append(lowered.env, "SPILLWAY_STATE="+c.ways[i].connection())
				next := c.handler(lowered)
				c.hosts[i].Stop()
				c.hosts[i] = next
			}
			served := c.one(0, keyOf("team"), hello)
			for i := 1; served.status != http.StatusOK && time.Since(restarted) < 5*time.Minute; i++ {
				time.Sleep(time.Second)
				served = c.one(i, keyOf("team"), hello)
			}
			t.Logf("%d processes, limit 60,000 with %d used, then 6,000: served again %v after the restart began", n, used, time.Since(restarted).Round(time.Second))
			if time.Since(restarted) > 65*time.Second {
				t.Errorf("nobody was served for %v", time.Since(restarted))
			}
			l := c.spend(keyOf("team"), hello, 1)
			time.Sleep(2 * time.Minute)
			b := l.finish()
			t.Logf("afterwards, in two minutes of one request a second: %v", b)
			if b.tokens() > 3*6_000+2_000 {
				t.Errorf("%d tokens in two to three minutes of 6,000", b.tokens())
			}
		})
	}
}
