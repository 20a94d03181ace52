package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

// Prices of the models, in millionths of a dollar for a token.
var testPrices = map[string]struct{ input, cached, output float64 }{
	"gpt-4o": {2.5, 1.25, 10}, "gpt-4o-mini": {0.15, 0.075, 0.6}, "text-embedding-3-small": {0.02, 0.02, 0},
}

// accountingRig is three processes on one table, before a service that fails now and
// then, and what they sell.
type accountingRig struct {
	t           *testing.T
	sim         *simulator.Service
	env         []string
	instances   [3]*instanceProcess
	instancesMu sync.RWMutex  // guards staff
	pacing      time.Duration // between one sale and the next

	mu   sync.Mutex
	sent []accountedRequest
}

// accountedRequest is one request, and what its caller knows of it.
type accountedRequest struct {
	n               int
	consumer, model string
	request         string // its id
	backend         string // that served; "" = nobody did
	complete        bool   // the answer came to its end
}

// accountingKey is where what was bought is booked.
type accountingKey struct{ consumer, model, backend string }

const accountingOperatorKey = "operator-of-the-records"

func newAccountingRig(t *testing.T) *accountingRig {
	t.Helper()
	s := &accountingRig{t: t, env: []string{"SPILLWAY_STATE=" + storetest.Azurite(t)}}
	var list []simulator.Resource
	for _, name := range []string{"a", "b", "c"} {
		res := simulator.Resource{Name: name, Region: "uksouth", Keys: []string{memberKey(0), memberKey(1), memberKey(2), memberKey(3)}}
		for model := range testPrices {
			d := simulator.Deployment{Name: model + "-at-" + name, Model: model, AnswerTokens: 400, PerToken: 5 * time.Millisecond}
			if model == "gpt-4o-mini" {
				d.ReasoningTokens = 5
			}
			res.Deployments = append(res.Deployments, d)
		}
		list = append(list, res)
	}
	s.sim = simulator.Start(t, simulator.Config{Resources: list})
	streams := true
	s.sim.Fault("a", simulator.Fault{Action: "503", Every: 11})
	s.sim.Fault("a", simulator.Fault{Action: "cut-abort", Stream: &streams, Chunks: 3, Every: 9})
	s.sim.Fault("b", simulator.Fault{Action: "429", RetryAfter: 30 * time.Millisecond, Every: 13})
	s.sim.Fault("b", simulator.Fault{Action: "slow", Stream: &streams, Latency: 400 * time.Millisecond, Every: 12})
	s.env = append(s.env, "SPILLWAY_CONFIG="+s.document(), "SPILLWAY_AUTH=key", "TEAM_A_KEY="+keyForTeam("team-a"), "TEAM_B_KEY="+keyForTeam("team-b"),
		"SPILLWAY_OPERATOR_KEY="+accountingOperatorKey, "SPILLWAY_MAX_WAIT=0")
	for i := range s.instances {
		s.startInstance(i, i)
	}
	return s
}

