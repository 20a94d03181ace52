package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

const (
	messagesPath = "/anthropic/v1/messages"
	claude       = "claude-sonnet-5"
	helloMessage = `{"model":"claude-sonnet-5","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}`
	helloEvents  = `{"model":"claude-sonnet-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hello"}]}`
)

// claudes is two Foundry resources with a Claude, in the order of their priority.
func claudes(t *testing.T, change func(*simulator.Deployment), env ...string) *rig {
	var resources []simulator.Resource
	for _, name := range []string{"a", "b"} {
		res := deployed(name, claude)
		if change != nil {
			change(&res.Deployments[0])
		}
		resources = append(resources, res)
	}
	return api{
		resources: resources, env: env,
		entry: func(name string, entry map[string]any) { entry["priority"] = map[string]int{"a": 1, "b": 2}[name] },
	}.start(t)
}

// message sends a request as Anthropic's SDKs do.
func (r *rig) message(body string, header ...string) answer {
	r.t.Helper()
	return r.post(messagesPath, body, append([]string{"Anthropic-Version", "2023-06-01", "X-Api-Key", "any"}, header...)...)
}

// anthropicForNode runs one case of testdata/anthropic.mjs.
func (r *rig) anthropicForNode(t *testing.T, which string) map[string]any {
	t.Helper()
	result, ok := r.node(t, "anthropic.mjs", "", which)[which].(map[string]any)
	if !ok {
		t.Fatalf("anthropic.mjs %s printed no result", which)
	}
	return result
}

func TestAnthropicForNodeWorksUnmodified(t *testing.T) {
	t.Parallel()
	tools(t)
	r := claudes(t, nil)
	got := r.node(t, "anthropic.mjs", "", "plain,stream,helper,tools,count,refused")
	for which, check := range map[string]func(map[string]any) bool{
		"plain": func(m map[string]any) bool {
			return m["text"] != "" && m["stop"] == "end_turn" && m["output"].(float64) > 0 && strings.HasPrefix(m["id"].(string), "req")
		},
		"stream": func(m map[string]any) bool {
			return m["text"] != "" && m["stop"] == "end_turn" && m["output"].(float64) > 1
		},
		"helper": func(m map[string]any) bool { return m["text"] != "" && m["stop"] == "end_turn" },
		"tools": func(m map[string]any) bool {
			return m["name"] == "weather" && m["city"] == "water" && m["stop"] == "tool_use" && m["streamed"] == "water"
		},
		"count": func(m map[string]any) bool { return m["input_tokens"].(float64) > 0 },
		"refused": func(m map[string]any) bool {
			return m["error"] == "NotFoundError" && m["type"] == "not_found_error" && strings.Contains(m["message"].(string), claude) && m["id"] != nil
		},
	} {
		if result, ok := got[which].(map[string]any); !ok || !check(result) {
			t.Errorf("%s: %v", which, got[which])
		}
	}
	for _, e := range r.sim.Journal() {
		if e.Header.Get("X-Api-Key") != backendKey || e.Header.Get("Api-Key") != "" || e.Deployment != claude+"-at-a" {
			t.Errorf("%s got the key %q for %s", e.Path, e.Header.Get("X-Api-Key"), e.Deployment)
		}
	}
}

func TestAnthropicForNodeRetriesAThrottledPool(t *testing.T) {
	t.Parallel()
	tools(t)
	r := claudes(t, nil, "SPILLWAY_MAX_WAIT=0")
	for _, name := range []string{"a", "b"} {
		r.sim.Next(name, simulator.Fault{Action: "429", RetryAfter: 1200 * time.Millisecond})
	}
	got := r.anthropicForNode(t, "retried")
	if ms := time.Duration(got["ms"].(float64)) * time.Millisecond; got["text"] == "" || ms < 1150*time.Millisecond {
		t.Errorf("%v, want an answer after retry-after-ms", got)
	}
	if n := len(r.sim.Journal()); n != 3 {
		t.Errorf("%d requests at the backends, want 3", n)
	}
}

// A message that broke off is an error of the client, whichever way it is read.
func TestAnthropicForNodeReportsABrokenStream(t *testing.T) {
	t.Parallel()
	tools(t)
	for _, action := range []string{"cut-clean", "cut-abort", "cut-reset", "stream-error"} {
		r := claudes(t, nil)
		r.sim.Next("a", simulator.Fault{Action: action, Chunks: 3}, simulator.Fault{Action: action, Chunks: 3})
		for which, got := range r.node(t, "anthropic.mjs", "", "broken,final") {
			if m := got.(map[string]any); m["error"] == nil || !strings.HasSuffix(m["error"].(string), "Error") || m["error"] == "TypeError" {
				t.Errorf("%s %s: %v", action, which, m)
			}
		}
	}
}

func TestAnthropicForNodeAbortCancelsTheBackend(t *testing.T) {
	t.Parallel()
	tools(t)
	r := claudes(t, func(d *simulator.Deployment) { d.PerToken, d.AnswerTokens = 20*time.Millisecond, 1000 })
	r.anthropicForNode(t, "abort")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.sim.WaitDisconnect(ctx, "a"); err != nil {
		t.Error(err)
	}
}

