package simulator

import (
	"fmt"
	"strings"
)

// answer is one choice of a chat completion, ready to be told.
type answer struct {
	tokens []string // of text, or of a tool call's arguments
	tool   string   // the function called, "" for text
	reason string   // finish_reason
}

// tally is the usage of a request.
type tally struct {
	prompt, cached, completion, reasoning int
}

// json is the usage object of chat and completions.
func (t tally) json() string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		t.prompt, t.completion, t.prompt+t.completion, t.cached, t.reasoning)
}

func (c *call) tally(completion int) tally {
	return tally{prompt: c.promptTokens, cached: c.cached, completion: completion + c.spec.ReasoningTokens, reasoning: c.spec.ReasoningTokens}
}

// chat serves chat/completions.
func (c *call) chat() {
	answers := make([]answer, max(1, c.ask.N))
	total := 0
	for i := range answers {
		answers[i] = c.answerOf(i)
		total += len(answers[i].tokens)
	}
	if c.ask.Stream {
		c.streamChat(answers, c.tally(total))
		return
	}
	if !c.sleep(c.answerDelay(total)) {
		c.left()
		return
	}
	use := c.tally(total)
	c.bookAll(use)
	c.respond(200, "", c.chatBody(answers, use))
}

// bookAll notes the tokens of an answer that is sent at once.
func (c *call) bookAll(use tally) {
	now := c.now()
	c.note(func(e *Entry) { e.CompletionTokens, e.FirstContent = use.completion, now })
}

// answerOf decides one choice: a tool call if that is asked for, else text, cut
// at the caller's bound or by the filter.
func (c *call) answerOf(choice int) answer {
	if tool := c.chosenTool(); tool != "" {
		return answer{tokens: cutTokens(c.toolArguments(tool), 1<<20), tool: tool, reason: "tool_calls"}
	}
	limit, bounded := c.ask.outputTokens(&c.spec)
	if bounded {
		limit -= c.spec.ReasoningTokens
	} else {
		limit = 1 << 20
	}
	full := c.wholeText(choice)
	a := answer{tokens: full, reason: "stop"}
	if len(full) > max(0, limit) {
		a.tokens, a.reason = full[:max(0, limit)], "length"
	}
	if c.cutByFilter() {
		a.tokens, a.reason = a.tokens[:len(a.tokens)/2], "content_filter"
	}
	return a
}

func (c *call) wholeText(choice int) []string {
	if text := c.structured(); text != "" {
		return cutTokens(text, 1<<20)
	}
	return c.answerText(choice, 1<<20)
}

func (c *call) chatBody(answers []answer, use tally) []byte {
	choices := make([]string, len(answers))
	for i, a := range answers {
		choices[i] = c.chatChoice(i, a)
	}
	return fmt.Appendf(nil,
		`{"id":%s,"object":"chat.completion","created":%d,"model":%s,"system_fingerprint":"fp_a1b2c3d4e5","service_tier":%s,%s,"choices":[%s],"usage":%s}`,
		quote(c.completionID()), c.arrived.Unix(), quote(c.spec.servedModel()), quote(c.tier), promptFilterResults(),
		strings.Join(choices, ","), use.json())
}

func (c *call) chatChoice(i int, a answer) string {
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
