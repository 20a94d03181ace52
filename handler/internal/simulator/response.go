package simulator

import (
	"encoding/json"
	"strings"
)

// responseObject is a response of the Responses API.
type responseObject struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	CreatedAt          int64             `json:"created_at"`
	Status             string            `json:"status"`
	Background         bool              `json:"background"`
	Error              *responseError    `json:"error"`
	IncompleteDetails  *incompleteReason `json:"incomplete_details"`
	Instructions       *string           `json:"instructions"`
	MaxOutputTokens    *int              `json:"max_output_tokens"`
	Model              string            `json:"model"`
	Output             []any             `json:"output"`
	ParallelToolCalls  bool              `json:"parallel_tool_calls"`
	PreviousResponseID *string           `json:"previous_response_id"`
	ServiceTier        string            `json:"service_tier"`
	Store              bool              `json:"store"`
	Temperature        float64           `json:"temperature"`
	ToolChoice         json.RawMessage   `json:"tool_choice"`
	Tools              []json.RawMessage `json:"tools"`
	TopP               float64           `json:"top_p"`
	Truncation         string            `json:"truncation"`
	Usage              *responseUsage    `json:"usage"`
	Metadata           json.RawMessage   `json:"metadata"`
}

type responseError struct {
	Code    *string `json:"code"`
	Message string  `json:"message"`
}

type incompleteReason struct {
	Reason string `json:"reason"`
}

type responseUsage struct {
	InputTokens  int `json:"input_tokens"`
	InputDetails struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens  int `json:"output_tokens"`
	OutputDetails struct {
		ReasoningTokens int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	TotalTokens int `json:"total_tokens"`
}

func (t tokenUsage) response() *responseUsage {
	u := &responseUsage{InputTokens: t.prompt, OutputTokens: t.completion, TotalTokens: t.prompt + t.completion}
	u.InputDetails.CachedTokens, u.OutputDetails.ReasoningTokens = t.cached, t.reasoning
	return u
}

// Items of a response's output.
type (
	messageItem struct {
		ID      string     `json:"id"`
		Type    string     `json:"type"`
		Status  string     `json:"status"`
		Role    string     `json:"role"`
		Content []textPart `json:"content"`
	}
	textPart struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		Annotations []any  `json:"annotations"`
	}
	reasoningItem struct {
		ID        string  `json:"id"`
		Type      string  `json:"type"`
		Summary   []any   `json:"summary"`
		Encrypted *string `json:"encrypted_content,omitempty"`
	}
	functionItem struct {
		ID        string `json:"id"`
		Type      string `json:"type"`
		Status    string `json:"status"`
		CallID    string `json:"call_id"`
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
	imageItem struct {
		ID     string `json:"id"`
		Type   string `json:"type"`
		Status string `json:"status"`
		Result string `json:"result"`
	}
)

func textOf(text string) textPart {
	return textPart{Type: "output_text", Text: text, Annotations: []any{}}
}

// newResponse is the response as it is created: under way and empty.
func (c *call) newResponse() responseObject {
	r := responseObject{
		ID: c.svc.identifier("resp_", c.seq, 4), Object: "response", CreatedAt: c.arrived.Unix(), Status: "in_progress",
		Background: c.request.Background, MaxOutputTokens: c.request.MaxOutputTokens, Model: c.spec.Name, Output: []any{},
		ParallelToolCalls: true, ServiceTier: c.tier, Store: c.storesResponse(), Temperature: 1, ToolChoice: c.request.ToolChoice,
		Tools: c.request.Tools, TopP: 1, Truncation: "disabled", Metadata: c.request.Metadata,
	}
	if c.request.Instructions != "" {
		r.Instructions = &c.request.Instructions
	}
	if c.fault != nil && c.fault.BigCreated {
		long := c.request.Instructions + strings.Repeat(" and go on", 2000)
		r.Instructions = &long
	}
	if c.request.PreviousResponseID != "" {
		r.PreviousResponseID = &c.request.PreviousResponseID
	}
	if len(r.ToolChoice) == 0 {
		r.ToolChoice = json.RawMessage(`"auto"`)
	}
	if r.Tools == nil {
		r.Tools = []json.RawMessage{}
	}
	if len(r.Metadata) == 0 {
		r.Metadata = json.RawMessage(`{}`)
	}
	return r
}

// storesResponse tells whether the response is kept; it is unless store is false.
func (c *call) storesResponse() bool { return c.request.Store == nil || *c.request.Store }

// finish is the response at its end.
func (r responseObject) finish(a choice, use tokenUsage, output []any) responseObject {
	r.Status, r.Output, r.Usage = "completed", output, use.response()
	switch a.reason {
	case "length":
		r.Status, r.IncompleteDetails = "incomplete", &incompleteReason{"max_output_tokens"}
	case "content_filter":
		r.Status, r.IncompleteDetails = "incomplete", &incompleteReason{"content_filter"}
	}
	return r
}

// responseOutput is the items of an answer, in order.
func (c *call) responseOutput(a choice) []any {
	var out []any
	if c.spec.ReasoningTokens > 0 || c.spec.reasons() {
		out = append(out, c.reasoning())
	}
	if c.imageDeployment() != "" {
		out = append(out, imageItem{ID: c.itemID("ig_"), Type: "image_generation_call", Status: "completed", Result: onePixel})
	}
	text := strings.Join(a.tokens, "")
	if a.tool != "" {
		return append(out, functionItem{ID: c.itemID("fc_"), Type: "function_call", Status: "completed", CallID: c.toolCallID(0), Name: a.tool, Arguments: text})
	}
	return append(out, messageItem{ID: c.itemID("msg_"), Type: "message", Status: "completed", Role: "assistant", Content: []textPart{textOf(text)}})
}

func (c *call) itemID(prefix string) string {
	return c.svc.identifier(prefix, c.seq, uint64(len(prefix))+32)
}

// marshal renders what always renders.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("aoaitest: render an answer: " + err.Error())
	}
	return b
}
