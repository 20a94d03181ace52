package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
	"spillway/handler/test/funchost"
)

// fenceRules is what one consumer may reach.
type fenceRules struct {
	geographies []string
	minPriority int
	models      []string
	concurrency int // on each instance
	tokens      int // of one request
}

// soakedFences are the consumers of the soak; entra's is known by its token.
var soakedFences = map[string]fenceRules{
	"eu":    {geographies: []string{"eu"}, models: []string{"gpt-4o", "gpt-4o-mini"}, concurrency: 4, tokens: 400},
	"us":    {geographies: []string{"us"}, minPriority: 2, models: []string{"gpt-4o"}, concurrency: 3},
	"entra": {geographies: []string{"eu", "us"}, minPriority: 2, models: []string{"gpt-4o", "gpt-4o-mini"}, concurrency: 5, tokens: 300},
	"small": {models: []string{"gpt-4o-mini"}, concurrency: 2, tokens: 200},
}

var soakedPlaces = map[string]struct {
	geography string
	priority  int
}{"ptu": {"us", 1}, "us1": {"us", 2}, "us2": {"us", 3}, "eu1": {"eu", 1}, "eu2": {"eu", 2}, "nowhere": {"", 1}}

// Two instances share a table; everything is on: hedges, fallbacks, probes, trials,
// follow-ups, background, files of requests, keys and tokens, under failures of every
// kind. What the backends received is inside every fence, and names nothing that
// another consumer made.
func TestSoakFencesHoldUnderChaos(t *testing.T) {
	_, part := share(t, 100)
	wantFencesHold(t, max(2000, int(20_000*part)))
}

func wantFencesHold(t *testing.T, requests int) {
	i := startIssuer(t)
	f := startFenceFleet(t, i)
	for name := range soakedPlaces {
		for _, action := range []string{"503", "429-token", "500", "reset-before-headers", "stream-429", "cut-abort", "slow", "404-deployment", "400-filter", "hang-before-headers"} {
			probability := map[string]float64{"404-deployment": 0.0005, "hang-before-headers": 0.0005, "slow": 0.05}[action]
			if probability == 0 {
				probability = 0.02
			}
			f.sim.Fault(name, simulator.Fault{Action: action, Probability: probability, RetryAfter: 30 * time.Millisecond, Latency: 60 * time.Millisecond, Chunks: 2, Hold: 5 * time.Second})
		}
	}
	token := "Bearer " + i.token()
	var left, served atomic.Int64
	left.Store(int64(requests))
	var asking sync.WaitGroup
	for worker := range 24 {
		asking.Go(func() {
			w := &fenceWalk{fenceFleet: f, chance: rand.New(rand.NewPCG(uint64(worker), 7)), token: token}
			for left.Add(-1) >= 0 {
				if w.step() == http.StatusOK {
					served.Add(1)
				}
			}
		})
	}
	asking.Wait()
	seen := f.sim.Journal()
	hedged, kinds := 0, map[string]int{}
	for k := range seen {
		e := &seen[k]
		kinds[e.Operation]++
		if e.Disconnected() {
			hedged++
		}
		for _, problem := range append(outsideFences(e), f.othersThings(e)...) {
			t.Errorf("%s of %s: %s %s %s", problem, e.Header.Get("X-Whose"), e.Method, e.Path, e.Body)
		}
	}
	f.wantConcurrency(t, seen)
	t.Logf("%d requests of callers, %d served, %d at backends (%d broken off): %v", requests, served.Load(), len(seen), hedged, kinds)
	if served.Load() < int64(requests)/8 || hedged == 0 || kinds["files"] == 0 || len(f.makers) < requests/20 {
		t.Errorf("%d of %d served, %d hedges, %d files and %d ids prove nothing", served.Load(), requests, hedged, kinds["files"], len(f.makers))
	}
}

// fenceFleet is the two instances.
type fenceFleet struct {
	*rig
	hosts  []*funchost.Host
	mu     sync.Mutex
	ids    []string          // of responses and files, whoever made them
	makers map[string]string // by id
}

