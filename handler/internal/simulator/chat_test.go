package simulator_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

// events are the data lines of a stream.
func events(t *testing.T, body string) []string {
	t.Helper()
	blocks := strings.Split(body, "\n\n")
	if last := blocks[len(blocks)-1]; last != "" {
		t.Fatalf("the stream ends without a blank line: %q", last)
	}
	var out []string
	for _, b := range blocks[:len(blocks)-1] {
		_, data, ok := strings.Cut(b, "data: ")
		if !ok {
			t.Fatalf("event without data: %q", b)
		}
		out = append(out, data)
	}
	return out
}

// volatileParts differ from run to run.
var volatileParts = regexp.MustCompile(`chatcmpl-[0-9a-f]+|"created":\d+|fp_[0-9a-f]+`)

func TestChatStreamEvents(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments[0].Answer = "Color"
	s := simulator.Start(t, cfg)
	r := post(t, s, "payg", chatPath, helloAloud)
	if got := r.header.Get("content-type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("content-type: got %q", got)
	}
	const head = `{"id":"ID","object":"chat.completion.chunk","CREATED","model":"gpt-4o-2024-11-20","system_fingerprint":"FP","choices":`
	const safe = `"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}`
	want := []string{
		`{"id":"","object":"","created":0,"model":"","prompt_filter_results":[{"prompt_index":0,` + safe + `}],"choices":[],"usage":null}`,
		head + `[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null,"logprobs":null,"content_filter_results":{}}],"usage":null}`,
		head + `[{"index":0,"delta":{"content":"Colo"},"finish_reason":null,"logprobs":null,` + safe + `}],"usage":null}`,
		head + `[{"index":0,"delta":{"content":"r"},"finish_reason":null,"logprobs":null,` + safe + `}],"usage":null}`,
		head + `[{"index":0,"delta":{},"finish_reason":"stop","logprobs":null,"content_filter_results":{}}],"usage":null}`,
		head + `[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}`,
		`[DONE]`,
	}
	got := events(t, r.body)
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d:\n%s", len(got), len(want), r.body)
	}
	for i := range want {
		line := volatileParts.ReplaceAllStringFunc(got[i], placeholder)
		if line != want[i] {
			t.Errorf("event %d:\n got %s\nwant %s", i, line, want[i])
		}
	}
}

func placeholder(part string) string {
	switch {
	case strings.HasPrefix(part, "chatcmpl-"):
		return "ID"
	case strings.HasPrefix(part, "fp_"):
		return "FP"
	case part == `"created":0`:
		return part
	default:
		return `"CREATED"`
	}
}

