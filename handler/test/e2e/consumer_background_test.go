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
func TestBackgroundResponsesArePaidOnce(t *testing.T) {
	t.Parallel()
	backgroundResponses(t, 2, 2)
}

func TestSoakBackgroundResponsesArePaidOnce(t *testing.T) {
	if _, ok := soaking(t); !ok {
		t.Skip("a long one: SPILLWAY_SOAK=1m go test -run SoakBackgroundResponses ./handler/test/e2e")
	}
	for _, n := range []int{1, 5, 20} {
		t.Run(fmt.Sprint(n, " instances"), func(t *testing.T) { backgroundResponses(t, n, 3*n) })
	}
}

// backgroundResponses starts so many that are polled and so many that are left.
func backgroundResponses(t *testing.T, instances, each int) {
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
	var ids []string
	for n := range each {
		var m createdResponse
		a := c.respond("team", n, "POST", "", `{"model":"gpt-4o","user":"ann","input":"Where does the water go?","background":true}`)
		a.decoded(t, &m)
		c.pollUntilEnded(t, n+1, m.ID)
		for k := range instances { // again changes nothing
			c.respond("team", n+k, "GET", "/"+m.ID, "")
			c.respond("team", n+k, "POST", "/"+m.ID+"/cancel", "")
		}
		id := c.leaveStream(t, n)
		for k := range 2 {
			if a := c.respond("team", n+1+k, "GET", "/"+id+"?stream=true", ""); !strings.Contains(a.body, "response.completed") {
				t.Fatalf("resumed: %d %s", a.status, a.body)
			}
		}
		ids = append(ids, id, m.ID)
	}
	c.respond("idle", 0, "POST", "", `{"model":"gpt-4o","input":"Hello","background":true}`)
	sold := c.sold("Where does the water go?")
	c.askUntilBooked(ids, sold.Prompt+sold.Completion)
	c.wantBooked(t, "team", sold.Prompt+sold.Completion)
	c.wantMoney(t, "team", int64(math.Round(float64(sold.Prompt)*2500+float64(sold.Completion)*10_000)))
	c.wantBooks(t, sold)
}

// askUntilBooked waits until the month's row has what was used, and asks for the
// responses again now and then: where the table did not answer in time, what was due
// is still due. Who asks all the time has no lease returned.
func (c *consumerFleet) askUntilBooked(ids []string, used int64) {
	c.t.Helper()
	for range 6 {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if c.granted("team", "tpmo") == used {
				return
			}
		}
		for n, id := range ids {
			c.respond("team", n, "GET", "/"+id, "")
		}
	}
}

// wantBooks waits until the books have what was sold to the team, and for the others
// one response that nobody asked for, as its estimate.
func (c *consumerFleet) wantBooks(t *testing.T, sold soldTokens) {
	t.Helper()
	var team, idle bookedUsage
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		books := c.books(t)
		team, idle = books["team"], books["idle"]
		exact := team.Prompt == sold.Prompt && team.Completion == sold.Completion && team.EstimatedCompletion == 0 && team.Unmetered == 0
		if exact && idle.Unmetered == 1 && idle.Completion > 0 && idle.EstimatedCompletion == idle.Completion {
			return
		}
	}
	t.Errorf("the books say %+v, the backend %+v; of a response that nobody asked for %+v, want its estimate", team, sold, idle)
}

// respond sends a consumer's request about responses, again while the table is slow.
func (c *consumerFleet) respond(consumer string, n int, method, path, body string) answer {
	c.t.Helper()
	url := c.hosts[n%len(c.hosts)].URL + responsesPath + path
	a := ask(c.t.Context(), c.t, method, url, body, "api-key", keyOf(consumer))
	for deadline := time.Now().Add(time.Minute); a.status == http.StatusServiceUnavailable && time.Now().Before(deadline); {
		a = ask(c.t.Context(), c.t, method, url, body, "api-key", keyOf(consumer))
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
		a := c.respond("team", n, "GET", "/"+id, "")
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
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); { // again while the table is slow
		if id := c.leaveOneStream(t, n); id != "" {
			return id
		}
	}
	t.Fatal("no id")
	return ""
}

func (c *consumerFleet) leaveOneStream(t *testing.T, n int) (id string) {
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
	return ""
}

type soldTokens struct{ Prompt, Completion int64 }

// sold is what the backend generated for requests with this text, whether somebody
// heard it or not.
func (c *consumerFleet) sold(text string) (sum soldTokens) {
	for _, e := range c.sim.Journal() {
		if e.Method == http.MethodPost && strings.HasSuffix(e.Path, "/responses") && strings.Contains(string(e.Body), text) {
			sum.Prompt += int64(e.PromptTokens)
			sum.Completion += 100
		}
	}
	return sum
}

type bookedUsage struct {
	Consumer            string  `json:"consumer"`
	Prompt              int64   `json:"prompt"`
	Completion          int64   `json:"completion"`
	Unmetered           int64   `json:"unmetered"`
	Cost                float64 `json:"cost"`
	EstimatedPrompt     int64   `json:"estimated_prompt"`
	EstimatedCompletion int64   `json:"estimated_completion"`
	EstimatedCost       float64 `json:"estimated_cost"`
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