func startFenceFleet(t *testing.T, i *issuer) *fenceFleet {
	t.Helper()
	var resources []simulator.Resource
	for name := range soakedPlaces {
		res := deployed(name, "gpt-4o", "gpt-4o-mini", "o3")
		for k := range res.Deployments {
			res.Deployments[k].TimeToFirstToken, res.Deployments[k].Jitter, res.Deployments[k].AnswerTokens = 5*time.Millisecond, 1, 600
		}
		resources = append(resources, res)
	}
	var consumers []map[string]any
	env := append(i.trusting().env, "SPILLWAY_MAX_WAIT=50ms", "SPILLWAY_STATE="+storetest.StartAzurite(t).ConnectionString)
	for name, rules := range soakedFences {
		c := map[string]any{"name": name, "models": rules.models, "concurrency": rules.concurrency}
		for member, value := range map[string]any{"geographies": rules.geographies, "minPriority": rules.minPriority, "maxRequestTokens": rules.tokens} {
			if text := fmt.Sprint(value); text != "0" && text != "[]" {
				c[member] = value
			}
		}
		if name == "entra" {
			c["entra"] = map[string]any{"appId": appID}
		} else {
			c["keySetting"] = strings.ToUpper(name) + "_KEY"
			env = append(env, strings.ToUpper(name)+"_KEY="+keyOf(name))
		}
		consumers = append(consumers, c)
	}
	setup := api{resources: resources, entry: func(name string, entry map[string]any) {
		place := soakedPlaces[name]
		entry["priority"], entry["stateful"] = place.priority, name == "us1" || name == "eu2"
		if place.geography != "" {
			entry["geography"] = place.geography
		}
		if name == "ptu" {
			entry["capacity"] = "provisioned"
		}
	}, document: map[string]any{
		"consumers": consumers, "circuitBreaker": map[string]any{"tripDuration": "200ms", "maxTripDuration": "400ms"},
		"models": map[string]any{"gpt-4o": map[string]any{"fallbacks": []string{"gpt-4o-mini"}, "hedge": map[string]any{"after": "20ms", "maxPercent": 50}, "strategy": "least-busy"}},
	}, env: env}
	r := setup.start(t)
	return &fenceFleet{rig: r, hosts: []*funchost.Host{r.host, setup.handler(r)}, makers: map[string]string{}}
}

// fenceWalk sends random requests.
type fenceWalk struct {
	*fenceFleet
	chance *rand.Rand
	token  string
}

func (w *fenceWalk) step() int {
	who := []string{"eu", "us", "entra", "small"}[w.chance.IntN(4)]
	at := w.chance.IntN(len(w.hosts))
	method, path, body, contentType := w.request()
	header := []string{"X-Whose", fmt.Sprint(who, " ", at), "Content-Type", contentType}
	if who == "entra" {
		header = append(header, "Authorization", w.token)
	} else {
		header = append(header, "Api-Key", keyOf(who))
	}
	a := ask(w.t.Context(), w.t, method, w.hosts[at].URL+path, body, header...)
	if a.status == http.StatusOK && method == http.MethodPost {
		w.learn(who, a.body)
	}
	return a.status
}

// learn remembers ids in an answer, for whoever comes next.
func (w *fenceWalk) learn(who, body string) {
	for _, prefix := range []string{"resp_", "file-", "assistant-", "vs_", "conv_"} {
		if _, rest, ok := strings.Cut(body, `"id":"`+prefix); ok {
			id, _, _ := strings.Cut(rest, `"`)
			w.mu.Lock()
			w.makers[prefix+id] = who
			if w.ids = append(w.ids, prefix+id); len(w.ids) > 500 {
				w.ids = w.ids[len(w.ids)-500:]
			}
			w.mu.Unlock()
		}
	}
}

func (w *fenceWalk) anyID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ids) == 0 || w.chance.IntN(8) == 0 {
		return fmt.Sprint("resp_unknown", w.chance.IntN(1000))
	}
	return w.ids[w.chance.IntN(len(w.ids))]
}

