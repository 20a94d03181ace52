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
	"text/tabwriter"
	"time"

	"spillway/handler/internal/simulator"
)

// Every consumer tries to spend more than its limit, on one process and on several.
// What was spent is shown beside what is booked and the limit.
func TestSoakSpending(t *testing.T) {
	soakOnly(t)
	for _, n := range []int{1, 5, 20} {
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
			fmt.Fprintf(&f.report, "%d processes\tlimit\tat backends: requests\ttokens\t$\tworst minute: tokens\trequests\tbooked: tokens\testimated\t$\testimated\tanswers\n", n)
			for i := range ways {
				f.check(t, &ways[i])
			}
			var text strings.Builder
			table := tabwriter.NewWriter(&text, 0, 4, 2, ' ', 0)
			_, _ = table.Write([]byte(f.report.String()))
			_ = table.Flush()
			t.Log("\n" + text.String())
		})
	}
}

// spendingFleet is instances whose consumers each spend in their way.
type spendingFleet struct {
	*consumerFleet
	report   strings.Builder
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
			backends = append(backends, backend{name: w.consumer, priority: 2, models: []string{w.model}, deployment: *w.answer})
		}
		if w.first != nil {
			backends = append(backends, backend{name: w.consumer + "-first", priority: 1, models: []string{w.model}, deployment: *w.first})
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
	for i := range ways {
		if w := &ways[i]; w.fault != nil {
			f.sim.Fault(w.consumer, *w.fault)
		}
	}
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
			for deadline := time.Now().Add(time.Minute); strings.HasSuffix(outcome, "quota_unknown") && time.Now().Before(deadline); {
				time.Sleep(100 * time.Millisecond) // the table is late, and the answer says to ask again
				outcome = f.one(w, n)
			}
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
	prompt := "from " + w.consumer + " " + w.prompt
	text := fmt.Sprintf(`"messages":[{"role":"user","content":%q}]`, prompt)
	if w.path == responsesPath {
		text = fmt.Sprintf(`"input":%q`, prompt)
	}
	body := fmt.Sprintf(`{"model":%q,%s,%s}`, w.model, w.body, text)
	if w.forbidden {
		body = fmt.Sprintf(`{"model":%q,%s,"metadata":{"who":%q}}`, w.model, w.body, prompt)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.hosts[n%len(f.hosts)].URL+cmp.Or(w.path, chatPath), strings.NewReader(body))
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
	return f.read(w, n, res)
}

// read reads an answer, up to where its caller leaves.
func (f *spendingFleet) read(w *spending, n int, res *http.Response) string {
	code := ""
	lines := bufio.NewScanner(res.Body)
	for lines.Buffer(nil, 8<<20); lines.Scan(); {
		if w.leaveAt != "" && strings.Contains(lines.Text(), w.leaveAt) {
			return fmt.Sprint(res.StatusCode, ", left")
		}
		var said struct {
			createdResponse
			Error struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			continue
		}
		if w.path == responsesPath && res.StatusCode == http.StatusOK {
			f.pollOf(w.consumer, n+1, said.ID)
		}
		if said.Error.Code != "" {
			code = " " + said.Error.Code
		}
	}
	return fmt.Sprint(res.StatusCode, code)
}

// pollOf polls a background response until it has ended.
func (f *spendingFleet) pollOf(consumer string, n int, id string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		a := ask(f.t.Context(), f.t, http.MethodGet, f.hosts[n%len(f.hosts)].URL+responsesPath+"/"+id, "", "api-key", keyOf(consumer))
		if strings.Contains(a.body, `"completed"`) {
			return
		}
	}
}

// spent is what backends received and generated for a consumer.
type spent struct {
	requests, tokens, completion int64
	worstTokens, worstRequests   int64 // of a minute
	money                        float64
}

func (f *spendingFleet) spent(w *spending) (s spent) {
	tokens, requests := map[int64]int64{}, map[int64]int64{}
	for _, e := range f.sim.Journal() {
		if strings.Contains(string(e.Body), "from "+w.consumer+" ") && e.Status != http.StatusTooManyRequests {
			used, ended := int64(e.PromptTokens+e.CompletionTokens), e.End.Unix()/60
			if w.each > 0 {
				used = 1100
			}
			s.requests, s.tokens, s.completion = s.requests+1, s.tokens+used, s.completion+int64(e.CompletionTokens)
			tokens[ended] += used
			requests[e.Time.Unix()/60]++
			s.worstTokens, s.worstRequests = max(s.worstTokens, tokens[ended]), max(s.worstRequests, requests[e.Time.Unix()/60])
		}
	}
	s.money = float64(s.completion)*cmp.Or(w.price, 1)/1e6 + float64(s.requests)*w.each
	return s
}

// check shows what a consumer spent, and compares it with its bounds.
func (f *spendingFleet) check(t *testing.T, w *spending) {
	t.Helper()
	s, booked := f.spent(w), bookedUsage{}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && !booked.equals(&s); {
		booked = f.books(t)[w.consumer]
	}
	refused := 0
	for outcome, n := range f.outcomes[w.consumer] {
		if strings.HasPrefix(outcome, "429") {
			refused += n
		}
	}
	fmt.Fprintf(&f.report, "%s\t%v\t%d\t%d\t%.2f\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t%v\n", w.consumer, w.limits, s.requests, s.tokens, s.money, s.worstTokens, s.worstRequests,
		booked.Prompt+booked.Completion, booked.EstimatedPrompt+booked.EstimatedCompletion, booked.Cost, booked.EstimatedCost, f.outcomes[w.consumer])
	beyond := w.largest * int64(len(f.hosts))
	for what, broken := range map[string]bool{
		"money":               w.budget > 0 && s.money > w.budget+float64(len(f.hosts))*max(w.each, float64(w.largest)*w.price/1e6),
		"tokens":              w.tokens > 0 && s.tokens > w.tokens+beyond,
		"tokens in a minute":  w.tokensAMinute > 0 && s.worstTokens > 2*w.tokensAMinute,
		"requests a minute":   w.requestsAMinute > 0 && float64(s.worstRequests) > 1.05*float64(w.requestsAMinute),
		"refusals":            w.refused > 0 && percent(int64(refused), int64(w.requests)) > w.refused,
		"forbidden":           w.forbidden && s.requests > 0,
		"what is in the book": w.patience == 0 && !w.estimated && !booked.equals(&s),
		"what is estimated":   w.estimated && booked.Prompt+booked.Completion < s.tokens*9/10,
	} {
		if broken {
			t.Errorf("%s: %s", w.consumer, what)
		}
	}
}

// equals reports whether so much is booked as was spent.
func (b *bookedUsage) equals(s *spent) bool {
	return b.Prompt+b.Completion == s.tokens && math.Abs(b.Cost-s.money) < 1e-6
}

// A limit that is lowered by a rolling restart, after the old one was used, holds from
// then on, and nobody is locked out for longer than the minute.
func TestSoakLoweredLimit(t *testing.T) {
	soakOnly(t)
	for _, n := range []int{1, 5, 20} {
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
