package simulator

import (
	"fmt"
	"strconv"
)

// chatChunks renders the chunks of one streamed chat completion. What all have
// in common is rendered once.
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
	return c.request.StreamOptions.IncludeUsage && c.route.streamsUsage()
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

// streamChat tells the answers one after the other, as
// facts/azure-openai.md §5.1 shows.
func (c *call) streamChat(answers []choice, use tokenUsage) {
	k := c.chatChunks()
	s := c.openStream(dialectChat, k.promptFilter())
	if !s.pause(c.firstTokenDelay()) {
		return
	}
	c.update(func(e *Entry) { e.CompletionTokens += c.spec.ReasoningTokens })
	for i, a := range answers {
		if !s.sendChoice(k, i, a) {
			return
		}
	}
	if c.reportsUsage() {
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

// annotateEvery is how many tokens go by before the asynchronous filter speaks.
const annotateEvery = 16

// sendTokens paces the deltas: token by token, or in the filter's bursts.
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