func (w *fenceWalk) request() (method, path, body, contentType string) {
	switch w.chance.IntN(16) {
	case 0:
		body, contentType = w.fileOfRequests()
		return "POST", "/openai/v1/files", body, contentType
	case 1:
		purpose := []string{"user_data", "batch"}[w.chance.IntN(2)]
		return "POST", "/openai/v1/uploads", fmt.Sprintf(`{"purpose":%q,"filename":"a.jsonl","bytes":10,"mime_type":"text/jsonl"}`, purpose), "application/json"
	}
	method, path, body = w.jsonRequest()
	return method, path, body, "application/json"
}

// fileOfRequests is a form with a file of up to three requests, of which some name
// what their sender may not.
func (w *fenceWalk) fileOfRequests() (form, contentType string) {
	var lines strings.Builder
	for i := range 1 + w.chance.IntN(3) {
		model := []string{"gpt-4o-mini", "gpt-4o-mini", "gpt-4o", "o3"}[w.chance.IntN(4)]
		more := []string{`,"max_output_tokens":100`, `,"max_output_tokens":100`, ``, `,"max_output_tokens":9000`}[w.chance.IntN(4)]
		if w.chance.IntN(6) == 0 {
			more += fmt.Sprintf(`,"previous_response_id":%q`, w.anyID())
		}
		fmt.Fprintf(&lines, `{"custom_id":"%d","method":"POST","url":"/v1/responses","body":{"model":%q,"input":"Hello"%s}}`+"\n", i, model, more)
	}
	return multipartForm(w.t, []byte(lines.String()), "purpose", "batch")
}

func (w *fenceWalk) jsonRequest() (method, path, body string) {
	model := []string{"gpt-4o", "GPT-4o", "gpt-4o-mini", "o3"}[w.chance.IntN(4)]
	more := []string{
		"", `,"max_completion_tokens":null`, `,"max_tokens":150`, `,"n":2`, `,"max_tokens":5000`, `,"stream":true`, `,"stream":true`,
		`,"max_tokens":5,"max_completion_tokens":-1`, `,"max_tokens":5,"n_predict":9000`,
	}[w.chance.IntN(9)]
	prompt := strings.Repeat("word ", w.chance.IntN(60))
	switch w.chance.IntN(14) {
	case 0, 1, 2, 3:
		return "POST", chatPath, fmt.Sprintf(`{"model":%q%s,"messages":[{"role":"user","content":%q}]}`, model, more, prompt)
	case 4:
		named := []string{"", `,"model":"gpt-4o"`, `,"model":"o3"`}[w.chance.IntN(3)]
		return "POST", "/openai/deployments/" + model + "/chat/completions?api-version=2024-10-21&model=o3", fmt.Sprintf(`{"messages":[{"role":"user","content":%q}]%s%s}`, prompt, more, named)
	case 5, 6:
		return "POST", responsesPath, fmt.Sprintf(`{"model":%q,"input":%q,"background":%t}`, model, prompt, w.chance.IntN(4) == 0)
	case 7:
		return "POST", responsesPath, fmt.Sprintf(`{"model":%q,"input":"Go on","previous_response_id":%q}`, model, w.anyID())
	case 8:
		return "POST", responsesPath, fmt.Sprintf(`{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation","model":%q}]}`, model)
	case 9:
		return "GET", responsesPath + "/" + w.anyID(), ""
	case 10:
		return []string{"GET", "DELETE"}[w.chance.IntN(2)], "/openai/v1/files/" + w.anyID(), ""
	case 11:
		return "POST", "/openai/v1/vector_stores", []string{`{}`, fmt.Sprintf(`{"file_ids":[%q]}`, w.anyID())}[w.chance.IntN(2)]
	case 12:
		return "POST", "/openai/v1/conversations", `{}`
	}
	return "GET", "/openai/v1/files", ""
}

