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

// node runs a script of testdata and decodes what it printed.
func (r *rig) node(t *testing.T, script string, args ...string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"testdata/" + script, r.host.URL}, args...)...)
	cmd.Env = append(os.Environ(), "SPILLWAY_TOOLS="+tools(t))
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s %q: %v\n%s", script, args, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var result map[string]any
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return result
}

// openAIForNode runs one case of testdata/openai.mjs.
func (r *rig) openAIForNode(t *testing.T, form, which string, key ...string) map[string]any {
	t.Helper()
	result, ok := r.node(t, "openai.mjs", append([]string{form, which}, key...)...)[which].(map[string]any)
	if !ok {
		t.Fatalf("openai.mjs %s %s printed no result", form, which)
	}
	return result
}

func TestOpenAIForNodeWorksUnmodified(t *testing.T) {
	t.Parallel()
	tools(t)
	r := start(t, setup{})
	for _, form := range []string{"openai", "azure"} {
		got := r.node(t, "openai.mjs", form, "plain,stream,usage,tools,schema,image,refused")
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
				return m["error"] == "NotFoundError" && m["code"] == map[string]string{"openai": "model_not_found", "azure": "DeploymentNotFound"}[form] && strings.Contains(m["message"].(string), "gpt-4o") && m["id"] != ""
			},
		} {
			if result, ok := got[which].(map[string]any); !ok || !check(result) {
				t.Errorf("%s %s: %v", form, which, got[which])
			}
		}
	}
}

func TestNodeRetriesAThrottledPoolAfterRetryAfterMs(t *testing.T) {
	t.Parallel()
	tools(t)
	for _, form := range []string{"openai", "azure"} {
		r := start(t, setup{backends: []backend{{name: "a", priority: 1}}, env: []string{"SPILLWAY_MAX_WAIT=0"}})
		r.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: 1200 * time.Millisecond})
		got := r.openAIForNode(t, form, "retried")
		ms := time.Duration(got["ms"].(float64)) * time.Millisecond
		if got["content"] == "" || ms < 1150*time.Millisecond || tooLate(t, ms, 4*time.Second) {
			t.Errorf("%s: %v, want an answer after retry-after-ms", form, got)
		}
		if n := len(r.sim.Journal()); n != 2 { // a second refusal would have made it wait again
			t.Errorf("%s: %d requests at the backend, want 2", form, n)
		}
	}
}

func TestNodeReportsABrokenStream(t *testing.T) {
	t.Parallel()
	tools(t)
	for _, action := range []string{"cut-clean", "cut-abort", "cut-reset"} {
		r := start(t, setup{})
		r.sim.Next("ptu", simulator.Fault{Action: action, Chunks: 3})
		if got := r.openAIForNode(t, "openai", "broken"); got["error"] == nil {
			t.Errorf("%s: the SDK saw no error: %v", action, got)
		}
	}
}

func TestNodeAbortCancelsTheBackend(t *testing.T) {
	t.Parallel()
	tools(t)
	backends := threeBackends()
	backends[0].deployment.PerToken, backends[0].deployment.AnswerTokens = 20*time.Millisecond, 1000
	r := start(t, setup{backends: backends})
	r.openAIForNode(t, "openai", "abort")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.sim.WaitDisconnect(ctx, "ptu"); err != nil {
		t.Error(err)
	}
}

// golang are openai-go's two kinds of client.
func golang(r *rig) map[string]openai.Client {
	return map[string]openai.Client{
		"openai": openai.NewClient(option.WithBaseURL(r.host.URL+"/openai/v1"), option.WithAPIKey("key-of-the-sdk-tests"), option.WithMaxRetries(0)),
		"azure": openai.NewClient(azure.WithEndpoint(r.host.URL, "2024-10-21"), azure.WithAPIKey("key-of-the-sdk-tests"), azure.WithUnsafeAllowHTTP(),
			option.WithMaxRetries(0)),
	}
}

func params(prompt string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)}}
}

func TestOpenAIForGoWorksUnmodified(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