// document is the pool: a and b share, c is for what they leave.
func (s *accountingRig) document() string {
	var backends []map[string]any
	for _, name := range []string{"a", "b", "c"} {
		names := map[string]string{}
		for model := range testPrices {
			names[model] = model + "-at-" + name
		}
		backends = append(backends, map[string]any{
			"name": name, "endpoint": s.sim.URL(name), "priority": map[string]int{"a": 1, "b": 1, "c": 2}[name], "deployments": names,
			"auth": map[string]string{"mode": "api-key", "setting": "BACKEND_KEY"},
		})
	}
	models := map[string]any{}
	for model, p := range testPrices {
		models[model] = map[string]any{
			"price": map[string]any{"currency": "USD", "input": p.input, "cachedInput": p.cached, "output": p.output},
			"hedge": map[string]any{"after": "150ms", "maxPercent": 20},
		}
	}
	text, err := json.Marshal(map[string]any{
		"backends": backends, "models": models, "circuitBreaker": map[string]any{"failures": 100_000},
		"consumers": []map[string]any{{"name": "team-a", "keySetting": "TEAM_A_KEY"}, {"name": "team-b", "keySetting": "TEAM_B_KEY"}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// startInstance starts a process at the place, which backends know by the key.
func (s *accountingRig) startInstance(at, key int) {
	p := startInstanceProcess(s.t, append(s.env[:len(s.env):len(s.env)], "BACKEND_KEY="+memberKey(key), fmt.Sprint("WEBSITE_POD_NAME=member-", key))...)
	s.instancesMu.Lock()
	defer s.instancesMu.Unlock()
	s.instances[at] = p
}

func (s *accountingRig) instance(i int) *instanceProcess {
	s.instancesMu.RLock()
	defer s.instancesMu.RUnlock()
	return s.instances[i%len(s.instances)]
}

// sendRange sells the numbers from one to below another, several at a time; each of
// the moments comes when that number is begun.
func (s *accountingRig) sendRange(from, to int, actions map[int]func()) {
	var selling sync.WaitGroup
	next := make(chan int)
	for range 12 {
		selling.Go(func() {
			for i := range next {
				p := s.sendOne(i)
				s.mu.Lock()
				s.sent = append(s.sent, p)
				s.mu.Unlock()
			}
		})
	}
	for i := from; i < to; i++ {
		if moment := actions[i]; moment != nil {
			selling.Go(moment)
		}
		next <- i
		time.Sleep(s.pacing)
	}
	close(next)
	selling.Wait()
}

// awaitLogLines waits until the process has awaitLogLines of everything that it served: then it
// has booked it.
func (s *accountingRig) awaitLogLines(p *instanceProcess) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, missing := p.out.String()+p.errs.String(), 0
		for i := range s.sent {
			if b := &s.sent[i]; s.instance(b.n) == p && b.request != "" && !strings.Contains(text, b.request) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d requests have no line", missing)
		}
	}
}

// longPrompt is one that a cache can serve.
var longPrompt = strings.Repeat("Consider all that was said before. ", 150)

// sendOne is one request of some kind, to its end or until its caller leaves.
func (s *accountingRig) sendOne(n int) accountedRequest {
	chance := rand.New(rand.NewPCG(uint64(n), 4711))
	p := accountedRequest{n: n, consumer: []string{"team-a", "team-b"}[chance.IntN(2)], model: []string{"gpt-4o", "gpt-4o-mini"}[chance.IntN(2)]}
	prompt := fmt.Sprint("This is number ", n)
	if chance.IntN(3) == 0 {
		prompt = longPrompt + prompt
	}
	path, leaves := chatPath, false
	body := fmt.Sprintf(`{"model":%q,"user":"n-%d","max_tokens":%d,"messages":[{"role":"user","content":%q}]`, p.model, n, 6+chance.IntN(20), prompt)
	switch kind := chance.IntN(20); {
	case kind < 3:
		p.model, path = "text-embedding-3-small", "/openai/v1/embeddings"
		body = fmt.Sprintf(`{"model":%q,"user":"n-%d","input":%q`, p.model, n, prompt)
	case kind < 5: // its answer would be long
		body = fmt.Sprintf(`{"model":%q,"user":"n-%d","stream":true,"messages":[{"role":"user","content":%q}]`, p.model, n, prompt)
		leaves = true
	case kind < 13:
		body += `,"stream":true`
	}
	s.exchange(&p, s.instance(n).url+path, body+"}", leaves)
	return p
}

func (s *accountingRig) exchange(p *accountedRequest, url, body string, leaves bool) {
	ctx, leave := context.WithCancel(s.t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header.Set("Api-Key", keyForTeam(p.consumer))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return // its handler was killed
	}
	defer res.Body.Close()
	p.request = res.Header.Get("X-Request-Id")
	if res.StatusCode != http.StatusOK {
		s.t.Errorf("number %d: %d", p.n, res.StatusCode)
		return
	}
	p.backend = res.Header.Get("X-Spillway-Backend")
	if leaves {
		heard := bufio.NewReader(res.Body)
		for line := ""; err == nil && !strings.Contains(line, `"content":"`); {
			line, err = heard.ReadString('\n')
		}
		return
	}
	_, err = io.Copy(io.Discard, res.Body)
	p.complete = err == nil
}

var requestNumber = regexp.MustCompile(`"user":"n-(\d+)"`)

// journal is what the service knows: by number and backend.
func (s *accountingRig) journal() map[string]*simulator.Entry {
	all := map[string]*simulator.Entry{}
	entries := s.sim.Journal()
	for i := range entries {
		e := &entries[i]
		m := requestNumber.FindSubmatch(e.Body)
		if m == nil {
			s.t.Errorf("the service has a request of nobody's: %s %s", e.Method, e.Path)
			continue
		}
		name := string(m[1]) + " " + e.Resource
		if old := all[name]; old != nil && old.Outcome == simulator.Served {
			s.t.Errorf("number %s was asked of %s again, which had served it", m[1], e.Resource)
		}
		all[name] = e // of a repetition, the last
	}
	return all
}
