package simulator

import (
	"fmt"
	"strings"
)

// choice is one choice of a chat completion, ready to be told.
type choice struct {
	tokens []string // of text, or of a tool call's arguments
	tool   string   // the function called, "" for text
	reason string   // finish_reason
}

// tokenUsage is the usage of a request.
type tokenUsage struct {
	prompt, cached, completion, reasoning int
}

// json is the usage object of chat and completions.
func (t tokenUsage) json() string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		t.prompt, t.completion, t.prompt+t.completion, t.cached, t.reasoning)
}

func (c *call) usage(completion int) tokenUsage {
	return tokenUsage{prompt: c.promptTokens, cached: c.cached, completion: completion + c.spec.ReasoningTokens, reasoning: c.spec.ReasoningTokens}
}

// chat serves chat/completions.
func (c *call) chat() {
	answers := make([]choice, max(1, c.request.N))
	total := 0
	for i := range answers {
		answers[i] = c.generateChoice(i)
		total += len(answers[i].tokens)
	}
	if c.request.Stream {
		c.streamChat(answers, c.usage(total))
		return
	}
	if !c.sleep(c.answerDelay(total)) {
		c.clientDisconnected()
		return
	}
	use := c.usage(total)
	c.recordUsage(use)
	c.writeResponse(200, "", c.chatBody(answers, use))
}

// recordUsage notes the tokens of an answer that is sent at once.
func (c *call) recordUsage(use tokenUsage) {
	now := c.now()
	c.update(func(e *Entry) { e.CompletionTokens, e.FirstContent = use.completion, now })
}

// generateChoice decides one choice: a tool call if that is asked for, else text, cut
// at the caller's bound or by the filter.
func (c *call) generateChoice(index int) choice {
	if tool := c.chosenTool(); tool != "" {
		return choice{tokens: cutTokens(c.toolArguments(tool), 1<<20), tool: tool, reason: "tool_calls"}
	}
	limit, bounded := c.request.outputTokens(&c.spec)
	if bounded {
		limit -= c.spec.ReasoningTokens
	} else {
		limit = 1 << 20
	}
	full := c.outputText(index)
	a := choice{tokens: full, reason: "stop"}
	if len(full) > max(0, limit) {
		a.tokens, a.reason = full[:max(0, limit)], "length"
	}
	if c.cutByFilter() {
		a.tokens, a.reason = a.tokens[:len(a.tokens)/2], "content_filter"
	}
	return a
}

func (c *call) outputText(index int) []string {
	if text := c.structured(); text != "" {
		return cutTokens(text, 1<<20)
	}
	return c.textTokens(index, 1<<20)
}

func (c *call) chatBody(answers []choice, use tokenUsage) []byte {
	choices := make([]string, len(answers))
	for i, a := range answers {
		choices[i] = c.chatChoice(i, a)
	}
	return fmt.Appendf(nil,
		`{"id":%s,"object":"chat.completion","created":%d,"model":%s,"system_fingerprint":"fp_a1b2c3d4e5","service_tier":%s,%s,"choices":[%s],"usage":%s}`,
		quote(c.completionID()), c.arrived.Unix(), quote(c.spec.servedModel()), quote(c.tier), promptFilterResults(),
		strings.Join(choices, ","), use.json())
}

func (c *call) chatChoice(i int, a choice) string {
	message := `{"role":"assistant","content":` + quote(strings.Join(a.tokens, "")) + `,"refusal":null}`
	if a.tool != "" {
		message = fmt.Sprintf(`{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}]}`,
			quote(c.toolCallID(i)), quote(a.tool), quote(strings.Join(a.tokens, "")))
	}
	filter := c.filterResult()
	if a.reason == "content_filter" {
		message, filter = `{"role":"assistant"}`, `"content_filter_results":`+cutResults
	}
	return fmt.Sprintf(`{"index":%d,"message":%s,"finish_reason":%s,"logprobs":null,%s}`, i, message, quote(a.reason), filter)
}

func (c *call) completionID() string { return c.svc.identifier("chatcmpl-", c.seq, 3) }
