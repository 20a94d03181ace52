package simulator

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// choice is one generated choice.
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
	choices, use := c.generateChoices()
	if c.request.Stream {
		c.streamChat(choices, use)
		return
	}
	if c.waitFor(use) {
		c.recordUsage(use)
		c.writeResponse(http.StatusOK, "", c.chatBody(choices, use))
	}
}

// generateChoices generates the choices of a request, and their usage.
func (c *call) generateChoices() ([]choice, tokenUsage) {
	choices := make([]choice, max(1, c.request.N))
	total := 0
	for i := range choices {
		choices[i] = c.generateChoice(i)
		total += len(choices[i].tokens)
	}
	return choices, c.usage(total)
}

// waitFor takes the time of a whole response and reports whether the client is
// still connected.
func (c *call) waitFor(use tokenUsage) bool {
	if c.sleep(c.answerDelay(use.completion - use.reasoning)) {
		return true
	}
	c.clientDisconnected()
	return false
}

// recordUsage records the tokens of a response that is sent at once.
func (c *call) recordUsage(use tokenUsage) {
	now := c.now()
	c.update(func(e *Entry) { e.CompletionTokens, e.FirstContent = use.completion, now })
}

// generateChoice generates one choice: a tool call if the request asks for it,
// else text, cut at the request's limit or by the filter.
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