// outsideFences lists the fences that a request at a backend is outside of.
func outsideFences(e *simulator.Entry) (problems []string) {
	who, _, _ := strings.Cut(e.Header.Get("X-Whose"), " ")
	rules, place := soakedFences[who], soakedPlaces[e.Resource]
	if len(rules.geographies) > 0 && !slices.Contains(rules.geographies, place.geography) {
		problems = append(problems, "outside its geographies at "+e.Resource)
	}
	if place.priority < rules.minPriority {
		problems = append(problems, "below its minPriority at "+e.Resource)
	}
	model, _, named := strings.Cut(e.Deployment, "-at-")
	if named && !slices.Contains(rules.models, model) {
		problems = append(problems, "the model "+model)
	}
	if strings.Contains(string(e.Body), `"o3`) || strings.Contains(e.RawQuery, "o3") {
		problems = append(problems, "a forbidden model in the body")
	}
	var body struct {
		MaxTokens           int `json:"max_tokens"`
		MaxCompletionTokens int `json:"max_completion_tokens"`
		MaxOutputTokens     int `json:"max_output_tokens"`
		NPredict            int `json:"n_predict"`
		N                   int
	}
	problems = append(problems, linesOutside(e, &rules)...)
	generates := e.Method == "POST" && (e.Operation == "chat/completions" || e.Operation == "responses")
	if rules.tokens == 0 || !generates || json.Unmarshal(e.Body, &body) != nil {
		return problems
	}
	bound := max(body.MaxTokens, body.MaxCompletionTokens, body.MaxOutputTokens, body.NPredict) * max(body.N, 1)
	if bound == 0 || bound > rules.tokens || e.CompletionTokens > rules.tokens {
		problems = append(problems, fmt.Sprintf("more than %d tokens", rules.tokens))
	}
	return problems
}

// linesOutside lists what is outside a fence in a file of requests.
func linesOutside(e *simulator.Entry, rules *fenceRules) (problems []string) {
	if e.Operation == "uploads" && strings.Contains(string(e.Body), `"batch"`) {
		problems = append(problems, "a file of requests in parts")
	}
	for line := range strings.Lines(string(e.Body)) {
		var request struct {
			Body struct {
				Model           string
				MaxOutputTokens int `json:"max_output_tokens"`
			}
		}
		if e.Operation != "files" || !strings.HasPrefix(line, `{"custom_id"`) || json.Unmarshal([]byte(line), &request) != nil {
			continue
		}
		if !slices.Contains(rules.models, request.Body.Model) {
			problems = append(problems, "a line for the model "+request.Body.Model)
		}
		if bound := request.Body.MaxOutputTokens; rules.tokens > 0 && (bound == 0 || bound > rules.tokens) {
			problems = append(problems, fmt.Sprintf("a line of more than %d tokens", rules.tokens))
		}
	}
	return problems
}

var anyObjectID = regexp.MustCompile(`(resp_|file-|assistant-|vs_|conv_)[A-Za-z0-9]+`)

// othersThings lists what a request at a backend names and another consumer made.
func (f *fenceFleet) othersThings(e *simulator.Entry) (problems []string) {
	who, _, _ := strings.Cut(e.Header.Get("X-Whose"), " ")
	for _, id := range anyObjectID.FindAllString(e.Path+" "+e.RawQuery+" "+string(e.Body), -1) {
		if maker := f.makers[id]; maker != "" && maker != who {
			problems = append(problems, fmt.Sprintf("%s, which %s made,", id, maker))
		}
	}
	return problems
}

// wantConcurrency checks how many requests of a consumer were at backends at once,
// from each instance.
func (f *fenceFleet) wantConcurrency(t *testing.T, seen []simulator.Entry) {
	t.Helper()
	from := map[string][]simulator.Entry{}
	for i := range seen {
		whose := seen[i].Header.Get("X-Whose")
		from[whose] = append(from[whose], seen[i])
	}
	for whose, list := range from {
		who, _, _ := strings.Cut(whose, " ")
		most := mostAtOnce(list)
		if most > soakedFences[who].concurrency {
			t.Errorf("%d requests of %s were at backends at once, with a concurrency of %d", most, whose, soakedFences[who].concurrency)
		}
		t.Logf("%s: %d requests at backends, at most %d at once", whose, len(list), most)
	}
}