func TestUsageNeedsIncludeUsage(t *testing.T) {
	s := simulator.Start(t, pool())
	for _, path := range []string{chatPath, v1ChatPath} {
		r := post(t, s, "payg", path, `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
		if strings.Contains(r.body, `"usage"`) {
			t.Errorf("%s: usage in %s", path, r.body)
		}
	}
	old := strings.Replace(chatPath, "2024-10-21", "2024-06-01", 1)
	if r := post(t, s, "payg", old, helloAloud); strings.Contains(r.body, `"usage"`) {
		t.Error("an api-version before 2024-09-01-preview knows no include_usage")
	}
}

func TestAsyncFilterAnnotations(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments[0].AsyncFilter = true
	s := simulator.Start(t, cfg)
	got := events(t, post(t, s, "payg", chatPath, helloAloud).body)
	n := len(got)
	late, finish := got[n-3], got[n-4]
	if !strings.Contains(finish, `"finish_reason":"stop"`) {
		t.Fatalf("the finish chunk is not where it should be: %v", finish)
	}
	if strings.Contains(late, "delta") || !strings.Contains(late, `"content_filter_offsets"`) || !strings.Contains(late, `{"id":"","object":""`) {
		t.Errorf("after the finish: got %s, want an annotation without delta", late)
	}
}

func TestSameSeedGivesSameText(t *testing.T) {
	text := func(seed uint64, prompt string) string {
		cfg := pool()
		cfg.Seed = seed
		s := simulator.Start(t, cfg)
		return volatileCreated.ReplaceAllString(post(t, s, "payg", chatPath, prompt).body, "")
	}
	if a, b := text(7, hello), text(7, hello); a != b {
		t.Errorf("same seed:\n%s\n%s", a, b)
	}
	if text(7, hello) == text(8, hello) {
		t.Error("another seed gave the same text")
	}
	if text(7, hello) == text(7, `{"messages":[{"role":"user","content":"Something else."}]}`) {
		t.Error("another prompt gave the same text")
	}
}

var volatileCreated = regexp.MustCompile(`"created":\d+`)

// completion is the part of a response that these tests read.
type completion struct {
	Choices []struct {
		Index        int    `json:"index"`
		FinishReason string `json:"finish_reason"`
		Message      struct {
			Content   *string `json:"content"`
			ToolCalls []struct {
				ID       string `json:"id"`
				Function struct {
					Name      string `json:"name"`
					Arguments string `json:"arguments"`
				} `json:"function"`
			} `json:"tool_calls"`
		} `json:"message"`
		Filter json.RawMessage `json:"content_filter_results"`
		Outage json.RawMessage `json:"content_filter_result"`
	} `json:"choices"`
	Usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
		Output struct {
			Reasoning int `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	} `json:"usage"`
	Tier string `json:"service_tier"`
}

func complete(t *testing.T, r reply) completion {
	t.Helper()
	var c completion
	if err := json.Unmarshal([]byte(r.body), &c); err != nil || r.status != 200 {
		t.Fatalf("got %d %s: %v", r.status, r.body, err)
	}
	return c
}

func TestOutputLimitCutsCompletion(t *testing.T) {
	s, _ := one(simulator.Deployment{})
	c := complete(t, call(t, s, chatPath, `{"max_tokens":5,"n":3,"messages":[{"role":"user","content":"hi"}]}`))
	if len(c.Choices) != 3 || c.Usage.Completion != 15 || c.Usage.Total != 16 {
		t.Fatalf("got %d choices and usage %+v", len(c.Choices), c.Usage)
	}
	for i, choice := range c.Choices {
		if choice.Index != i || choice.FinishReason != "length" || len(strings.Fields(*choice.Message.Content)) != 5 {
			t.Errorf("choice %d: %+v", i, choice)
		}
	}
	if *c.Choices[0].Message.Content == *c.Choices[1].Message.Content {
		t.Error("two choices say the same")
	}
}

func TestReasoningTokensCountAsCompletion(t *testing.T) {
	s, _ := one(simulator.Deployment{ReasoningTokens: 100, AnswerTokens: 8})
	c := complete(t, call(t, s, chatPath, `{"max_completion_tokens":104,"messages":[{"role":"user","content":"hi"}]}`))
	if c.Usage.Completion != 104 || c.Usage.Output.Reasoning != 100 || c.Choices[0].FinishReason != "length" {
		t.Errorf("got %+v, finish %s", c.Usage, c.Choices[0].FinishReason)
	}
}

func TestContentFilterMarkers(t *testing.T) {
	ask := func(next string) string {
		return `{"messages":[{"role":"user","content":"` + next + `"}]}`
	}
	s, _ := one(simulator.Deployment{})
	r := call(t, s, chatPath, ask(simulator.TriggerPromptFilter))
	want := `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":true,"severity":"high"},"violence":{"filtered":false,"severity":"safe"}}}}}`
	if r.status != 400 || r.body != want {
		t.Errorf("got %d %s", r.status, r.body)
	}
	c := complete(t, call(t, s, chatPath, ask(simulator.TriggerOutputFilter)))
	if c.Choices[0].FinishReason != "content_filter" || c.Choices[0].Message.Content != nil {
		t.Errorf("output filter: got %+v", c.Choices[0])
	}
	c = complete(t, call(t, s, chatPath, ask(simulator.TriggerFilterOutage)))
	if got := string(c.Choices[0].Outage); got != `{"error":{"code":"content_filter_error","message":"The contents are not filtered"}}` {
		t.Errorf("filter outage: got %s", got)
	}
	stream := events(t, call(t, s, chatPath, strings.Replace(ask(simulator.TriggerOutputFilter), "{", `{"stream":true,`, 1)).body)
	if last := stream[len(stream)-2]; !strings.Contains(last, `"finish_reason":"content_filter"`) || !strings.Contains(last, `"filtered":true`) {
		t.Errorf("streamed output filter ends with %s", last)
	}
}

func TestToolCalls(t *testing.T) {
	const tools = `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}}]`
	tests := []struct {
		name, body, want string
	}{
		{"required", `{"tool_choice":"required",` + tools + `,"messages":[{"role":"user","content":"hi"}]}`, "get_weather"},
		{"named", `{"tool_choice":{"type":"function","function":{"name":"get_weather"}},` + tools + `,"messages":[{"role":"user","content":"hi"}]}`, "get_weather"},
		{"auto and spoken of", `{` + tools + `,"messages":[{"role":"user","content":"use get_weather"}]}`, "get_weather"},
		{"auto", `{` + tools + `,"messages":[{"role":"user","content":"hi"}]}`, ""},
		{"after its answer", `{` + tools + `,"messages":[{"role":"user","content":"use get_weather"},{"role":"tool","content":"sunny"}]}`, ""},
		{"none", `{"tool_choice":"none",` + tools + `,"messages":[{"role":"user","content":"use get_weather"}]}`, ""},
	}
	s, _ := one(simulator.Deployment{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			choice := complete(t, call(t, s, chatPath, tt.body)).Choices[0]
			if tt.want == "" {
				if choice.FinishReason != "stop" || len(choice.Message.ToolCalls) != 0 {
					t.Errorf("got %+v, want text", choice)
				}
				return
			}
			if choice.FinishReason != "tool_calls" || choice.Message.ToolCalls[0].Function.Name != tt.want ||
				choice.Message.ToolCalls[0].Function.Arguments != `{"city":"water","days":7}` {
				t.Errorf("got %+v", choice)
			}
		})
	}
}

func TestStructuredOutputFitsTheSchema(t *testing.T) {
	s, _ := one(simulator.Deployment{})
	c := complete(t, call(t, s, chatPath, `{"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"names":{"type":"array","items":{"type":"string"}},"kind":{"enum":["a","b"]},"ok":{"type":["boolean","null"]}}}}},"messages":[{"role":"user","content":"hi"}]}`))
	if got := *c.Choices[0].Message.Content; got != `{"kind":"a","names":["water"],"ok":true}` {
		t.Errorf("got %s", got)
	}
}

func TestServiceTier(t *testing.T) {
	tests := []struct {
		sku          simulator.SKU
		body, header string
		status       int
		tier         string
	}{
		{"", `"auto"`, "", 200, "default"},
		{simulator.GlobalStandard, `"priority"`, "", 200, "priority"},
		{simulator.Standard, `"priority"`, "", 200, "default"},
		{"", `"default"`, "flex", 200, "flex"},
		{simulator.Provisioned, `"flex"`, "", 400, ""},
		{"", `"turbo"`, "", 400, ""},
		{"", `"auto"`, "turbo", 400, ""},
	}
	for _, tt := range tests {
		t.Run(string(tt.sku)+tt.body+tt.header, func(t *testing.T) {
			cfg := pool()
			cfg.Resources[1].Deployments[0].SKU = tt.sku
			s := simulator.Start(t, cfg)
			r := post(t, s, "payg", chatPath, `{"service_tier":`+tt.body+`,"messages":[{"role":"user","content":"hi"}]}`, "x-ms-service-tier", tt.header)
			if r.status != tt.status {
				t.Fatalf("got %d %s, want %d", r.status, r.body, tt.status)
			}
			if tt.status == 200 && complete(t, r).Tier != tt.tier {
				t.Errorf("got tier %s, want %s", complete(t, r).Tier, tt.tier)
			}
		})
	}
}

func TestReasoningModelsRefuseMaxTokens(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments[0].Model = "o3-mini"
	s := simulator.Start(t, cfg)
	r := post(t, s, "payg", chatPath, `{"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`)
	if r.status != 400 || !strings.Contains(r.body, `"code":"unsupported_parameter"`) {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

func TestUnsupportedOperationIsRefused(t *testing.T) {
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", "/openai/deployments/text-embedding-3-large/chat/completions?api-version=2024-10-21", hello)
	if r.status != 400 || !strings.Contains(r.body, `"code":"OperationNotSupported"`) {
		t.Errorf("got %d %s", r.status, r.body)
	}
}
