package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Anthropic's Messages API of a Foundry resource
// (docs/azure-openai.md#anthropic-messages): POST /anthropic/v1/messages and
// /anthropic/v1/messages/count_tokens, with x-api-key or a token.

// messageRequest is the members that only the Messages API has.
type messageRequest struct {
	System json.RawMessage `json:"system"`
}

// messages serves the two operations.
func (c *call) messages() {
	if len(c.route.rest) > 0 {
		c.recordUsage(tokenUsage{})
		c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"input_tokens":%d}`, c.promptTokens))
		return
	}
	c.adaptToolChoice()
	answer := c.generateChoice(0)
	use := c.usage(len(answer.tokens))
	if c.request.Stream {
		c.streamMessage(answer, use)
		return
	}
	if !c.waitFor(use) {
		return
	}
	c.recordUsage(use)
	c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{%s,"content":[%s],"stop_reason":%s,"stop_sequence":null,"usage":%s}`,
		c.messageHead(), c.messageBlock(answer, strings.Join(answer.tokens, "")), quote(stopReason(answer)), c.messageUsage(use)))
}

// adaptToolChoice replaces Anthropic's tool_choice by OpenAI's.
func (c *call) adaptToolChoice() {
	var choice struct{ Type, Name string }
	if json.Unmarshal(c.request.ToolChoice, &choice) != nil {
		return
	}
	switch choice.Type {
	case "any":
		c.request.ToolChoice = json.RawMessage(`"required"`)
	case "auto", "none":
		c.request.ToolChoice = json.RawMessage(quote(choice.Type))
	}
}

func (c *call) messageHead() string {
	return fmt.Sprintf(`"id":%s,"type":"message","role":"assistant","model":%s`, quote(c.svc.identifier("msg_", c.seq, 3)), quote(c.spec.servedModel()))
}

// messageBlock is the one block of content of an answer.
func (c *call) messageBlock(a choice, text string) string {
	if a.tool == "" {
		return `{"type":"text","text":` + quote(text) + `}`
	}
	if text == "" {
		text = "{}"
	}
	return fmt.Sprintf(`{"type":"tool_use","id":%s,"name":%s,"input":%s}`, quote(c.toolUseID()), quote(a.tool), text)
}

func (c *call) toolUseID() string { return c.svc.identifier("toolu_", c.seq, 16)[:30] }

func stopReason(a choice) string {
	switch a.reason {
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	case "content_filter":
		return "refusal"
	}
	return "end_turn"
}

// messageUsage is a usage object: input_tokens excludes what was read from a cache
// or written to it, which happens only to prompts that are marked.
func (c *call) messageUsage(t tokenUsage) string {
	read, written := 0, 0
	if bytes.Contains(c.body, []byte(`"cache_control"`)) {
		read, written = t.cached, t.prompt-t.cached
	}
	return fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d,"service_tier":"standard"}`,
		t.prompt-read-written, written, read, t.completion)
}

// streamMessage streams an answer.
func (c *call) streamMessage(a choice, use tokenUsage) {
	begun := use
	begun.completion = 1
	s := c.openStream(dialectMessages, messageEvent("message_start", `"message":{%s,"content":[],"stop_reason":null,"stop_sequence":null,"usage":%s}`,
		c.messageHead(), c.messageUsage(begun)), messageEvent("ping", ""))
	if !s.pause(c.firstTokenDelay()) {
		return
	}
	s.send(messageEvent("content_block_start", `"index":0,"content_block":%s`, c.messageBlock(a, "")))
	for i, token := range a.tokens {
		if i > 0 && !s.pause(c.tokenDelay(i)) {
			return
		}
		delta := `{"type":"text_delta","text":` + quote(token) + `}`
		if a.tool != "" {
			delta = `{"type":"input_json_delta","partial_json":` + quote(token) + `}`
		}
		ev := messageEvent("content_block_delta", `"index":0,"delta":%s`, delta)
		ev.tokens = 1
		if !s.send(ev) {
			return
		}
	}
	s.send(messageEvent("content_block_stop", `"index":0`))
	end := messageEvent("message_delta", `"delta":{"stop_reason":%s,"stop_sequence":null},"usage":%s`, quote(stopReason(a)), c.messageUsage(use))
	end.finish = true
	s.send(end)
	stop := messageEvent("message_stop", "")
	stop.last = true
	s.send(stop)
}

func messageEvent(name, format string, args ...any) event {
	members := ""
	if format != "" {
		members = "," + fmt.Sprintf(format, args...)
	}
	return event{name: name, data: []byte(`{"type":"` + name + `"` + members + `}`)}
}

// checkMessage checks what Anthropic's API asks for.
func (c *call) checkMessage() *apiError {
	if c.r.Header.Get("anthropic-version") == "" {
		return invalidRequest("anthropic-version: header is required", "", "")
	}
	if len(c.request.Messages) == 0 {
		return invalidRequest("messages: at least one message is required", "", "")
	}
	if c.request.MaxTokens == nil && len(c.route.rest) == 0 {
		return invalidRequest("max_tokens: Field required", "", "")
	}
	return nil
}

// anthropicErrorType is the type of an error of the model, "" for one of Azure's
// front end, which has Azure's form.
func anthropicErrorType(apiErr *apiError) string {
	switch {
	case apiErr.name == "400-invalid":
		return "invalid_request_error"
	case apiErr.status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case apiErr.status == statusOverloaded:
		return "overloaded_error"
	case apiErr.status >= http.StatusInternalServerError:
		return "api_error"
	}
	return ""
}

// inAnthropicForm is the error in the form of the Messages API, if it has that.
func (c *call) inAnthropicForm(apiErr *apiError) *apiError {
	kind := anthropicErrorType(apiErr)
	var is struct{ Error struct{ Message string } }
	if kind == "" || c.route.family != familyAnthropic || apiErr.contentType != "" || json.Unmarshal([]byte(apiErr.body), &is) != nil {
		return apiErr
	}
	changed := *apiErr
	changed.body = messageError(kind, is.Error.Message)
	return &changed
}

func messageError(kind, text string) string {
	return fmt.Sprintf(`{"type":"error","error":{"type":%s,"message":%s}}`, quote(kind), quote(text))
}

// statusOverloaded is Anthropic's own status.
const statusOverloaded = 529
