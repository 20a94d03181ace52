package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// fences is a pool on both sides of a fence, with a hedge and a fallback, and these
// consumers.
func fences(t *testing.T, consumers ...map[string]any) *rig {
	t.Helper()
	env := []string{"SPILLWAY_AUTH=key", "SPILLWAY_MAX_WAIT=0"}
	for _, c := range consumers {
		setting := strings.ToUpper(c["name"].(string)) + "_KEY"
		c["keySetting"] = setting
		env = append(env, setting+"="+keyOf(c["name"].(string)))
	}
	res := []simulator.Resource{deployed("eu", "gpt-4o", "gpt-4o-mini"), deployed("us", "gpt-4o", "gpt-4o-mini")}
	for i := range res {
		for k := range res[i].Deployments {
			res[i].Deployments[k].AnswerTokens = 400
		}
	}
	return api{resources: res, entry: func(name string, entry map[string]any) {
		entry["geography"], entry["priority"] = name, map[string]int{"us": 1, "eu": 2}[name]
	}, document: map[string]any{
		"consumers": consumers, "models": map[string]any{"gpt-4o": map[string]any{"hedge": map[string]any{"after": "20ms", "maxPercent": 50}, "fallbacks": []string{"gpt-4o-mini"}}},
	}, env: env}.start(t)
}

func (r *rig) as(consumer, path, body string) answer {
	r.t.Helper()
	return r.post(path, body, "Api-Key", keyOf(consumer))
}

// The largest request bounds the answer where the caller does not, whatever the
// operation and wherever the prompt is.
func TestLargestRequestBoundsTheAnswer(t *testing.T) {
	t.Parallel()
	const most = 100
	r := fences(t, map[string]any{"name": "small", "maxRequestTokens": most}, map[string]any{"name": "free"})
	long := strings.Repeat("word ", 100)
	for name, c := range map[string]struct {
		path, body string
		member     string // that bounds the answer; "" = refused
	}{
		"chat":                         {chatPath, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}`, "max_completion_tokens"},
		"chat, two answers":            {chatPath, `{"model":"gpt-4o","n":2,"messages":[{"role":"user","content":"Hello"}]}`, "max_completion_tokens"},
		"stream":                       {chatPath, helloSSE, "max_completion_tokens"},
		"null":                         {chatPath, `{"model":"gpt-4o","max_completion_tokens":null,"messages":[{"role":"user","content":"Hello"}]}`, "max_completion_tokens"},
		"another operation's member":   {chatPath, `{"model":"gpt-4o","max_output_tokens":5,"messages":[{"role":"user","content":"Hello"}]}`, "max_completion_tokens"},
		"old version":                  {"/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01", `{"messages":[{"role":"user","content":"Hello"}]}`, "max_tokens"},
		"new version":                  {"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", `{"messages":[{"role":"user","content":"Hello"}]}`, "max_completion_tokens"},
		"responses":                    {responsesPath, `{"model":"gpt-4o","input":"Hello"}`, "max_output_tokens"},
		"responses with chat's member": {responsesPath, `{"model":"gpt-4o","input":"Hello","max_tokens":1}`, "max_output_tokens"},
		"one of two bounds":            {chatPath, `{"model":"gpt-4o","max_tokens":-1,"max_completion_tokens":0,"messages":[{"role":"user","content":"Hello"}]}`, "max_completion_tokens"},
		"a bound of another service":   {chatPath, `{"model":"gpt-4o","max_tokens":5,"n_predict":-1,"messages":[{"role":"user","content":"Hello"}]}`, ""},
		"own bound":                    {chatPath, `{"model":"gpt-4o","max_tokens":20,"messages":[{"role":"user","content":"Hello"}]}`, "max_tokens"},
		"own bound is too large":       {chatPath, `{"model":"gpt-4o","max_tokens":200,"messages":[{"role":"user","content":"Hello"}]}`, ""},
		"prompt":                       {chatPath, fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":%q}]}`, long), ""},
		"response format":              {chatPath, fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}],"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"description":%q}}}}`, long), ""},
		"prediction":                   {chatPath, fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}],"prediction":{"type":"content","content":%q}}`, long), ""},
		"functions":                    {chatPath, fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}],"functions":[{"name":"f","description":%q}]}`, long), ""},
		"text format":                  {responsesPath, fmt.Sprintf(`{"model":"gpt-4o","input":"Hello","text":{"format":{"type":"json_schema","name":"s","schema":{"description":%q}}}}`, long), ""},
		"prompt like data":             {chatPath, fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":%q}]}`, strings.Repeat("AbCd", 5000)), ""},
	} {
		before := len(r.sim.Journal())
		a := r.as("small", c.path, c.body)
		sent := r.sim.Journal()[before:]
		if c.member == "" {
			wantFinal(t, name, a, "max_request_tokens_exceeded", "maxRequestTokens")
			if len(sent) > 0 {
				t.Errorf("%s: a backend received %s", name, sent[0].Body)
			}
			continue
		}
		if a.status != http.StatusOK || len(sent) == 0 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(sent[0].Body, &got); err != nil {
			t.Fatalf("%s: %s: %v", name, sent[0].Body, err)
		}
		answers, _ := got["n"].(float64)
		bound, _ := got[c.member].(float64)
		if bound < 16 || bound*max(answers, 1) > most {
			t.Errorf("%s: the backend received %s", name, sent[0].Body)
		}
		if strings.Count(string(sent[0].Body), `"`+c.member+`"`) != 1 || sent[0].CompletionTokens > most {
			t.Errorf("%s: %d tokens of %s", name, sent[0].CompletionTokens, sent[0].Body)
		}
	}
	a := r.as("free", chatPath, hello)
	if seen := r.sim.Journal(); a.status != http.StatusOK || strings.Contains(string(seen[len(seen)-1].Body), "max_") {
		t.Errorf("without a largest request: %d, %s", a.status, seen[len(seen)-1].Body)
	}
}

