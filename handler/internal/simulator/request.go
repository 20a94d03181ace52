package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// requestBody holds the fields of all JSON operations together. Fields that the
// service does not use are ignored.
type requestBody struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions *struct {
		IncludeUsage       bool `json:"include_usage"`
		IncludeObfuscation bool `json:"include_obfuscation"`
	} `json:"stream_options"`
	DataSources json.RawMessage `json:"data_sources"`

	Messages     []message         `json:"messages"`
	Prompt       json.RawMessage   `json:"prompt"`
	Input        json.RawMessage   `json:"input"`
	Instructions string            `json:"instructions"`
	Tools        []json.RawMessage `json:"tools"`
	ToolChoice   json.RawMessage   `json:"tool_choice"`

	MaxTokens           *int   `json:"max_tokens"`
	MaxCompletionTokens *int   `json:"max_completion_tokens"`
	MaxOutputTokens     *int   `json:"max_output_tokens"`
	N                   int    `json:"n"`
	BestOf              int    `json:"best_of"`
	Seed                *int64 `json:"seed"`

	ServiceTier    string `json:"service_tier"`
	PromptCacheKey string `json:"prompt_cache_key"`

	ResponseFormat json.RawMessage `json:"response_format"`
	EncodingFormat string          `json:"encoding_format"`
	Dimensions     int             `json:"dimensions"`

	Store              *bool           `json:"store"`
	Background         bool            `json:"background"`
	PreviousResponseID string          `json:"previous_response_id"`
	Include            []string        `json:"include"`
	Metadata           json.RawMessage `json:"metadata"`
	Conversation       json.RawMessage `json:"conversation"`
	Text               struct {
		Format json.RawMessage `json:"format"`
	} `json:"text"`

	InputFileID string `json:"input_file_id"`

	messageRequest

	// Form holds the fields of a multipart body without its file.
	Form     map[string]string `json:"-"`
	File     []byte            `json:"-"`
	FileName string            `json:"-"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// parseBody reads a body by its content type.
func parseBody(contentType string, body []byte) (*requestBody, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil && media == "multipart/form-data" {
		return parseForm(body, params["boundary"])
	}
	a := &requestBody{}
	if len(body) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(body, a); err != nil {
		return a, fmt.Errorf("we could not parse the JSON body of your request: %w", err)
	}
	return a, nil
}

func parseForm(body []byte, boundary string) (*requestBody, error) {
	a := &requestBody{Form: map[string]string{}}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			a.Model = a.Form["model"]
			a.Stream = a.Form["stream"] == "true"
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("read multipart body: %w", err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return a, fmt.Errorf("read part %q: %w", part.FormName(), err)
		}
		if part.FileName() != "" {
			a.FileName, a.File = part.FileName(), value
			continue
		}
		a.Form[part.FormName()] = string(value)
	}
}

// charsPerToken is the estimate of the service on arrival.
const charsPerToken = 4

// countTokens is the tokens of a text of so many characters, at least one.
func countTokens(chars int) int {
	return max(1, (chars+charsPerToken-1)/charsPerToken)
}

// promptText is all text that a model would read, in order: it is counted, filtered
// and cached.
func (a *requestBody) promptText() string {
	var b strings.Builder
	b.WriteString(a.Instructions)
	b.WriteString(contentText(a.System))
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

// outputTokens is the most tokens of one completion, and whether the request limits
// them.
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

// estimate is the expected cost of a request on its arrival.
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

const (
	maxMessages  = 2048
	maxTools     = 128
	maxEmbedding = 2048
)

// checkBody checks the body; nil accepts it.
func (c *call) checkBody(family string) *apiError {
	if apiErr := c.checkTier(); apiErr != nil {
		return apiErr
	}
	if c.request.MaxTokens != nil && c.spec.reasons() && family == "chat" {
		return invalidRequest("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
			"max_tokens", "unsupported_parameter")
	}
	if len(c.request.Tools) > maxTools {
		return invalidRequest("Invalid 'tools': array too long. Expected an array with maximum length 128.", "tools", "array_above_max_length")
	}
	switch family {
	case "chat":
		return c.checkMessages()
	case "messages":
		return c.checkMessage()
	case "embeddings":
		return c.checkInputs()
	case "responses":
		return c.checkResponse()
	case "completions":
		return missingParameter(len(c.request.Prompt) == 0, "prompt")
	case "transcription":
		return missingParameter(c.request.FileName == "", "file")
	}
	return nil
}

func missingParameter(absent bool, param string) *apiError {
	if !absent {
		return nil
	}
	return invalidRequest("Missing required parameter: '"+param+"'.", param, "missing_required_parameter")
}

func (c *call) checkMessages() *apiError {
	if len(c.request.Messages) > maxMessages {
		return invalidRequest("Invalid 'messages': array too long. Expected an array with maximum length 2048.", "messages", "array_above_max_length")
	}
	return missingParameter(len(c.request.Messages) == 0, "messages")
}

// checkTier checks service_tier and the header that overrides it
// (docs/azure-openai.md#service-tiers).
func (c *call) checkTier() *apiError {
	tier := c.request.ServiceTier
	if over := c.r.Header.Get("x-ms-service-tier"); over != "" {
		tier = strings.ToLower(over)
	}
	switch tier {
	case "", "auto", "default":
		c.tier = "default"
	case "priority":
		c.tier = "priority"
		if c.spec.SKU != GlobalStandard {
			c.tier = "default"
		}
	case "flex":
		if c.spec.SKU == Provisioned {
			return invalidRequest("The flex service tier is not supported by this deployment.", "service_tier", "")
		}
		c.tier = "flex"
	default:
		return invalidRequest("Invalid value for service_tier: "+quote(tier)+".", "service_tier", "")
	}
	return nil
}

// customHeaders counts the headers that belong to no standard and no SDK.
func customHeaders(h http.Header) int {
	count := 0
	for name := range h {
		if !ordinaryHeader(strings.ToLower(name)) {
			count++
		}
	}
	return count
}

func ordinaryHeader(name string) bool {
	for _, prefix := range []string{"accept", "content-", "x-stainless-", "if-", "sec-", "proxy-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "authorization", "api-key", "user-agent", "connection", "keep-alive", "te", "trailer", "transfer-encoding",
		"upgrade", "expect", "cookie", "origin", "referer", "cache-control", "pragma", "date", "via", "forwarded",
		"traceparent", "tracestate", "x-ms-client-request-id", "openai-beta", "openai-organization", "openai-project":
		return true
	default:
		return false
	}
}
