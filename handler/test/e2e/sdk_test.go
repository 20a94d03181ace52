package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"

	"spillway/handler/internal/simulator"
)

// node runs one case of testdata/openai.mjs and decodes what it printed.
func (r *rig) node(t *testing.T, script, form, which string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "testdata/"+script, r.host.URL, form, which)
	cmd.Env = append(os.Environ(), "SPILLWAY_TOOLS="+tools(t))
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s %s %s: %v\n%s", script, form, which, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var result map[string]any
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return result
}

func TestOpenAIForNodeWorksUnmodified(t *testing.T) {
	tools(t)
	r := start(t, setup{})
	for _, form := range []string{"openai", "azure"} {
		for which, check := range map[string]func(map[string]any) bool{
			"plain": func(m map[string]any) bool {
				return m["content"] != "" && m["finish"] == "stop" && m["tokens"].(float64) > 0 && m["id"] != ""
			},
			"stream": func(m map[string]any) bool { return m["out"] != "" && m["finish"] == "stop" },
			"usage":  func(m map[string]any) bool { return m["tokens"].(float64) > 0 },
			"tools":  func(m map[string]any) bool { return m["name"] == "weather" && m["finish"] != nil },
			"schema": func(m map[string]any) bool { _, ok := m["answer"]; return ok },
			"image":  func(m map[string]any) bool { return m["content"] != "" },
			"refused": func(m map[string]any) bool {
				return m["error"] == "NotFoundError" && m["code"] == "model_not_found" && strings.Contains(m["message"].(string), "gpt-4o") && m["id"] != ""
			},
		} {
			t.Run(form+" "+which, func(t *testing.T) {
				if got := r.node(t, "openai.mjs", form, which); !check(got) {
					t.Errorf("%v", got)
				}
			})
		}
	}
}

func TestNodeRetriesAThrottledPoolAfterRetryAfterMs(t *testing.T) {
	tools(t)
	for _, form := range []string{"openai", "azure"} {
		r := start(t, setup{backends: []backend{{name: "a", priority: 1}}, env: []string{"SPILLWAY_MAX_WAIT=0"}})
		r.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: 1200 * time.Millisecond})
		got := r.node(t, "openai.mjs", form, "retried")
		if ms := got["ms"].(float64); got["content"] == "" || ms < 1150 || ms > 4000 {
			t.Errorf("%s: %v, want an answer after retry-after-ms", form, got)
		}
	}
}

func TestNodeReportsABrokenStream(t *testing.T) {
	tools(t)
	for _, action := range []string{"cut-clean", "cut-abort", "cut-reset"} {
		r := start(t, setup{})
		r.sim.Next("ptu", simulator.Fault{Action: action, Chunks: 3})
		if got := r.node(t, "openai.mjs", "openai", "broken"); got["error"] == nil {
			t.Errorf("%s: the SDK saw no error: %v", action, got)
		}
	}
}

func TestNodeAbortCancelsTheBackend(t *testing.T) {
	tools(t)
	backends := threeBackends()
	backends[0].deployment.PerToken, backends[0].deployment.AnswerTokens = 20*time.Millisecond, 1000
	r := start(t, setup{backends: backends})
	r.node(t, "openai.mjs", "openai", "abort")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := r.sim.WaitDisconnect(ctx, "ptu"); err != nil {
		t.Error(err)
	}
}

// golang are openai-go's two kinds of client.
func golang(r *rig) map[string]openai.Client {
	return map[string]openai.Client{
		"openai": openai.NewClient(option.WithBaseURL(r.host.URL+"/openai/v1"), option.WithAPIKey("any"), option.WithMaxRetries(0)),
		"azure": openai.NewClient(azure.WithEndpoint(r.host.URL, "2024-10-21"), azure.WithAPIKey("any"), azure.WithUnsafeAllowHTTP(),
			option.WithMaxRetries(0)),
	}
}

func params(prompt string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)}}
}

func TestOpenAIForGoWorksUnmodified(t *testing.T) {
	r := start(t, setup{})
	for form, client := range golang(r) {
		t.Run(form, func(t *testing.T) {
			c, err := client.Chat.Completions.New(t.Context(), params("Hello"))
			if err != nil || c.Choices[0].Message.Content == "" || c.Usage.TotalTokens == 0 {
				t.Fatalf("plain: %+v, %v", c, err)
			}
			stream := client.Chat.Completions.NewStreaming(t.Context(), params("Hello"))
			text, finish := "", ""
			for stream.Next() {
				for _, choice := range stream.Current().Choices {
					text += choice.Delta.Content
					finish += choice.FinishReason
				}
			}
			if stream.Err() != nil || text == "" || finish != "stop" {
				t.Errorf("stream: %q, %q, %v", text, finish, stream.Err())
			}
		})
	}
}

func TestOpenAIForGoReportsABrokenStream(t *testing.T) {
	for _, action := range []string{"cut-clean", "cut-abort", "cut-reset"} {
		r := start(t, setup{})
		for form, client := range golang(r) {
			r.sim.Next("ptu", simulator.Fault{Action: action, Chunks: 3})
			stream := client.Chat.Completions.NewStreaming(t.Context(), params("Hello"))
			events := 0
			for stream.Next() {
				events++
			}
			if stream.Err() == nil {
				t.Errorf("%s %s: no error after %d events", form, action, events)
			}
		}
	}
}