func (c *call) chatBody(choices []choice, use tokenUsage) []byte {
	rendered := make([]string, len(choices))
	for i, a := range choices {
		rendered[i] = c.chatChoice(i, a)
	}
	return fmt.Appendf(nil,
		`{"id":%s,"object":"chat.completion","created":%d,"model":%s,"system_fingerprint":"fp_a1b2c3d4e5","service_tier":%s,%s,"choices":[%s],"usage":%s}`,
		quote(c.completionID()), c.arrived.Unix(), quote(c.spec.servedModel()), quote(c.tier), promptFilterResults(),
		strings.Join(rendered, ","), use.json())
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

// chatChunks renders the chunks of one streamed chat completion. The parts that
// all chunks share are rendered once.
type chatChunks struct {
	head string // up to choices
	tail string // "usage":null when usage was asked for
	safe string
}

func (c *call) chatChunks() chatChunks {
	k := chatChunks{safe: c.filterResult()}
	k.head = fmt.Sprintf(`{"id":%s,"object":"chat.completion.chunk","created":%d,"model":%s,"system_fingerprint":"fp_a1b2c3d4e5","choices":[`,
		quote(c.completionID()), c.arrived.Unix(), quote(c.spec.servedModel()))
	if c.reportsUsage() {
		k.tail = `,"usage":null`
	}
	return k
}

func (c *call) reportsUsage() bool {
	return c.request.StreamOptions != nil && c.request.StreamOptions.IncludeUsage && c.route.streamsUsage()
}

func (k chatChunks) promptFilter() event {
	return event{data: []byte(`{"id":"","object":"","created":0,"model":"",` + promptFilterResults() + `,"choices":[]` + k.tail + `}`)}
}

// delta is a chunk of one choice; finish "" is null.
func (k chatChunks) delta(index int, delta, finish, filter string) []byte {
	b := make([]byte, 0, len(k.head)+len(delta)+len(filter)+160)
	b = append(b, k.head...)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = append(b, `,"delta":`...)
	b = append(b, delta...)
	b = append(b, `,"finish_reason":`...)
	b = append(b, quoteOrNull(finish)...)
	b = append(b, `,"logprobs":null,`...)
	b = append(b, filter...)
	b = append(b, `}]`...)
	b = append(b, k.tail...)
	return append(b, '}')
}

func (k chatChunks) usage(use tokenUsage) event {
	return event{data: []byte(k.head + `],"usage":` + use.json() + `}`)}
}

const emptyFilter = `"content_filter_results":{}`

// streamChat streams the choices one after the other
// (docs/azure-openai.md#streams).
func (c *call) streamChat(choices []choice, use tokenUsage) {
	k := c.chatChunks()
	s := c.openStream(dialectChat, k.promptFilter())
	if !s.pause(c.firstTokenDelay()) {
		return
	}
	c.update(func(e *Entry) { e.CompletionTokens += c.spec.ReasoningTokens })
	for i, a := range choices {
		if !s.sendChoice(k, i, a) {
			return
		}
	}
	if c.reportsUsage() && s.holdUsage() {
		s.send(k.usage(use))
	}
	s.send(event{data: []byte("[DONE]"), last: true})
}

// sendChoice sends one choice: role, deltas, finish and late annotations.
func (s *stream) sendChoice(k chatChunks, index int, a choice) bool {
	opening := `{"role":"assistant","content":"","refusal":null}`
	if a.tool != "" {
		opening = fmt.Sprintf(`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]}`,
			quote(s.c.toolCallID(index)), quote(a.tool))
	}
	s.send(event{data: k.delta(index, opening, "", emptyFilter)})
	if !s.sendTokens(k, index, a) {
		return false
	}
	filter := emptyFilter
	if a.reason == "content_filter" {
		filter = `"content_filter_results":` + cutResults
	}
	s.send(event{data: k.delta(index, `{}`, a.reason, filter), finish: true})
	if s.c.spec.AsyncFilter {
		s.send(lateAnnotation(index, 0, textLength(a.tokens), k.tail))
	}
	return !s.ended
}

// annotateEvery is the number of tokens between two annotations of the
// asynchronous filter.
const annotateEvery = 16

// sendTokens sends the deltas token by token, or in bursts of the filter.
func (s *stream) sendTokens(k chatChunks, index int, a choice) bool {
	spec := &s.c.spec
	burst := max(1, spec.FilterBurst)
	filter := k.safe
	if spec.AsyncFilter {
		burst, filter = 1, emptyFilter
	}
	seen := 0
	for i, token := range a.tokens {
		if i > 0 && i%burst == 0 {
			if !s.pause(s.c.burstDelay(i, burst)) {
				return false
			}
		}
		if !s.send(event{data: k.delta(index, deltaOf(a, token), "", filter), tokens: 1}) {
			return false
		}
		seen += len(token)
		if spec.AsyncFilter && (i+1)%annotateEvery == 0 {
			s.send(lateAnnotation(index, max(0, seen-64), seen, k.tail))
		}
	}
	return true
}

func deltaOf(a choice, token string) string {
	if a.tool != "" {
		return `{"tool_calls":[{"index":0,"function":{"arguments":` + quote(token) + `}}]}`
	}
	return `{"content":` + quote(token) + `}`
}

func textLength(tokens []string) int {
	n := 0
	for _, t := range tokens {
		n += len(t)
	}
	return n
}

// Markers in a prompt that trigger the simulated content filter
// (docs/azure-openai.md#content-filter): a 400, a completion that is cut, and a
// 200 without filter results because the filter is down.
const (
	TriggerPromptFilter = "[[filter-prompt]]"
	TriggerOutputFilter = "[[filter-output]]"
	TriggerFilterOutage = "[[filter-outage]]"
)

const (
	safeResults = `{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}`
	cutResults  = `{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":true,"severity":"medium"}}`
	outResults  = `{"error":{"code":"content_filter_error","message":"The contents are not filtered"}}`
)

// filterResult is the filter's result for a part of a completion, under its name.
func (c *call) filterResult() string {
	if c.triggered("filter-outage", TriggerFilterOutage) {
		return `"content_filter_result":` + outResults
	}
	return `"content_filter_results":` + safeResults
}

// cutByFilter reports whether the filter cuts this completion.
func (c *call) cutByFilter() bool { return c.triggered("filter-output", TriggerOutputFilter) }

// promptFilterResults is the filter's result for the prompt.
func promptFilterResults() string {
	return `"prompt_filter_results":[{"prompt_index":0,"content_filter_results":` + safeResults + `}]`
}

// lateAnnotation is a chunk of the asynchronous filter: its choice has no delta
// (docs/azure-openai.md#content-filter).
func lateAnnotation(index, from, to int, usage string) event {
	return event{data: fmt.Appendf(nil,
		`{"id":"","object":"","created":0,"model":"","choices":[{"index":%d,"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"content_filter_raw":[],"content_filter_offsets":{"check_offset":%d,"start_offset":%d,"end_offset":%d}}]%s}`,
		index, from, from, to, usage)}
}

// completions serves the legacy text completions, plain and streamed.
func (c *call) completions() {
	choices, use := c.generateChoices()
	if c.request.Stream {
		c.streamCompletions(choices, use)
		return
	}
	if !c.waitFor(use) {
		return
	}
	texts := make([]string, len(choices))
	for i, one := range choices {
		texts[i] = completionChoice(i, strings.Join(one.tokens, ""), one.reason, safeResults)
	}
	c.recordUsage(use)
	c.writeResponse(http.StatusOK, "", []byte(c.completionHead()+`"choices":[`+strings.Join(texts, ",")+`],"usage":`+use.json()+`}`))
}

func (c *call) completionHead() string {
	return fmt.Sprintf(`{"id":%s,"object":"text_completion","created":%d,"model":%s,`,
		quote(c.svc.identifier("cmpl-", c.seq, 3)), c.arrived.Unix(), quote(c.spec.servedModel()))
}

func completionChoice(i int, text, reason, filter string) string {
	return fmt.Sprintf(`{"text":%s,"index":%d,"finish_reason":%s,"logprobs":null,"content_filter_results":%s}`,
		quote(text), i, quoteOrNull(reason), filter)
}

func (c *call) streamCompletions(choices []choice, use tokenUsage) {
	head, tail := c.completionHead(), ""
	if c.reportsUsage() {
		tail = `,"usage":null`
	}
	chunk := func(choice string) []byte { return []byte(head + `"choices":[` + choice + `]` + tail + `}`) }
	s := c.openStream(dialectChat, event{data: []byte(
		`{"id":"","object":"","created":0,"model":"",` + promptFilterResults() + `,"choices":[]` + tail + `}`)})
	if !s.pause(c.firstTokenDelay()) {
		return
	}
	for i, a := range choices {
		for k, token := range a.tokens {
			if k > 0 && !s.pause(c.tokenDelay(k)) {
				return
			}
			if !s.send(event{data: chunk(completionChoice(i, token, "", safeResults)), tokens: 1}) {
				return
			}
		}
		s.send(event{data: chunk(completionChoice(i, "", a.reason, "{}")), finish: true})
	}
	if c.reportsUsage() && s.holdUsage() {
		s.send(event{data: []byte(head + `"choices":[],"usage":` + use.json() + `}`)})
	}
	s.send(event{data: []byte("[DONE]"), last: true})
}
