package simulator

import (
	"fmt"
	"net/http"
	"strings"
)

// completions serves the old text completions, plain and streamed.
func (c *call) completions() {
	answers := make([]choice, max(1, c.request.N))
	total := 0
	for i := range answers {
		answers[i] = c.generateChoice(i)
		total += len(answers[i].tokens)
	}
	use := c.usage(total)
	if c.request.Stream {
		c.streamCompletions(answers, use)
		return
	}
	if !c.sleep(c.answerDelay(total)) {
		c.clientDisconnected()
		return
	}
	choices := make([]string, len(answers))
	for i, a := range answers {
		choices[i] = completionChoice(i, strings.Join(a.tokens, ""), a.reason, safeResults)
	}
	c.recordUsage(use)
	c.writeResponse(http.StatusOK, "", []byte(c.completionHead()+`"choices":[`+strings.Join(choices, ",")+`],"usage":`+use.json()+`}`))
}

func (c *call) completionHead() string {
	return fmt.Sprintf(`{"id":%s,"object":"text_completion","created":%d,"model":%s,`,
		quote(c.svc.identifier("cmpl-", c.seq, 3)), c.arrived.Unix(), quote(c.spec.servedModel()))
}

func completionChoice(i int, text, reason, filter string) string {
	return fmt.Sprintf(`{"text":%s,"index":%d,"finish_reason":%s,"logprobs":null,"content_filter_results":%s}`,
		quote(text), i, quoteOrNull(reason), filter)
}

func (c *call) streamCompletions(answers []choice, use tokenUsage) {
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
	for i, a := range answers {
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
	if c.reportsUsage() {
		s.send(event{data: []byte(head + `"choices":[],"usage":` + use.json() + `}`)})
	}
	s.send(event{data: []byte("[DONE]"), last: true})
}
