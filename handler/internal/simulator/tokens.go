package simulator

import (
	"encoding/json"
	"strings"
)

// charsPerToken is the service's arrival-time rule of thumb.
const charsPerToken = 4

// countTokens is the tokens of a text of so many characters, at least one.
func countTokens(chars int) int {
	return max(1, (chars+charsPerToken-1)/charsPerToken)
}

// promptText gathers all text a model would read, in order: what is counted,
// filtered and cached.
func (a *requestBody) promptText() string {
	var b strings.Builder
	b.WriteString(a.Instructions)
	for _, m := range a.Messages {
		b.WriteString(contentText(m.Content))
	}
	b.WriteString(inputText(a.Input))
	b.WriteString(inputText(a.Prompt))
	for _, t := range a.Tools {
		b.Write(t)
	}
	return b.String()
}

// contentText is a message's text: a string, or the text parts of an array.
func contentText(raw json.RawMessage) string {
	if len(raw) == 0 || raw[0] == 'n' {
		return ""
	}
	if raw[0] == '"' {
		var text string
		_ = json.Unmarshal(raw, &text) // the body as a whole was already read
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(raw, &parts) // parts without text count nothing
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// inputText is the text of input (embeddings, responses) or prompt: a string,
// an array of strings, or an array of items with content.
func inputText(raw json.RawMessage) string {
	if len(raw) == 0 || raw[0] != '[' {
		return contentText(raw)
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return ""
	}
	var b strings.Builder
	for _, item := range items {
		b.WriteString(itemText(item))
	}
	return b.String()
}

func itemText(item json.RawMessage) string {
	if len(item) > 0 && item[0] == '{' {
		var in struct {
			Content json.RawMessage `json:"content"`
			Output  json.RawMessage `json:"output"`
		}
		_ = json.Unmarshal(item, &in) // an item without content counts nothing
		return contentText(in.Content) + contentText(in.Output)
	}
	return contentText(item)
}

// outputTokens is the most tokens one answer may have, and whether the caller
// bounded it.
func (a *requestBody) outputTokens(d *Deployment) (int, bool) {
	for _, bound := range []*int{a.MaxCompletionTokens, a.MaxOutputTokens, a.MaxTokens} {
		if bound != nil {
			return *bound, true
		}
	}
	return d.defaultOutputTokens() + d.ReasoningTokens, false
}

// choices is how many choices are generated for one prompt.
func (a *requestBody) choices() int { return max(1, a.N, a.BestOf) }

// estimate is what the service expects a request to cost when it arrives.
func (c *call) estimate(d *Deployment) int {
	if c.route.operation == "embeddings" {
		return c.promptTokens
	}
	output, bounded := c.request.outputTokens(d)
	if d.SimpleEstimate {
		if !bounded {
			return standardOutputTokens
		}
		return output
	}
	return c.promptTokens + output*c.request.choices()
}
