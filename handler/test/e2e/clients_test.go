package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"spillway/handler/internal/simulator"
)

// oneBackend is a backend whose circuit does not open, so that every stream of a test
// reaches it.
func oneBackend(t *testing.T, change func(*simulator.Deployment), env ...string) *rig {
	res := deployed("a", "gpt-4o")
	if change != nil {
		change(&res.Deployments[0])
	}
	return api{resources: []simulator.Resource{res}, document: map[string]any{
		"circuitBreaker": map[string]any{"failures": 1000}, "models": map[string]any{"gpt-4o": map[string]any{"aliases": []string{"gpt-3.5-turbo-instruct"}}},
	}, env: env}.start(t)
}

// eachClient runs a case of testdata/clients.mjs, and checks what came of each client.
func (r *rig) eachClient(t *testing.T, which string, atLeast int, right func(result any) bool) {
	t.Helper()
	all := r.node(t, "clients.mjs", which, "")
	if len(all) < atLeast {
		t.Errorf("%d results, want %d", len(all), atLeast)
	}
	for name, result := range all {
		if !right(result) {
			t.Errorf("%s of %s: %v", which, name, result)
		}
	}
}

func TestEveryClientWorksUnmodified(t *testing.T) {
	t.Parallel()
	tools(t)
	r := oneBackend(t, nil)
	r.eachClient(t, "plain", 11, func(result any) bool { text, ok := result.(string); return ok && text != "" })
	r.eachClient(t, "stream", 15, func(result any) bool {
		m := result.(map[string]any)
		return m["error"] == nil && m["events"].(float64) > 0
	})
	r.eachClient(t, "tools", 6, func(result any) bool { return result.(map[string]any)["city"] != nil })
}

// A stream that broke off, of whatever endpoint, is an error that the client itself
// makes of it: never an end, and never an exception in the client's own code.
func TestEveryClientReportsABrokenStream(t *testing.T) {
	tools(t) // not beside others: a client that is late loses the error event to the abort behind it
	for _, action := range []string{"cut-clean", "cut-abort", "cut-reset", "stream-error"} {
		r := oneBackend(t, nil)
		r.sim.Fault("a", simulator.Fault{Action: action, Chunks: 3})
		r.eachClient(t, "stream", 15, func(result any) bool {
			m := result.(map[string]any)
			kind, _ := m["error"].(string)
			return kind != "" && kind != "TypeError" && kind != "ReferenceError" && kind != "SyntaxError" && m["events"].(float64) > 0
		})
	}
}

func TestEveryClientsAbortCancelsTheBackend(t *testing.T) {
	t.Parallel()
	tools(t)
	r := oneBackend(t, func(d *simulator.Deployment) { d.PerToken, d.AnswerTokens = 20*time.Millisecond, 5000 })
	r.eachClient(t, "abort", 15, func(result any) bool { n, _ := result.(map[string]any)["events"].(float64); return n >= 3 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	left := map[string]bool{}
	if _, err := r.sim.WaitJournal(ctx, func(e simulator.Entry) bool {
		if e.Disconnected() && e.Done {
			left[e.RequestID] = true
		}
		return len(left) == 15
	}); err != nil {
		t.Errorf("%d of 15 aborts reached the backend: %v", len(left), err)
	}
}

func TestEveryClientRetriesAThrottledPool(t *testing.T) {
	t.Parallel()
	tools(t)
	r := oneBackend(t, nil, "SPILLWAY_MAX_WAIT=0")
	for range 11 {
		r.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: time.Second}, simulator.Fault{Action: "ok"})
	}
	r.eachClient(t, "retried", 11, func(result any) bool { text, ok := result.(string); return ok && text != "" })
	if n := len(r.sim.Journal()); n != 22 {
		t.Errorf("%d requests at the backend, want a refusal and an answer of each of 11 clients", n)
	}
}

// What the tests of openai-go above lack: the other endpoints, tools, an abort, and a
// retry.
func TestOpenAIForGoStreamsEveryEndpoint(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"ok", "cut-clean", "cut-abort", "cut-reset", "stream-error"} {
		r := oneBackend(t, nil)
		r.sim.Fault("a", simulator.Fault{Action: action, Chunks: 3})
		client := golang(r)["openai"]
		completion := client.Completions.NewStreaming(t.Context(), openai.CompletionNewParams{Model: "gpt-4o", MaxTokens: openai.Int(500), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Hello")}})
		events := 0
		for completion.Next() {
			events++
		}
		if broken := completion.Err() != nil; events == 0 || broken != (action != "ok") {
			t.Errorf("%s: completions end after %d events with %v", action, events, completion.Err())
		}
		response := client.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello")}})
		events = 0
		for response.Next() {
			events++
		}
		if broken := response.Err() != nil; events == 0 || broken != (action != "ok") {
			t.Errorf("%s: responses end after %d events with %v", action, events, response.Err())
		}
	}
}

func TestOpenAIForGoUsesToolsAbortsAndRetries(t *testing.T) {
	t.Parallel()
	r := oneBackend(t, func(d *simulator.Deployment) { d.PerToken, d.AnswerTokens = 20*time.Millisecond, 1000 }, "SPILLWAY_MAX_WAIT=0")
	for form, client := range golang(r) {
		ask := params("Hello")
		ask.MaxTokens = openai.Int(5)
		ask.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
			Name: "weather", Parameters: openai.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}},
		})}
		ask.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")}
		r.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: time.Second})
		c, err := client.Chat.Completions.New(t.Context(), ask, option.WithMaxRetries(3))
		if err != nil || len(c.Choices[0].Message.ToolCalls) == 0 || !strings.Contains(c.Choices[0].Message.ToolCalls[0].Function.Arguments, "city") {
			t.Errorf("%s: a call of a tool after a 429: %+v, %v", form, c, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		aborted, abort := context.WithCancel(ctx)
		stream := client.Chat.Completions.NewStreaming(aborted, params("Hello"))
		if !stream.Next() {
			t.Errorf("%s: no event: %v", form, stream.Err())
		}
		abort()
		if _, err := r.sim.WaitDisconnect(ctx, "a"); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		cancel()
	}
}