// What one backend refuses another serves, before the first content of a message.
func TestMessagesFailOver(t *testing.T) {
	t.Parallel()
	r := claudes(t, nil)
	for _, f := range []simulator.Fault{
		{Action: "429"},
		{Action: "529"},
		{Action: "500"},
		{Action: "401-key"},
		{Action: "404-deployment"},
		{Action: "html-200"},
		{Action: "half-json-200"},
		{Action: "stream-429"},
		{Action: "stream-error"},
		{Action: "stream-error", Order: "created-error-failed"},
		{Action: "cut-clean"},
	} {
		r.sim.Reset()
		r.sim.Next("a", f)
		body := helloMessage
		if f.Action == "cut-clean" || strings.HasPrefix(f.Action, "stream-") {
			body = helloEvents
		}
		fresh := claudesAt(r)
		if a := fresh.message(body); a.status != http.StatusOK || a.err != nil || a.backend() != "b" || strings.Contains(a.body, "error") {
			t.Errorf("%s %s: %d by %q, %v: %s", f.Action, f.Order, a.status, a.backend(), a.err, a.body)
		}
	}
}

// claudesAt is another handler on the same resources, without a memory of them.
func claudesAt(r *rig) *rig {
	other := *r
	other.host = api{
		resources: []simulator.Resource{deployed("a", claude), deployed("b", claude)},
		entry:     func(name string, entry map[string]any) { entry["priority"] = map[string]int{"a": 1, "b": 2}[name] },
	}.handler(&other)
	return &other
}

func TestMessageWithoutItsStopEventIsCompleted(t *testing.T) {
	t.Parallel()
	r := claudes(t, nil)
	r.sim.Next("a", simulator.Fault{Action: "no-done"})
	if a := r.message(helloEvents); a.err != nil || strings.Count(a.body, "event: message_stop") != 1 {
		t.Errorf("%v: %s", a.err, a.body)
	}
}

// Errors have Anthropic's form, whoever makes them: this gateway, the model, or
// Azure's front end.
func TestErrorsOfMessagesHaveAnthropicsForm(t *testing.T) {
	t.Parallel()
	r := claudes(t, nil, "SPILLWAY_MAX_WAIT=0")
	for name, c := range map[string]struct {
		path, body, fault string
		status            int
		kind              string
	}{
		"no model":     {messagesPath, `{"max_tokens":1,"messages":[]}`, "", 400, "invalid_request_error"},
		"other model":  {messagesPath, `{"model":"gpt-4o","max_tokens":1,"messages":[]}`, "", 404, "not_found_error"},
		"other path":   {"/anthropic/v1/complete", `{}`, "", 404, "not_found_error"},
		"the model":    {messagesPath, `{"model":"claude-sonnet-5","messages":[{"role":"user","content":"Hi"}]}`, "", 400, "invalid_request_error"},
		"front end":    {messagesPath, helloMessage, "400-context", 400, "invalid_request_error"},
		"page of HTML": {messagesPath, helloMessage, "413-html", 413, "request_too_large"},
	} {
		if c.fault != "" {
			r.sim.Next("a", simulator.Fault{Action: c.fault})
		}
		if name == "page of HTML" { // it is no word about the request until all say so
			r.sim.Next("b", simulator.Fault{Action: c.fault})
		}
		a := r.post(c.path, c.body, "Anthropic-Version", "2023-06-01")
		var e struct {
			Type      string
			Error     struct{ Type, Message string }
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != c.status || e.Type != "error" || e.Error.Type != c.kind || e.Error.Message == "" {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, c.status, c.kind)
		}
		if a.header.Get("Request-Id") == "" {
			t.Errorf("%s: no request-id", name)
		}
	}
}

// The tokens that were read from a cache or written to it are a part of the prompt,
// once, though the usage comes twice.
func TestUsageOfMessagesIsCountedOnce(t *testing.T) {
	t.Parallel()
	r := claudes(t, nil)
	long := strings.Repeat("water runs over the edge ", 400)
	body := fmt.Sprintf(`{"model":"claude-sonnet-5","max_tokens":100,"stream":true,"system":[{"type":"text","text":%q,"cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"Hello"}]}`, long)
	for i := range 2 {
		if a := r.message(body); a.status != http.StatusOK || a.err != nil {
			t.Fatalf("%d, %v: %s", a.status, a.err, a.body)
		}
		e := r.sim.Journal()[i]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		want := fmt.Sprintf(`"prompt_tokens":%d,"cached_tokens":%d,"completion_tokens":%d`, e.PromptTokens, e.CachedTokens, e.CompletionTokens)
		if _, err := r.host.WaitLine(ctx, want); err != nil {
			t.Errorf("request %d: no line with %s: %v", i, want, err)
		}
		cancel()
		if i == 1 && e.CachedTokens == 0 {
			t.Error("nothing was cached: the test proves nothing")
		}
	}
}
