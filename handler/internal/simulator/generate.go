package simulator

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
)

// guid is the n-th UUID of a request, the same for the same seed.
func (s *Service) guid(seq, n uint64) string {
	r := rand.NewPCG(s.cfg.Seed^seq, n)
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, (a>>16)&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}

// identifier is an id with a prefix, as in chatcmpl-… and resp_….
func (s *Service) identifier(prefix string, seq, n uint64) string {
	r := rand.NewPCG(s.cfg.Seed^seq, n^0x1d)
	var raw [24]byte
	for i := range raw {
		raw[i] = byte(r.Uint64())
	}
	return prefix + hex.EncodeToString(raw[:])
}

// normal is a standard normal value, the same for the same seed, request and i.
func (s *Service) normal(seq uint64, i int) float64 {
	r := rand.New(rand.NewPCG(s.cfg.Seed^seq, uint64(i)^0x7177e4))
	return math.Max(-3, math.Min(3, r.NormFloat64()))
}

var vocabulary = strings.Fields(`water runs over the edge when a basin is full and finds its own way down to the next one
every stone it passes keeps a little of the cold so that by evening the lower pool is calm clear and deep enough
to hold whatever the mountain sends it in spring while birds drink from both without asking which is which`)

// textTokens is a completion's text as tokens: the deployment's own, or seeded
// text. The same prompt has the same text.
func (c *call) textTokens(index, limit int) []string {
	if c.spec.Answer != "" {
		return cutTokens(c.spec.Answer, limit)
	}
	count := min(limit, c.spec.defaultOutputTokens())
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.prompt))
	seed := c.svc.cfg.Seed
	if c.request.Seed != nil {
		seed ^= uint64(*c.request.Seed)
	}
	r := rand.NewPCG(seed^h.Sum64(), uint64(index))
	tokens := make([]string, count)
	for i := range tokens {
		next := vocabulary[r.Uint64()%uint64(len(vocabulary))]
		if i > 0 {
			next = " " + next
		}
		tokens[i] = next
	}
	return tokens
}

// cutTokens splits a text into at most limit tokens of about four characters,
// never within a rune.
func cutTokens(text string, limit int) []string {
	var tokens []string
	for len(text) > 0 && len(tokens) < limit {
		end := min(charsPerToken, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		tokens = append(tokens, text[:end])
		text = text[end:]
	}
	return tokens
}

// toolDefinition is a function of the request, in the form of chat or in that of
// Responses, which has no inner object.
type toolDefinition struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	Schema     json.RawMessage `json:"input_schema"` // in Anthropic's shape
	Function   struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

func (t toolDefinition) flat() toolDefinition {
	switch {
	case t.Name == "":
		t.Name, t.Parameters = t.Function.Name, t.Function.Parameters
	case len(t.Schema) > 0:
		t.Parameters = t.Schema
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

// chosenTool is the function that is called: the one of tool_choice, the first
// one for "required", and for "auto" the one that the last user message names, so
// that a test can ask for a call.
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

// lastUserText is the text of the last message if its role is user.
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

// structured is a completion in the form of response_format or text.format, ""
// for text.
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

// schema is the part of JSON Schema that tools and response formats use.
type schema struct {
	Type       json.RawMessage            `json:"type"`
	Properties map[string]json.RawMessage `json:"properties"`
	Items      json.RawMessage            `json:"items"`
	Enum       []json.RawMessage          `json:"enum"`
	Const      json.RawMessage            `json:"const"`
	AnyOf      []json.RawMessage          `json:"anyOf"`
}

// instanceOf is a small value that fits a schema.
func instanceOf(raw json.RawMessage) string {
	var s schema
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return "{}"
	}
	switch {
	case len(s.Const) > 0:
		return string(s.Const)
	case len(s.Enum) > 0:
		return string(s.Enum[0])
	case len(s.AnyOf) > 0:
		return instanceOf(s.AnyOf[0])
	}
	switch s.kind() {
	case "string":
		return `"water"`
	case "integer", "number":
		return "7"
	case "boolean":
		return "true"
	case "null":
		return "null"
	case "array":
		return "[" + instanceOf(s.Items) + "]"
	default:
		return s.object()
	}
}

// kind is the type, the first one of several.
func (s schema) kind() string {
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return one
	}
	var several []string
	if json.Unmarshal(s.Type, &several) == nil && len(several) > 0 {
		return several[0]
	}
	return "object"
}

func (s schema) object() string {
	fields := make([]string, 0, len(s.Properties))
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		fields = append(fields, quote(name)+":"+instanceOf(s.Properties[name]))
	}
	return "{" + strings.Join(fields, ",") + "}"
}