// What is under way at the backends counts, hedges too: of a consumer with a concurrency
// of 2, a request and its hedge leave no place for another request, and two requests
// none for a hedge.
func TestHedgesObeyConcurrency(t *testing.T) {
	t.Parallel()
	r := fences(t, map[string]any{"name": "pair", "concurrency": 2}, map[string]any{"name": "two", "concurrency": 2}, map[string]any{"name": "free"})
	for range 6 { // half as many hedges as requests are allowed
		r.as("free", chatPath, helloSSE)
	}
	for _, name := range []string{"us", "eu"} {
		r.sim.Fault(name, simulator.Fault{Action: "hang-before-headers"})
	}
	ctx, leave := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer leave()
	bodyOf := func(consumer string) string { return strings.Replace(helloSSE, "Hello", "Hello from "+consumer, 1) }
	open := func(consumer string) {
		asking.Go(func() {
			ask(ctx, t, http.MethodPost, r.host.URL+chatPath, bodyOf(consumer), "Api-Key", keyOf(consumer))
		})
	}
	attempts := func(consumer string) (n int) {
		for _, e := range r.sim.Journal() {
			if strings.Contains(string(e.Body), "Hello from "+consumer) {
				n++
			}
		}
		return n
	}
	open("pair")
	eventually(t, "the request of one is hedged", func() bool { return attempts("pair") == 2 })
	wantRefusal(t, r.as("pair", chatPath, bodyOf("pair")), http.StatusTooManyRequests, "concurrency_limit_exceeded")
	open("two")
	open("two")
	eventually(t, "two requests are under way", func() bool { return attempts("two") >= 2 })
	open("free")
	eventually(t, "a later request is hedged", func() bool { return attempts("free") == 2 })
	if n := attempts("two"); n != 2 {
		t.Errorf("two requests were sent %d times, with a concurrency of 2", n)
	}
}

