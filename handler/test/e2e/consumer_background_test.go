package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The usage of background responses comes with their last state, to whoever asks
// first, on any instance: it replaces the estimate once, in the limits of the month
// and in the books.
// It is a soak test: where the table takes longer than requests wait for it, an
// estimate stays (docs/quotas.md#limits).
func TestSoakBackgroundResponsesArePaidOnce(t *testing.T) {
	if _, ok := soaking(t); !ok {
		t.Skip("a long one: SPILLWAY_SOAK=1m go test -run SoakBackgroundResponses ./handler/test/e2e")
	}
	for _, n := range []int{1, 2, 5, 20} {
		t.Run(fmt.Sprint(n, " instances"), func(t *testing.T) { backgroundResponses(t, n) })
	}
}

func backgroundResponses(t *testing.T, instances int) {
	t.Helper()
	limits := map[string]any{"tokensPerMonth": 100_000_000, "budgetPerMonth": 1000, "perCaller": map[string]any{"tokensPerMonth": 50_000_000}}
	team, idle := map[string]any{"name": "team"}, map[string]any{"name": "idle"}
	for name, value := range limits {
		team[name], idle[name] = value, value
	}
	s := metered(team, idle)
	s.backends[0].deployment.TimeToFirstToken, s.backends[0].deployment.PerToken = 20*time.Millisecond, 2*time.Millisecond
	s.env = append(s.env, "SPILLWAY_OPERATOR_KEY="+accountingOperatorKey)
	s.journal = 0
	c := startConsumerFleet(t, instances, s)
	for n := range 3 * instances {
		var m createdResponse
		a := c.respond(n, "POST", "", `{"model":"gpt-4o","user":"ann","input":"Where does the water go?","background":true}`)
		a.decoded(t, &m)
		c.pollUntilEnded(t, n+1, m.ID)
		for k := range instances { // again changes nothing
			c.respond(n+k, "GET", "/"+m.ID, "")
			c.respond(n+k, "POST", "/"+m.ID+"/cancel", "")
		}
		id := c.leaveStream(t, n)
		for k := range 2 {
			if a := c.respond(n+1+k, "GET", "/"+id+"?stream=true", ""); !strings.Contains(a.body, "response.completed") {
				t.Fatalf("resumed: %d %s", a.status, a.body)
			}
		}
	}
	sold := c.sold()
	c.wantBooked(t, "team", sold.Prompt+sold.Completion)
	c.wantMoney(t, "team", int64(math.Round(float64(sold.Prompt)*2500+float64(sold.Completion)*10_000)))
	if a := ask(t.Context(), t, http.MethodPost, c.hosts[0].URL+responsesPath, `{"model":"gpt-4o","input":"Hello","background":true}`, "api-key", keyOf("idle")); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	books := c.books(t)
	if b := books["team"]; b.Prompt != sold.Prompt || b.Completion != sold.Completion || b.EstimatedCompletion != 0 || b.Unmetered != 0 {
		t.Errorf("the books say %+v, the backend %+v", b, sold)
	}
	if b := books["idle"]; b.Unmetered != 1 || b.Completion == 0 || b.EstimatedCompletion != b.Completion {
		t.Errorf("a response that nobody asked for: %+v, want its estimate", b)
	}
	t.Logf("%d instances, %d responses: the backend %+v, the books %+v", instances, 6*instances, sold, books["team"])
}

// respond sends a request about responses as the team.
func (c *consumerFleet) respond(n int, method, path, body string) answer {
	c.t.Helper()
	url := c.hosts[n%len(c.hosts)].URL + responsesPath + path
	a := ask(c.t.Context(), c.t, method, url, body, "api-key", keyOf("team"))
	for deadline := time.Now().Add(time.Minute); a.status == http.StatusServiceUnavailable && time.Now().Before(deadline); { // the table is slow
		a = ask(c.t.Context(), c.t, method, url, body, "api-key", keyOf("team"))
	}
	if a.status != http.StatusOK {
		c.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

func (c *consumerFleet) pollUntilEnded(t *testing.T, n int, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		var m createdResponse
		a := c.respond(n, "GET", "/"+id, "")
		a.decoded(t, &m)
		if m.Status == "completed" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the response does not end")
}

// leaveStream leaves the stream of a background response once its id is known.
func (c *consumerFleet) leaveStream(t *testing.T, n int) (id string) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	body := `{"model":"gpt-4o","user":"ann","input":"Where does the water go?","background":true,"stream":true}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.hosts[n%len(c.hosts)].URL+responsesPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Api-Key", keyOf("team"))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), `"id":"resp_`); ok {
			id, _, _ = strings.Cut(rest, `"`)
			return "resp_" + id
		}
	}
	t.Fatal("no id")
	return ""
}

type soldTokens struct{ Prompt, Completion int64 }

// sold is what the backend generated, whether somebody heard it or not.
func (c *consumerFleet) sold() (sum soldTokens) {
	for _, e := range c.sim.Journal() {
		if e.Method == http.MethodPost && strings.HasSuffix(e.Path, "/responses") {
			sum.Prompt += int64(e.PromptTokens)
			sum.Completion += 100
		}
	}
	return sum
}

type bookedUsage struct {
	Consumer            string `json:"consumer"`
	Prompt              int64  `json:"prompt"`
	Completion          int64  `json:"completion"`
	Unmetered           int64  `json:"unmetered"`
	EstimatedCompletion int64  `json:"estimated_completion"`
}

// books is the usage by consumer, once all instances have written theirs.
func (c *consumerFleet) books(t *testing.T) map[string]bookedUsage {
	t.Helper()
	all := map[string]bookedUsage{}
	for range 2 { // the last one of the first round has what all have written
		for _, h := range c.hosts {
			a := ask(t.Context(), t, http.MethodGet, h.URL+"/ops/api/usage?by=consumer&from="+time.Now().UTC().Add(-3*time.Hour).Format(time.RFC3339), "", "x-spillway-operator-key", accountingOperatorKey)
			var answer struct {
				Rows []bookedUsage `json:"rows"`
			}
			if err := json.Unmarshal([]byte(a.body), &answer); err != nil || a.status != http.StatusOK {
				t.Fatalf("%d %v: %s", a.status, err, a.body)
			}
			for _, row := range answer.Rows {
				all[row.Consumer] = row
			}
		}
	}
	return all
}
