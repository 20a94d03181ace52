package simulator

import (
	"encoding/json"
	"strings"
)

// toolDefinition is a function a caller offers, in chat's shape or in that of
// Responses, which has no inner object.
type toolDefinition struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	Function   struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

func (t toolDefinition) flat() toolDefinition {
	if t.Name == "" {
		t.Name, t.Parameters = t.Function.Name, t.Function.Parameters
	}
	return t
}

func (c *call) toolDefinitions() []toolDefinition {
	var all []toolDefinition
	for _, raw := range c.request.Tools {
		var t toolDefinition
		if json.Unmarshal(raw, &t) == nil && t.flat().Name != "" {
			all = append(all, t.flat())
		}
	}
	return all
}

// chosenTool is the function the model calls: the one tool_choice names, any
// when it is "required", and with "auto" the one whose name the caller's last
// message says, so that a test can ask for a call.
func (c *call) chosenTool() string {
	tools := c.toolDefinitions()
	if len(tools) == 0 {
		return ""
	}
	choice := strings.Trim(string(c.request.ToolChoice), `"`)
	switch choice {
	case "none":
		return ""
	case "required":
		return tools[0].Name
	case "", "null", "auto":
		return namedIn(tools, c.lastUserText())
	}
	var named toolDefinition
	if json.Unmarshal(c.request.ToolChoice, &named) != nil {
		return ""
	}
	return named.flat().Name
}

func namedIn(tools []toolDefinition, text string) string {
	for _, t := range tools {
		if text != "" && strings.Contains(text, t.Name) {
			return t.Name
		}
	}
	return ""
}

// lastUserText is the text of the last message if a user said it.
func (c *call) lastUserText() string {
	if n := len(c.request.Messages); n > 0 {
		if last := c.request.Messages[n-1]; last.Role == "user" {
			return contentText(last.Content)
		}
		return ""
	}
	var items []message
	if json.Unmarshal(c.request.Input, &items) != nil {
		return contentText(c.request.Input)
	}
	if n := len(items); n > 0 && items[n-1].Role == "user" {
		return contentText(items[n-1].Content)
	}
	return ""
}

// toolArguments is a value that fits the function's parameters.
func (c *call) toolArguments(name string) string {
	for _, t := range c.toolDefinitions() {
		if t.Name == name {
			return instanceOf(t.Parameters)
		}
	}
	return "{}"
}

func (c *call) toolCallID(index int) string {
	return c.svc.identifier("call_", c.seq, uint64(16+index))[:29]
}

// structured is an answer in the form response_format or text.format asks for, "" for text.
func (c *call) structured() string {
	var format struct {
		Type       string          `json:"type"`
		Schema     json.RawMessage `json:"schema"` // in Responses' shape
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	}
	raw := c.request.ResponseFormat
	if len(raw) == 0 {
		raw = c.request.Text.Format
	}
	if len(raw) == 0 || json.Unmarshal(raw, &format) != nil {
		return ""
	}
	switch format.Type {
	case "json_object":
		return `{"answer":"water"}`
	case "json_schema":
		if len(format.Schema) > 0 {
			return instanceOf(format.Schema)
		}
		return instanceOf(format.JSONSchema.Schema)
	default:
		return ""
	}
}