// mostAtOnce is how many of the requests were under way at once, each until its end
// or until its client left.
func mostAtOnce(seen []simulator.Entry) (most int) {
	for i := range seen {
		n := 0
		for k := range seen {
			end := seen[k].End
			if seen[k].Disconnected() {
				end = seen[k].DisconnectedAt
			}
			if !seen[k].Time.After(seen[i].Time) && (end.IsZero() || end.After(seen[i].Time)) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// A refusal says which fence it is, to the caller, in the log and in the metrics.
func TestRefusalsNameTheFence(t *testing.T) {
	t.Parallel()
	r := fences(t, map[string]any{"name": "eu", "geographies": []string{"eu"}}, map[string]any{"name": "spare", "minPriority": 2},
		map[string]any{"name": "one", "models": []string{"gpt-4o-mini"}}, map[string]any{"name": "small", "maxRequestTokens": 20}, map[string]any{"name": "free"})
	r.sim.Fault("eu", simulator.Fault{Action: "429-token", RetryAfter: 30 * time.Second})
	for consumer, c := range map[string]struct {
		status           int
		code, rule, text string
	}{
		"eu":    {429, "rate_limit_exceeded", "throttle,geographies", "within the geographies eu"},
		"spare": {429, "rate_limit_exceeded", "throttle,minPriority", "within the priority groups from 2 on"},
		"one":   {403, "model_not_allowed", "models", "may not use"},
		"small": {429, "max_request_tokens_exceeded", "maxRequestTokens", "maxRequestTokens"},
	} {
		a := r.as(consumer, chatPath, `{"model":"gpt-4o","max_tokens":30,"messages":[{"role":"user","content":"Hello"}]}`)
		wantRefusal(t, a, c.status, c.code)
		if !strings.Contains(a.body, c.text) {
			t.Errorf("%s: %s does not have %q", consumer, a.body, c.text)
		}
		if l := r.textOf(a); !strings.Contains(l, `"model":"gpt-4o"`) || !strings.Contains(l, fmt.Sprintf(`"rule":%q`, c.rule)) {
			t.Errorf("%s: the log has %s", consumer, l)
		}
	}
	if a := r.as("free", chatPath, hello); a.status != http.StatusOK {
		t.Errorf("a consumer without a fence: %d %s", a.status, a.body)
	}
}

// textOf waits for the log line of an answer.
func (r *rig) textOf(a answer) string {
	r.t.Helper()
	line, err := r.host.WaitLine(r.t.Context(), a.header.Get("X-Request-Id"))
	if err != nil {
		r.t.Fatal(err)
	}
	return line.Text
}

// The name of a model is one whatever its case: for permission, for limits, also of
// a model that only "*" serves, and in every place of a request.
func TestModelNamesAreOneWhateverTheirCase(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{ownDeployments("a", "gpt-4o", "gpt-5", "o3")}, entry: anyModel, document: map[string]any{
		"models": map[string]any{"gpt-4o": map[string]any{}},
		"consumers": []map[string]any{
			{"name": "team", "keySetting": "TEAM_KEY", "models": []string{"GPT-4O", "Gpt-5"}, "perModel": map[string]any{"GPT-4o": map[string]any{"requestsPerMinute": 1}, "gPT-5": map[string]any{"requestsPerMinute": 1}}},
			{"name": "other", "keySetting": "OTHER_KEY"},
		},
	}, env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=" + keyOf("team"), "OTHER_KEY=" + keyOf("other")}}.start(t)
	for _, names := range [][]string{{"gpt-4o", "GPT-4O", "Gpt-4o"}, {"gpt-5", "GPT-5", "Gpt-5"}} {
		served := 0
		for _, name := range names {
			for _, path := range []string{chatPath, "/openai/deployments/" + name + "/chat/completions?api-version=2024-10-21"} {
				if a := r.as("team", path, chatWith(name)); a.status == http.StatusOK {
					served++
				} else if a.status != http.StatusTooManyRequests {
					t.Errorf("%s: %d %s", name, a.status, a.body)
				}
			}
		}
		if served == 0 || served > 2 { // a minute may end meanwhile
			t.Errorf("%v: %d requests were served, with a limit of 1 a minute", names, served)
		}
	}
	for _, name := range []string{"o3", "O3"} {
		wantRefusal(t, r.as("team", chatPath, chatWith(name)), http.StatusForbidden, "model_not_allowed")
	}
}
